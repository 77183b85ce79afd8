// The bar for simulation speed: the device and the harness with a host in C++ that answers faults from a table.
//
//   svm_raw --work FILE --map FILE [--seed N] [--mem-base N] [--mem-bytes N] [--p-stall P] [--p-bubble P]
//           [--p-slow P] [--monitor 0]
//
// --work: work descriptors (32 bytes each). --map: rows of four little-endian 64-bit words {PASID, va, bus address,
// permission}, one a 4-KiB page; a page that is not there is answered Invalid. tb/speed.py runs the same host in
// Python. Prints one line of JSON.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <unordered_map>
#include <vector>

#include "../../interface/svm_device.h"
#include "svm_sim.h"

namespace {

using u32 = uint32_t;
using u64 = uint64_t;

#define GET(rec, layout, field) ((rec)[SVM_##layout##_##field##_WORD] >> SVM_##layout##_##field##_SHIFT & SVM_##layout##_##field##_MASK)
#define PUT(rec, layout, field, value) \
    ((rec)[SVM_##layout##_##field##_WORD] |= (u64(value) & SVM_##layout##_##field##_MASK) << SVM_##layout##_##field##_SHIFT)

constexpr u32 COUNT = (1u << 17) - 1;
constexpr u32 CMD_LOG2 = 10, FAULT_LOG2 = 8, EVENT_LOG2 = 10, WORK_LOG2 = 12, DONE_LOG2 = 12;
constexpr u64 CMD_AT = 0x0, FAULT_AT = 0x10000, EVENT_AT = 0x20000, WORK_AT = 0x40000, DONE_AT = 0x80000;
constexpr u64 POLL = 2000;  // cycles between looks at the completions
constexpr u64 ATTACH_POLL = 200;

struct Record {
    u64 w[4];
};

struct Mapping {
    u64 pa;
    u32 perm;
};

[[noreturn]] void die(const std::string& text) {
    std::fprintf(stderr, "svm_raw: %s\n", text.c_str());
    std::exit(1);
}

std::vector<Record> load(const char* file) {
    std::vector<Record> rows;
    FILE* f = file ? std::fopen(file, "rb") : nullptr;
    if (!f) die(std::string("cannot read ") + (file ? file : "(no file)"));
    Record r;
    while (std::fread(&r, sizeof r, 1, f) == 1) rows.push_back(r);
    std::fclose(f);
    return rows;
}

class Host {
public:
    Host(svm_sim* s, u64 base, std::vector<Record> work, const std::vector<Record>& map)
        : s_(s), base_(base), work_(std::move(work)) {
        u64 n;
        mem_ = static_cast<uint8_t*>(svm_memory(s, &n));
        for (const auto& r : map) table_[key(r.w[0], r.w[1])] = {r.w[2], u32(r.w[3])};
    }

    void setup() {
        ring(SVM_REG_CMD_BASE_LO, CMD_AT, CMD_LOG2);
        ring(SVM_REG_FAULT_BASE_LO, FAULT_AT, FAULT_LOG2);
        ring(SVM_REG_EVENT_BASE_LO, EVENT_AT, EVENT_LOG2);
        ring(SVM_REG_WORK_BASE_LO, WORK_AT, WORK_LOG2);
        ring(SVM_REG_DONE_BASE_LO, DONE_AT, DONE_LOG2);
        svm_reg_write(s_, SVM_REG_IRQ_ENABLE, 1u << SVM_IRQ_FAULT | 1u << SVM_IRQ_ERROR);
        svm_reg_write(s_, SVM_REG_CTRL, 1);
        svm_reg_write(s_, SVM_REG_ENGINE_CTRL, 1);
        std::unordered_map<u64, bool> seen;
        for (const auto& r : work_) {
            const u64 pasid = GET(r.w, WORK, PASID);
            if (seen[pasid]) continue;
            seen[pasid] = true;
            Record c{};
            PUT(c.w, CMD, OP, SVM_OP_ATTACH);
            PUT(c.w, CMD, PASID, pasid);
            command(c);
        }
        PUT(at(CMD_AT, CMD_LOG2, cmd_tail_ - 1)->w, CMD, FLAGS, SVM_FLAG_COMPLETE);
        svm_reg_write(s_, SVM_REG_CMD_TAIL, cmd_tail_);
        while (!fresh(at(EVENT_AT, EVENT_LOG2, 0), EVENT_LOG2, 0)) {
            if (svm_cycle(s_) > 100000) die("the attach commands do not complete");
            svm_set_alarm(s_, svm_cycle(s_) + ATTACH_POLL);
            svm_run(s_, ~0ULL);
            svm_take_events(s_);
        }
        svm_reg_write(s_, SVM_REG_EVENT_HEAD, 1);
    }

    // Until every descriptor has its completion.
    void run() {
        feed();
        svm_set_alarm(s_, svm_cycle(s_) + POLL);
        while (done_ < work_.size()) {
            svm_run(s_, ~0ULL);
            const u32 ev = svm_take_events(s_);
            if (ev & SVM_EV_ERROR) die(svm_errors(s_));
            if (ev & SVM_EV_LOG) svm_logs_reset(s_);
            // In the order of tb/speed.py, so that both write the same registers in the same cycles.
            if (ev & SVM_EV_ALARM) {
                completions();
                feed();
                svm_set_alarm(s_, svm_cycle(s_) + POLL);
            }
            if (ev & SVM_EV_IRQ) {
                const u32 v = svm_take_irqs(s_);
                if (v >> SVM_IRQ_ERROR & 1) die("a ring was halted");
                if (v >> SVM_IRQ_FAULT & 1) faults();
            }
            if (svm_cycle(s_) - progress_ > 2000000) die("no progress");
        }
    }

    u64 fault_count = 0, bad = 0;

private:
    static u64 key(u64 pasid, u64 va) { return pasid << 44 ^ va >> 12; }
    Record* at(u64 offset, u32 log2, u32 count) {
        return reinterpret_cast<Record*>(mem_ + offset) + (count & ((1u << log2) - 1));
    }
    static bool fresh(const Record* r, u32 log2, u32 count) {
        return r->w[3] >> 63 == 1 - (count >> log2 & 1);
    }
    void ring(u32 reg, u64 offset, u32 log2) {
        std::memset(mem_ + offset, 0, sizeof(Record) << log2);
        svm_reg_write(s_, reg, u32(base_ + offset));
        svm_reg_write(s_, reg + 4, u32((base_ + offset) >> 32));
        svm_reg_write(s_, reg + 8, log2);
        svm_reg_write(s_, reg + 0x14, 1);
    }
    void command(const Record& c) {
        *at(CMD_AT, CMD_LOG2, cmd_tail_) = c;
        cmd_tail_ = (cmd_tail_ + 1) & COUNT;
    }
    void faults() {
        u32 n = 0;
        for (Record* r; fresh(r = at(FAULT_AT, FAULT_LOG2, fault_head_), FAULT_LOG2, fault_head_); n++) {
            const u64 pasid = GET(r->w, FAULT, PASID), va = GET(r->w, FAULT, VA);
            const auto m = table_.find(key(pasid, va));
            const bool ok = m != table_.end() && !(GET(r->w, FAULT, ACCESS) & ~u64(m->second.perm));
            if (ok) {
                Record c{};
                PUT(c.w, CMD, OP, SVM_OP_FILL);
                PUT(c.w, CMD, PASID, pasid);
                PUT(c.w, CMD, PERM, m->second.perm);
                PUT(c.w, CMD, VA, va);
                PUT(c.w, CMD, PA, m->second.pa);
                PUT(c.w, CMD, NPAGES, 1);
                command(c);
            }
            Record c{};
            PUT(c.w, CMD, OP, SVM_OP_RESPOND);
            PUT(c.w, CMD, PASID, pasid);
            PUT(c.w, CMD, CODE, ok ? SVM_CODE_SUCCESS : SVM_CODE_INVALID);
            PUT(c.w, CMD, SEQ, GET(r->w, FAULT, SEQ));
            PUT(c.w, CMD, FAULT, GET(r->w, FAULT, FAULT));
            command(c);
            fault_head_ = (fault_head_ + 1) & COUNT;
        }
        if (!n) return;
        fault_count += n;
        svm_reg_write(s_, SVM_REG_FAULT_HEAD, fault_head_);
        svm_reg_write(s_, SVM_REG_CMD_TAIL, cmd_tail_);
    }
    void completions() {
        const u32 before = done_head_;
        for (Record* r; fresh(r = at(DONE_AT, DONE_LOG2, done_head_), DONE_LOG2, done_head_); done_++) {
            bad += GET(r->w, DONE, STATUS) != SVM_WORK_STATUS_OK;
            done_head_ = (done_head_ + 1) & COUNT;
        }
        if (done_head_ == before) return;
        progress_ = svm_cycle(s_);
        svm_reg_write(s_, SVM_REG_DONE_HEAD, done_head_);
    }
    // A descriptor whose completion is there has left the ring.
    void feed() {
        const u64 before = sent_;
        while (sent_ < work_.size() && sent_ - done_ < 1u << WORK_LOG2) {
            *at(WORK_AT, WORK_LOG2, u32(sent_)) = work_[sent_];
            sent_++;
        }
        if (sent_ != before) svm_reg_write(s_, SVM_REG_WORK_TAIL, u32(sent_) & COUNT);
    }

    svm_sim* s_;
    u64 base_;
    std::vector<Record> work_;
    std::unordered_map<u64, Mapping> table_;
    uint8_t* mem_;
    u32 cmd_tail_ = 0, fault_head_ = 0, done_head_ = 0;
    u64 sent_ = 0, done_ = 0, progress_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    svm_config cfg;
    svm_defaults(&cfg);
    const char *work = nullptr, *map = nullptr;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string a = argv[i];
        const char* v = argv[i + 1];
        if (a == "--work") work = v;
        else if (a == "--map") map = v;
        else if (a == "--seed") cfg.seed = std::strtoull(v, nullptr, 0);
        else if (a == "--mem-base") cfg.mem_base = std::strtoull(v, nullptr, 0);
        else if (a == "--mem-bytes") cfg.mem_bytes = std::strtoull(v, nullptr, 0);
        else if (a == "--p-stall") cfg.p_stall = std::atof(v);
        else if (a == "--p-bubble") cfg.p_bubble = std::atof(v);
        else if (a == "--p-slow") cfg.p_slow = std::atof(v);
        else if (a == "--monitor") cfg.monitor = u32(std::atoi(v));
        else die("unknown option " + a);
    }
    cfg.log_watermark = 1 << 16;
    svm_sim* s = svm_open(&cfg);
    if (!s) die(svm_open_error());
    Host host(s, cfg.mem_base, load(work), load(map));
    const auto t0 = std::chrono::steady_clock::now();
    const std::clock_t c0 = std::clock();
    host.setup();
    host.run();
    const double cpu = double(std::clock() - c0) / CLOCKS_PER_SEC;
    const double sec = std::chrono::duration<double>(std::chrono::steady_clock::now() - t0).count();
    svm_stats st;
    svm_get_stats(s, &st);
    std::printf("{\"cycles\": %llu, \"seconds\": %.6f, \"cpu_seconds\": %.6f, \"cycles_per_second\": %.0f, \"accesses\": %llu, \"faults\": %llu, "
                "\"failed\": %llu, \"attention\": %llu}\n",
                (unsigned long long)st.cycle, sec, cpu, double(st.cycle) / sec, (unsigned long long)(st.reads + st.writes),
                (unsigned long long)host.fault_count, (unsigned long long)host.bad, (unsigned long long)st.attention);
    svm_close(s);
    return host.bad != 0;
}
