// The C API over whichever glue is linked in.
#include <stdexcept>
#include <string>

#include "glue.h"

namespace {
std::string open_error;
}  // namespace

extern "C" {

void svm_defaults(svm_config* c) {
    *c = svm_config{};
    c->abi = SVM_ABI;
    c->reset_cycles = 16;
    c->seed = 1;
    c->mem_base = 0x80000000;
    c->mem_bytes = 64 << 20;
    c->read_min = c->write_min = c->ring_min = 20;
    c->read_max = c->write_max = c->ring_max = 60;
    c->link_min = 40;
    c->link_max = 80;
    c->msi_min = 40;
    c->msi_max = 120;
    c->max_reads = c->max_writes = 64;
    c->stall_max = 4;
    c->slow_factor = 10;
    c->p_early_write = 0.25;
    c->monitor = 1;
}

svm_sim* svm_open(const svm_config* cfg) {
    if (cfg->abi != SVM_ABI) {
        open_error = "svm_config of another version";
        return nullptr;
    }
    try {
        return svm::glue_open(*cfg);
    } catch (const std::exception& e) {
        open_error = e.what();
        return nullptr;
    }
}

const char* svm_open_error(void) { return open_error.c_str(); }

void svm_close(svm_sim* s) { svm::glue_close(s); }

void svm_reg_write(svm_sim* s, uint32_t offset, uint32_t value) { s->core->regs.write(offset, value); }
uint64_t svm_read_start(svm_sim* s, uint32_t offset) { return s->core->regs.read(offset); }
int svm_read_poll(svm_sim* s, uint64_t token, uint32_t* value) { return s->core->regs.poll(token, value); }
uint32_t svm_run(svm_sim* s, uint64_t n) { return s->run(n); }
int svm_owns_time(svm_sim* s) { return s->owns_time(); }
void svm_set_alarm(svm_sim* s, uint64_t cycle) { s->core->alarm = cycle; }

uint32_t svm_take_events(svm_sim* s) {
    const uint32_t e = s->core->events;
    s->core->events = 0;
    return e;
}

uint32_t svm_take_irqs(svm_sim* s) {
    const uint32_t v = s->core->irqs;
    s->core->irqs = 0;
    return v;
}

uint64_t svm_cycle(svm_sim* s) { return s->core->cycle; }

void svm_hold(svm_sim* s, int on) { s->core->hold = on; }

const svm_held* svm_held_list(svm_sim* s, uint64_t* n) {
    const auto& list = s->core->held();
    *n = list.size();
    return list.data();
}

void svm_release(svm_sim* s, uint32_t index) { s->core->release_held(index); }
uint64_t svm_settle(svm_sim* s, uint64_t quiet, uint64_t limit) { return s->settle(quiet, limit); }

void* svm_memory(svm_sim* s, uint64_t* bytes) {
    *bytes = s->core->mem_bytes;
    return s->core->mem;
}

const svm_access* svm_accesses(svm_sim* s, uint64_t* n) {
    *n = s->core->accesses.size();
    return s->core->accesses.data();
}

const svm_record* svm_records(svm_sim* s, uint64_t* n) {
    *n = s->core->records.size();
    return s->core->records.data();
}

void svm_logs_reset(svm_sim* s) {
    s->core->accesses.clear();
    s->core->records.clear();
}

void svm_get_stats(svm_sim* s, svm_stats* out) {
    svm::HarnessCore& c = *s->core;
    *out = c.stats;
    out->cycle = c.cycle;
    out->reads = c.monitor.reads;
    out->writes = c.monitor.writes;
    out->outstanding = c.monitor.outstanding;
    const uint64_t t = c.monitor.oldest();
    out->oldest_age = t == svm::NEVER ? 0 : c.cycle - t;
}

const char* svm_errors(svm_sim* s) { return s->core->errors.c_str(); }
uint32_t svm_data_bytes(svm_sim* s) { return s->core->bus.bytes(); }

}  // extern "C"
