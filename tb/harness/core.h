// The harness without a simulator: memory, links and monitors, advanced once per clock.
//
// A glue samples the device's outputs before a rising clock edge into Inputs, calls tick(), and drives
// Outputs to the device after the edge. Everything random comes from the seed, so a run depends on the
// device and the host's calls alone, never on the simulator.
#ifndef SVM_CORE_H
#define SVM_CORE_H

#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "svm_sim.h"

namespace svm {

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;

constexpr u64 NEVER = ~0ULL;
constexpr u32 MAX_IDS = 256;
constexpr u32 VECTORS = 4;

// xoshiro256**: fast, and the same everywhere.
class Rng {
public:
    explicit Rng(u64 seed = 0);
    u64 next() {
        const u64 r = rotl(s_[1] * 5, 7) * 9, t = s_[1] << 17;
        s_[2] ^= s_[0];
        s_[3] ^= s_[1];
        s_[1] ^= s_[2];
        s_[0] ^= s_[3];
        s_[2] ^= t;
        s_[3] = rotl(s_[3], 45);
        return r;
    }
    u32 range(u32 lo, u32 hi) { return hi <= lo ? lo : lo + u32((next() >> 32) % (u64(hi) - lo + 1)); }
    // True with probability p/65536.
    bool chance(u32 p) { return p && (next() >> 48) < p; }

private:
    static u64 rotl(u64 x, int k) { return (x << k) | (x >> (64 - k)); }
    u64 s_[4];
};

// A queue in a power-of-two buffer that grows; order and cost do not depend on the allocator.
template <class T>
class Fifo {
public:
    bool empty() const { return head_ == tail_; }
    u32 size() const { return tail_ - head_; }
    T& front() { return buf_[head_ & mask_]; }
    T& at(u32 i) { return buf_[(head_ + i) & mask_]; }
    void push(const T& v) {
        if (size() == buf_.size()) grow();
        buf_[tail_++ & mask_] = v;
    }
    void pop() { head_++; }
    void clear() { head_ = tail_ = 0; }

private:
    void grow() {
        std::vector<T> n(buf_.empty() ? 8 : buf_.size() * 2);
        const u32 cnt = size();
        for (u32 i = 0; i < cnt; i++) n[i] = at(i);
        buf_.swap(n);
        mask_ = u32(buf_.size()) - 1;
        head_ = 0;
        tail_ = cnt;
    }
    std::vector<T> buf_;
    u32 mask_ = 0, head_ = 0, tail_ = 0;
};

struct AxiAddr {
    u64 addr = 0;
    u32 user = 0;
    u16 id = 0;
    u8 len = 0, size = 0, burst = 1, lock = 0;
    bool operator==(const AxiAddr& o) const {
        return addr == o.addr && user == o.user && id == o.id && len == o.len && size == o.size && burst == o.burst &&
               lock == o.lock;
    }
};

struct AxiBeat {
    u64 data[8] = {};
    u64 strb = 0;
    u8 last = 0;
};

// What an AXI master drives (an output of the device).
struct AxiMaster {
    AxiAddr aw, ar;
    AxiBeat w;
    u8 awvalid = 0, arvalid = 0, wvalid = 0, bready = 0, rready = 0;
};

// What an AXI slave drives (an input of the device).
struct AxiSlaveOut {
    u64 rdata[8] = {};
    u16 bid = 0, rid = 0;
    u8 awready = 0, arready = 0, wready = 0;
    u8 bvalid = 0, bresp = 0, rvalid = 0, rresp = 0, rlast = 0;
};

struct AxilIn {  // device outputs
    u32 rdata = 0;
    u8 awready = 0, wready = 0, arready = 0, bvalid = 0, bresp = 0, rvalid = 0, rresp = 0;
};

struct AxilOut {  // device inputs
    u32 awaddr = 0, araddr = 0, wdata = 0;
    u8 awprot = 0, arprot = 0, wstrb = 0xf;
    u8 awvalid = 0, wvalid = 0, arvalid = 0, bready = 0, rready = 0;
};

// The virtual-address side, observed only.
struct MonIn {
    u64 araddr = 0, awaddr = 0;
    u32 aruser = 0, awuser = 0;
    u16 arid = 0, awid = 0, rid = 0, bid = 0;
    u8 arlen = 0, awlen = 0;
    u8 arvalid = 0, arready = 0, awvalid = 0, awready = 0;
    u8 rvalid = 0, rready = 0, rlast = 0, rresp = 0, bvalid = 0, bready = 0, bresp = 0;
};

struct Inputs {
    AxilIn axil;
    AxiMaster bus, ring;
    MonIn mon;
    u8 irq = 0;
};

struct Outputs {
    u8 rst = 1;
    AxilOut axil;
    AxiSlaveOut bus, ring;
};

class HarnessCore;

// One access at the memory. The memory and the monitor each hold it until they are done with it.
struct Txn {
    AxiAddr a;
    u64 t_issue = 0, t_mem = 0, due = 0, fold = 0, order = 0;
    u32 beat = 0, moved = 0, refs = 0;
    u8 write = 0, resp = 0, sampled = 0, done = 0;
    std::vector<u8> data;
    std::vector<u64> strb;
};

// Memory behind one AXI port.
class AxiMemory {
public:
    AxiMemory(HarnessCore& core, const char* name, u32 bytes, bool ring, u64 seed);
    // Address and data handshakes of this edge.
    void accept(const AxiMaster& m, const AxiSlaveOut& s);
    // Response handshakes of this edge, then what to drive next.
    void respond(const AxiMaster& m, AxiSlaveOut& s);
    void check(const AxiMaster& m, const AxiSlaveOut& s);
    // A store by anyone to [addr, addr+n) ends exclusive reservations on it.
    void disturb(u64 addr, u32 n);
    u32 bytes() const { return bytes_; }
    // The accesses that wait, in order of acceptance, and whether one is the head of its ID: only a head may go on.
    void held(std::vector<Txn*>& out);
    bool head(const Txn* t);
    void release(Txn* t);

private:
    struct Queue {  // accesses of one direction: a queue per ID
        Fifo<Txn*> q[MAX_IDS];
        std::vector<u16> ids;  // IDs with a waiting access
        u32 count = 0;
        u64 last_due = 0;
        void push(Txn* t);
        void pop(u16 id);
        Txn* pick(u64 now);
        u64 earliest = NEVER;  // no head is due before this cycle
    };
    Txn* make(const AxiAddr& a, bool write);
    u64 latency(bool write);
    u64 due(bool write);
    bool ready(u32& hold, u64 bits);
    void match_data();
    void sample(Txn* t);
    void store(Txn* t);
    u64 beat_addr(const AxiAddr& a, u32 n) const;
    bool inside(const AxiAddr& a) const;

