// The Verilated device and the clock: one cycle of 4 ns per step.
#ifndef SVM_VERILATOR_MODEL_H
#define SVM_VERILATOR_MODEL_H

#include <memory>
#include <stdexcept>
#include <type_traits>

#include "Vsvm_tb.h"
#include "glue.h"
#include "signals.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

namespace svm {

template <class T, class S>
inline std::enable_if_t<std::is_integral_v<S>> get(T& dst, S src) {
    dst = T(src);
}
inline void get(u64 (&dst)[8], u64 src) { dst[0] = src; }
template <std::size_t N>
inline void get(u64 (&dst)[8], const VlWide<N>& src) {
    std::memcpy(dst, src.data(), N * 4);
}
template <class T, class S>
inline std::enable_if_t<std::is_integral_v<S>> put(T& dst, S src) {
    dst = T(src);
}
inline void put(QData& dst, const u64 (&src)[8]) { dst = src[0]; }
template <std::size_t N>
inline void put(VlWide<N>& dst, const u64 (&src)[8]) {
    std::memcpy(dst.data(), src, N * 4);
}

class Model {
public:
    static constexpr u32 CYCLE_NS = 4;
    explicit Model(VerilatedContext* ctx) : ctx_(ctx) {
#if VM_TRACE
        ctx->traceEverOn(true);
#endif
        top.reset(new Vsvm_tb(ctx, ""));
        for (int p = ctx->timeprecision(); p < -9; p++) unit_ *= 10;
        top->rst = 1;
        top->eval();
    }
    ~Model() {
        close_trace();
        top->final();
    }
    u32 data_bytes() const { return sizeof(top->m_axi_wdata); }
    u64 period() const { return CYCLE_NS * unit_; }

    void open_trace(const char* file) {
        if (!file || !*file) return;
#if VM_TRACE
        trace_.reset(new VerilatedVcdC);
        top->trace(trace_.get(), 99);
        trace_->open(file);
        if (!trace_->isOpen()) throw std::runtime_error(std::string("cannot write ") + file);
#else
        throw std::runtime_error("waves need a build with trace support");
#endif
    }
    void close_trace() {
#if VM_TRACE
        if (trace_) trace_->close();
        trace_.reset();
#endif
    }

    // One cycle: sample, rising edge, drive, falling edge. True when the core raised an event.
    bool step(svm_sim& s) {
#define X(port, field) get(s.in.field, top->port);
        SVM_DEVICE_OUTPUTS(X)
#undef X
        const bool wake = s.core->tick(s.in, s.out);
        top->clk = 1;
        top->eval();
        dump(period() / 2);
#define X(port, field) put(top->port, s.out.field);
        SVM_DEVICE_INPUTS(X)
#undef X
        top->attention ^= wake;
        top->clk = 0;
        top->eval();
        dump(period() / 2);
        return wake;
    }

private:
    void dump(u64 dt) {
        ctx_->timeInc(dt);
#if VM_TRACE
        if (trace_) trace_->dump(ctx_->time());
#endif
    }
    VerilatedContext* ctx_;
    u64 unit_ = 1;
#if VM_TRACE
    std::unique_ptr<VerilatedVcdC> trace_;
#endif

public:
    std::unique_ptr<Vsvm_tb> top;
};

}  // namespace svm
#endif
