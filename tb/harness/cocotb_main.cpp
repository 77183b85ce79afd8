// A Verilator executable for cocotb: clock and memory in C++, Python woken by one signal and by its timers.
//
// The VPI is entered only in a cycle that toggled `attention` or that a timer is due in, so a cycle in which
// Python has nothing to do costs what it costs without Python.
#include <cstdio>

#include "verilated_vpi.h"
#include "verilator_model.h"

extern "C" void vlog_startup_routines_bootstrap(void);

namespace {

struct CocotbSim;
svm::Model* model = nullptr;
CocotbSim* attached = nullptr;

struct CocotbSim : svm_sim {
    explicit CocotbSim(const svm_config& cfg) {
        core.reset(new svm::HarnessCore(cfg, model->data_bytes()));
        model->open_trace(cfg.wave_file);
    }
    ~CocotbSim() override { model->close_trace(); }
    svm::u32 run(svm::u64) override { return 0; }
    bool owns_time() const override { return false; }
};

class Loop {
public:
    explicit Loop(VerilatedContext* ctx) : ctx_(ctx) {}

    void run() {
        VerilatedVpi::callCbs(cbStartOfSimulation);
        settle();
        while (!ctx_->gotFinish()) {
            if (deadline_ != svm::NEVER && (!attached || deadline_ <= ctx_->time() + model->period())) {
                if (deadline_ > ctx_->time()) ctx_->time(deadline_);
                advance();
                VerilatedVpi::callTimedCbs();
                settle();
                continue;
            }
            if (!attached) break;
            // The next cycle ends before any timer is due.
            advance();
            if (model->step(*attached)) settle();
        }
        VerilatedVpi::callCbs(cbEndOfSimulation);
    }

private:
    void advance() {
        if (!moved_) return;
        moved_ = false;
        VerilatedVpi::callCbs(cbNextSimTime);
        values();
    }
    static void values() {
        while (VerilatedVpi::callValueCbs()) {
        }
    }
    // Runs all callbacks of this moment until nothing changes any more.
    void settle() {
        for (;;) {
            VerilatedVpi::doInertialPuts();
            values();
            if (VerilatedVpi::evalNeeded()) {
                VerilatedVpi::clearEvalNeeded();
                model->top->eval();
                continue;
            }
            VerilatedVpi::callCbs(cbReadWriteSynch);
            VerilatedVpi::doInertialPuts();
            values();
            if (!VerilatedVpi::evalNeeded()) break;
        }
        VerilatedVpi::callCbs(cbReadOnlySynch);
        deadline_ = VerilatedVpi::cbNextDeadline();
        moved_ = true;
    }
    VerilatedContext* ctx_;
    svm::u64 deadline_ = 0;
    bool moved_ = false;
};

}  // namespace

svm_sim* svm::glue_open(const svm_config& cfg) {
    if (attached) throw std::runtime_error("a simulation is open already");
    attached = new CocotbSim(cfg);
    return attached;
}

void svm::glue_close(svm_sim* s) {
    if (s == attached) attached = nullptr;
    delete s;
}

int main(int argc, char** argv) {
    VerilatedContext* ctx = Verilated::threadContextp();
    ctx->commandArgs(argc, argv);
    ctx->fatalOnVpiError(false);  // cocotb probes for names that may not exist
    for (int i = 1; i < argc; i++) {
        unsigned seed;
        if (std::sscanf(argv[i], "+rand_reset=%u", &seed) == 1) {
            ctx->randReset(2);
            ctx->randSeed(int(seed & 0x7fffffff) | 1);
        }
    }
    {
#if VM_TRACE
        ctx->traceEverOn(true);
#endif
        svm::Model m(ctx);
        model = &m;
        vlog_startup_routines_bootstrap();
        Loop(ctx).run();
        m.close_trace();
        delete attached;
        attached = nullptr;
    }
    return ctx->errorCount() > 0;
}