    HarnessCore& core_;
    const char* name_;
    u32 bytes_;
    bool ring_;
    Rng rng_;
    Queue rd_, wr_;
    Txn* cur_ = nullptr;     // read burst on the channel
    Txn* cur_b_ = nullptr;   // write response on the channel
    Fifo<Txn*> aw_wait_;     // writes whose data has not all come, in address order
    Fifo<AxiBeat> w_wait_;
    u32 wlast_count_ = 0;
    u32 hold_ar_ = 0, hold_aw_ = 0, hold_w_ = 0;
    u64 order_ = 0;
    struct Monitor {
        u16 id;
        u64 addr;
        u32 n;
        u8 snapshot[128];
    };
    std::vector<Monitor> exclusive_;
    // Held payloads for the stability check.
    AxiAddr held_aw_, held_ar_;
    AxiBeat held_w_;
    u8 aw_held_ = 0, ar_held_ = 0, w_held_ = 0;
};

// AXI4-Lite master behind a link: one access at a time, in order.
class RegMaster {
public:
    RegMaster(HarnessCore& core, u64 seed);
    void write(u32 offset, u32 value);
    u64 read(u32 offset);
    bool poll(u64 token, u32* value);
    void tick(const AxilIn& in, AxilOut& out);
    // The access of a held device that lands next; false when there is none.
    bool held(svm_held& out);
    void release();

private:
    struct Op {
        u64 due, token;
        u32 offset, value;
        bool write;
    };
    struct Landing {
        u64 due, token;
        u32 value;
    };
    u64 due();
    HarnessCore& core_;
    Rng rng_;
    Fifo<Op> ops_;
    Fifo<Landing> landing_;
    std::unordered_map<u64, u32> done_;
    u64 last_due_ = 0, last_landing_ = 0, tokens_ = 0;
    u8 busy_ = 0, aw_later_ = 0, w_later_ = 0;
};

// Matches the virtual-address side to the bus and logs each access.
class VaMonitor {
public:
    explicit VaMonitor(HarnessCore& core) : core_(core) {}
    void accept(const MonIn& m);
    void issued(Txn* t);
    void respond(const MonIn& m);
    // Fills in what the virtual-address side knows of an access.
    void describe(const Txn* t, svm_held& out);
    u64 oldest() const;
    u64 reads = 0, writes = 0, outstanding = 0;

private:
    struct Pending {
        u64 t_accept, va;
        u32 user, seq, beats;
        u8 len, resp;
        Txn* txn;
    };
    void finish(bool write, u16 id);
    void reassign(Fifo<Pending>& q, bool write);
    HarnessCore& core_;
    mutable Fifo<Pending> q_[2][MAX_IDS];
    u32 seq_ = 0;
    MonIn held_;
    u8 r_held_ = 0, b_held_ = 0;
};

class HarnessCore {
public:
    // data_bytes: width of the data bus. Throws std::runtime_error when memory cannot be had.
    HarnessCore(const svm_config& cfg, u32 data_bytes);
    ~HarnessCore();
    HarnessCore(const HarnessCore&) = delete;
    HarnessCore& operator=(const HarnessCore&) = delete;

