// Glue of the plain library: the Verilated device inside, time owned by svm_run().
#include "verilator_model.h"

namespace {

struct LibSim : svm_sim {
    VerilatedContext ctx;
    std::unique_ptr<svm::Model> model;

    explicit LibSim(const svm_config& cfg) {
        if (cfg.rand_reset) {
            ctx.randReset(2);
            ctx.randSeed(int(cfg.seed & 0x7fffffff) | 1);
        }
        model.reset(new svm::Model(&ctx));
        core.reset(new svm::HarnessCore(cfg, model->data_bytes()));
        model->open_trace(cfg.wave_file);
    }
    svm::u32 run(svm::u64 n) override {
        if (core->events) return core->events;
        const svm::u64 end = n > svm::NEVER - core->cycle ? svm::NEVER : core->cycle + n;
        while (core->cycle < end)
            if (model->step(*this)) return core->events;
        return SVM_EV_LIMIT;
    }
    bool owns_time() const override { return true; }
    svm::u64 settle(svm::u64 quiet, svm::u64 limit) override {
        const svm::u64 begin = core->cycle;
        svm::u64 changed = begin;
        svm::Inputs before;
        std::memcpy(&before, &in, sizeof in);
        while (core->cycle - changed < quiet && core->cycle - begin < limit) {
            model->step(*this);
            if (!std::memcmp(&before, &in, sizeof in)) continue;
            std::memcpy(&before, &in, sizeof in);
            changed = core->cycle;
        }
        return core->cycle - begin;
    }
};

}  // namespace

svm_sim* svm::glue_open(const svm_config& cfg) { return new LibSim(cfg); }
void svm::glue_close(svm_sim* s) { delete s; }