    // One rising edge. Returns true when an event was raised at it.
    bool tick(const Inputs& in, Outputs& out);

    void error(const char* fmt, ...) __attribute__((format(printf, 2, 3)));
    void raise(u32 ev) { raised_ |= ev; }
    Txn* alloc();
    void release(Txn* t) {
        if (--t->refs == 0) free_.push_back(t);
    }
    void disturb(u64 addr, u32 n) {
        bus.disturb(addr, n);
        ring.disturb(addr, n);
    }
    void log_record(u64 addr, const u8* data, bool write, u8 resp);
    void log_access(const svm_access& a);
    // What waits at the boundary (svm_held_list), and lets one of them go on.
    const std::vector<svm_held>& held();
    void release_held(u32 index);
    static u32 threshold(double p) { return p <= 0 ? 0 : p >= 1 ? 65536 : u32(p * 65536); }

    svm_config cfg;
    u64 cycle = 0;
    u8* mem = nullptr;
    u64 mem_base, mem_bytes;
    u64 alarm = NEVER;
    bool hold = false;
    u32 events = 0, irqs = 0;
    u32 p_stall, p_bubble, p_interleave, p_slow, p_early;
    svm_stats stats{};
    std::string errors;
    std::vector<svm_access> accesses;
    std::vector<svm_record> records;
    AxiMemory bus, ring;
    RegMaster regs;
    VaMonitor monitor;

private:
    void interrupts(u8 lines);
    u32 reset_left_;
    u32 raised_ = 0;
    Rng irq_rng_;
    struct Msi {
        u64 due;
        u32 vector;
    };
    std::vector<Msi> msis_;
    std::vector<Txn*> free_;
    std::deque<Txn> pool_;
    std::vector<svm_held> held_;
    std::vector<Txn*> held_txns_;  // of held_; null where it is none
    bool own_mem_ = false;
};

}  // namespace svm
#endif
