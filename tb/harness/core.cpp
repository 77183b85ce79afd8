#include "core.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <stdexcept>

namespace svm {

namespace {

constexpr u8 OKAY = 0, EXOKAY = 1, DECERR = 3;
constexpr u8 FIXED = 0, WRAP = 2;
constexpr u8 JUNK = 0xa5;  // what lanes outside an access carry
constexpr u32 PAGE = 4096;
constexpr u32 W_AHEAD = 64;  // write beats taken before their address

u64 splitmix(u64& x) {
    u64 z = (x += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

struct ByteMasks {
    u64 m[256];
    ByteMasks() {
        for (u32 i = 0; i < 256; i++) {
            m[i] = 0;
            for (u32 b = 0; b < 8; b++)
                if (i >> b & 1) m[i] |= 0xffULL << (8 * b);
        }
    }
};
const ByteMasks MASKS;

// XOR of the enabled bytes of one bus word, each in the lane of its address modulo 8.
u64 fold_word(const u8* data, u64 strb, u32 bytes) {
    u64 f = 0;
    for (u32 i = 0; i < bytes; i += 8, strb >>= 8) {
        u64 w;
        std::memcpy(&w, data + i, 8);
        f ^= w & MASKS.m[strb & 0xff];
    }
    return f;
}

u64 ones(u32 n) { return n >= 64 ? ~0ULL : (1ULL << n) - 1; }

bool same_beat(const AxiBeat& a, const AxiBeat& b, u32 bytes) {
    return a.strb == b.strb && a.last == b.last && !std::memcmp(a.data, b.data, bytes);
}

}  // namespace

Rng::Rng(u64 seed) {
    for (auto& v : s_) v = splitmix(seed);
}

// ---------------------------------------------------------------- AxiMemory

AxiMemory::AxiMemory(HarnessCore& core, const char* name, u32 bytes, bool ring, u64 seed)
    : core_(core), name_(name), bytes_(bytes), ring_(ring), rng_(seed) {}

void AxiMemory::Queue::push(Txn* t) {
    auto& f = q[t->a.id];
    if (f.empty()) {
        ids.push_back(t->a.id);
        earliest = std::min(earliest, t->due);
    }
    f.push(t);
    count++;
}

void AxiMemory::Queue::pop(u16 id) {
    auto& f = q[id];
    f.pop();
    count--;
    if (f.empty()) {
        auto it = std::find(ids.begin(), ids.end(), id);
        *it = ids.back();
        ids.pop_back();
    } else {
        earliest = std::min(earliest, f.front()->due);
    }
}

Txn* AxiMemory::Queue::pick(u64 now) {
    if (earliest > now) return nullptr;
    Txn* best = nullptr;
    for (u16 id : ids) {
        Txn* t = q[id].front();
        if (!best || t->due < best->due || (t->due == best->due && t->order < best->order)) best = t;
    }
    if (!best || best->due > now) {
        earliest = best ? best->due : NEVER;
        return nullptr;
    }
    return best;
}

void AxiMemory::held(std::vector<Txn*>& out) {
    const auto first = out.size();
    for (Queue* q : {&rd_, &wr_})
        for (u16 id : q->ids)
            for (u32 i = 0; i < q->q[id].size(); i++)
                if (Txn* t = q->q[id].at(i); t->due > core_.cycle) out.push_back(t);
    std::sort(out.begin() + long(first), out.end(), [](Txn* a, Txn* b) { return a->order < b->order; });
}

bool AxiMemory::head(const Txn* t) { return (t->write ? wr_ : rd_).q[t->a.id].front() == t; }

void AxiMemory::release(Txn* t) {
    t->due = core_.cycle;
    Queue& q = t->write ? wr_ : rd_;
    q.earliest = std::min(q.earliest, t->due);
}

u64 AxiMemory::due(bool write) {
    if (core_.hold) return NEVER;
    return core_.cycle + latency(write);
}

u64 AxiMemory::latency(bool write) {
    const auto& c = core_.cfg;
    u64 n = ring_ ? rng_.range(c.ring_min, c.ring_max)
                  : write ? rng_.range(c.write_min, c.write_max) : rng_.range(c.read_min, c.read_max);
    if (rng_.chance(core_.p_slow)) n *= c.slow_factor;
    return n;
}

bool AxiMemory::ready(u32& hold, u64 bits) {
    if (hold) {
        hold--;
        return false;
    }
    if (core_.p_stall && (bits & 0xffff) < core_.p_stall) {
        hold = rng_.range(1, core_.cfg.stall_max) - 1;
        return false;
    }
    return true;
}

Txn* AxiMemory::make(const AxiAddr& a, bool write) {
    Txn* t = core_.alloc();
    t->a = a;
    t->write = write;
    t->refs = 1;
    t->t_issue = core_.cycle;
    t->t_mem = t->fold = 0;
    t->beat = t->moved = 0;
    t->resp = OKAY;
    t->sampled = t->done = 0;
    t->order = order_++;
    t->data.clear();
    t->strb.clear();
    const char dir = write ? 'W' : 'R';
    if (a.id >= MAX_IDS) core_.error("%s A%c: ID %u", name_, dir, a.id);
    if ((1u << a.size) > bytes_) core_.error("%s A%c: size %u on a bus of %u bytes", name_, dir, a.size, bytes_);
    const u64 n = u64(a.len + 1) << a.size, start = a.addr & ~((1ULL << a.size) - 1);
    if (a.burst == 1 && start / PAGE != (start + n - 1) / PAGE)
        core_.error("%s A%c: burst at 0x%llx len %u crosses 4 KiB", name_, dir, (unsigned long long)a.addr, a.len);
    if (a.burst == WRAP && ((a.len & (a.len + 1)) || a.len > 15 || a.len == 0 || (a.addr & ((1u << a.size) - 1))))
        core_.error("%s A%c: malformed wrapping burst", name_, dir);
    if (a.burst > WRAP) core_.error("%s A%c: reserved burst type", name_, dir);
    if (ring_ && (a.burst != 1 || (1u << a.size) != bytes_ || (a.addr & (bytes_ - 1)) || a.len > (write ? 0 : 15)))
        core_.error("%s A%c: not whole records (addr 0x%llx len %u size %u)", name_, dir, (unsigned long long)a.addr,
                    a.len, a.size);
    return t;
}

u64 AxiMemory::beat_addr(const AxiAddr& a, u32 n) const {
    if (n == 0 || a.burst == FIXED) return a.addr;
    const u64 step = 1ULL << a.size;
    const u64 linear = (a.addr & ~(step - 1)) + n * step;
    if (a.burst != WRAP) return linear;
    const u64 span = (a.len + 1) * step, base = a.addr & ~(span - 1);
    return base + (linear - base) % span;
}

bool AxiMemory::inside(const AxiAddr& a) const {
    u64 lo = a.addr, n = u64(a.len + 1) << a.size;
    if (a.burst == WRAP) lo &= ~(n - 1);
    if (a.burst == FIXED) n = 1ULL << a.size;
    lo &= ~((1ULL << a.size) - 1);
    return lo >= core_.mem_base && n <= core_.mem_bytes && lo - core_.mem_base <= core_.mem_bytes - n;
}

void AxiMemory::sample(Txn* t) {
    t->sampled = 1;
    t->t_mem = core_.cycle;
    const u32 beats = t->a.len + 1;
    t->data.resize(size_t(beats) * bytes_);
    if (!inside(t->a)) {
        t->resp = DECERR;
        t->t_mem = 0;
        std::memset(t->data.data(), JUNK, t->data.size());
        return;
    }
    const u64 step = 1ULL << t->a.size;
    for (u32 n = 0; n < beats; n++) {
        const u64 lo = beat_addr(t->a, n), hi = (lo & ~(step - 1)) + step;
        const u32 lane = lo & (bytes_ - 1), len = u32(hi - lo);
        u8* d = t->data.data() + size_t(n) * bytes_;
        if (len != bytes_) std::memset(d, JUNK, bytes_);
        std::memcpy(d + lane, core_.mem + (lo - core_.mem_base), len);
        t->fold ^= fold_word(d, ones(len) << lane, bytes_);
        t->moved += len;
    }
    if (t->a.lock) {
        const u32 n = std::min<u32>(beats << t->a.size, sizeof(Monitor::snapshot));
        Monitor m{t->a.id, t->a.addr, n, {}};
        std::memcpy(m.snapshot, core_.mem + (t->a.addr - core_.mem_base), n);
        exclusive_.erase(std::remove_if(exclusive_.begin(), exclusive_.end(),
                                        [&](const Monitor& e) { return e.id == t->a.id; }),
                         exclusive_.end());
        exclusive_.push_back(m);
        t->resp = EXOKAY;
    }
    if (!ring_) core_.stats.read_bytes += t->moved;
}

void AxiMemory::disturb(u64 addr, u32 n) {
    if (exclusive_.empty()) return;
    exclusive_.erase(std::remove_if(exclusive_.begin(), exclusive_.end(),
                                    [&](const Monitor& e) { return e.addr < addr + n && addr < e.addr + e.n; }),
                     exclusive_.end());
}

void AxiMemory::store(Txn* t) {
    t->sampled = 1;
    if (!inside(t->a)) {
        t->resp = DECERR;
        return;
    }
    if (t->a.lock) {
        // The snapshot shows a store by the host, which no port carries.
        bool held = false;
        for (size_t i = 0; i < exclusive_.size(); i++) {
            Monitor& e = exclusive_[i];
            if (e.id != t->a.id) continue;
            held = e.addr == t->a.addr && e.n == (u32(t->a.len) + 1) << t->a.size &&
                   !std::memcmp(e.snapshot, core_.mem + (e.addr - core_.mem_base), e.n);
            exclusive_.erase(exclusive_.begin() + i);
            break;
        }
        if (!held) return;
        t->resp = EXOKAY;
    }
    t->t_mem = core_.cycle;
    const u32 beats = t->a.len + 1;
    for (u32 n = 0; n < beats; n++) {
        const u64 word = beat_addr(t->a, n) & ~u64(bytes_ - 1);
        const u8* d = t->data.data() + size_t(n) * bytes_;
        u8* m = core_.mem + (word - core_.mem_base);
        const u64 strb = t->strb[n];
        if (strb == ones(bytes_)) {
            std::memcpy(m, d, bytes_);
        } else {
            for (u32 i = 0; i < bytes_; i++)
                if (strb >> i & 1) m[i] = d[i];
        }
        t->fold ^= fold_word(d, strb, bytes_);
        t->moved += u32(__builtin_popcountll(strb));
        if (ring_) core_.log_record(word, d, true, t->resp);
    }
    core_.disturb(t->a.addr & ~u64(bytes_ - 1), beats * bytes_);
    if (!ring_) core_.stats.write_bytes += t->moved;
}

void AxiMemory::match_data() {
    while (!aw_wait_.empty() && !w_wait_.empty()) {
        Txn* t = aw_wait_.front();
        const AxiBeat b = w_wait_.front();
        w_wait_.pop();
        const u64 step = 1ULL << t->a.size, lo = beat_addr(t->a, t->beat);
        const u64 hi = (lo & ~(step - 1)) + step;
        const u64 lanes = ones(u32(hi - lo)) << (lo & (bytes_ - 1));
        if (b.strb & ~lanes)
            core_.error("%s W: strobe 0x%llx outside lanes 0x%llx (ID %u addr 0x%llx beat %u)", name_,
                        (unsigned long long)b.strb, (unsigned long long)lanes, t->a.id, (unsigned long long)t->a.addr,
                        t->beat);
        if (ring_ && b.strb != ones(bytes_)) core_.error("%s W: partial record", name_);
        const u8* d = reinterpret_cast<const u8*>(b.data);
        t->data.insert(t->data.end(), d, d + bytes_);
        t->strb.push_back(b.strb & lanes);
        const bool last = t->beat == t->a.len;
        if (bool(b.last) != last)
            core_.error("%s W: WLAST is %u at beat %u of %u (ID %u)", name_, b.last, t->beat + 1, t->a.len + 1, t->a.id);
        t->beat++;
        if (!last) continue;
        aw_wait_.pop();
        t->due = due(true);
        if (core_.cfg.in_order) t->due = wr_.last_due = std::max(t->due, wr_.last_due);
        // A write may reach memory before its response, but never before an older one of its ID.
        if (!core_.hold && rng_.chance(core_.p_early) && wr_.q[t->a.id].empty()) store(t);
        wr_.push(t);
    }
}

void AxiMemory::check(const AxiMaster& m, const AxiSlaveOut& s) {
    if (aw_held_ && !(m.awvalid && m.aw == held_aw_)) core_.error("%s AW: changed while waiting", name_);
    if (ar_held_ && !(m.arvalid && m.ar == held_ar_)) core_.error("%s AR: changed while waiting", name_);
    if (w_held_ && !(m.wvalid && same_beat(m.w, held_w_, bytes_))) core_.error("%s W: changed while waiting", name_);
    if ((aw_held_ = m.awvalid && !s.awready)) held_aw_ = m.aw;
    if ((ar_held_ = m.arvalid && !s.arready)) held_ar_ = m.ar;
    if ((w_held_ = m.wvalid && !s.wready)) held_w_ = m.w;
}

void AxiMemory::accept(const AxiMaster& m, const AxiSlaveOut& s) {
    if (m.arvalid && s.arready) {
        Txn* t = make(m.ar, false);
        t->due = due(false);
        if (core_.cfg.in_order) t->due = rd_.last_due = std::max(t->due, rd_.last_due);
        if (!ring_ && core_.cfg.monitor) core_.monitor.issued(t);
        rd_.push(t);
    }
    const bool aw = m.awvalid && s.awready, w = m.wvalid && s.wready;
    if (aw) {
        Txn* t = make(m.aw, true);
        if (!ring_ && core_.cfg.monitor) core_.monitor.issued(t);
        aw_wait_.push(t);
    }
    if (w) w_wait_.push(m.w);
    if (aw || w) match_data();
}

void AxiMemory::respond(const AxiMaster& m, AxiSlaveOut& s) {
    auto finish = [&](Queue& q, Txn* t) {
        for (u16 id : q.ids)
            if (q.q[id].front()->order < t->order) {
                if (!ring_) core_.stats.bus_reordered++;
                break;
            }
        q.pop(t->a.id);
        t->done = 1;
        core_.release(t);
    };
    if (s.rvalid && m.rready) {
        Txn* t = cur_;
        if (ring_) core_.log_record(beat_addr(t->a, t->beat), t->data.data() + size_t(t->beat) * bytes_, false, t->resp);
        s.rvalid = 0;
        if (t->beat++ == t->a.len) {
            cur_ = nullptr;
            finish(rd_, t);
        } else if (ring_ && core_.hold) {
            cur_ = nullptr;
            t->due = NEVER;
        }
    }
    if (s.bvalid && m.bready) {
        s.bvalid = 0;
        finish(wr_, cur_b_);
        cur_b_ = nullptr;
    }
    const bool dice = core_.p_stall || core_.p_bubble;
    const u64 bits = dice ? rng_.next() : ~0ULL, more = core_.p_bubble ? rng_.next() : ~0ULL;
    if (!s.rvalid && rd_.count && !(core_.p_bubble && (more & 0xffff) < core_.p_bubble)) {
        if (cur_ && rng_.chance(core_.p_interleave)) {
            Txn* other = rd_.q[rd_.ids[rng_.range(0, u32(rd_.ids.size()) - 1)]].front();
            if (other->due <= core_.cycle) cur_ = other;
        }
        if (!cur_) cur_ = rd_.pick(core_.cycle);
        if (cur_) {
            if (!cur_->sampled) sample(cur_);
            s.rvalid = 1;
            s.rid = cur_->a.id;
            s.rresp = cur_->resp;
            s.rlast = cur_->beat == cur_->a.len;
            std::memcpy(s.rdata, cur_->data.data() + size_t(cur_->beat) * bytes_, bytes_);
        }
    }
    if (!s.bvalid && wr_.count && !(core_.p_bubble && (more >> 16 & 0xffff) < core_.p_bubble)) {
        cur_b_ = wr_.pick(core_.cycle);
        if (cur_b_) {
            if (!cur_b_->sampled) store(cur_b_);
            s.bvalid = 1;
            s.bid = cur_b_->a.id;
            s.bresp = cur_b_->resp;
        }
    }
    s.arready = ready(hold_ar_, bits) && rd_.count < core_.cfg.max_reads;
    s.awready = ready(hold_aw_, bits >> 16) && wr_.count + aw_wait_.size() < core_.cfg.max_writes;
    s.wready = ready(hold_w_, bits >> 32) && w_wait_.size() < W_AHEAD;
}

// ---------------------------------------------------------------- RegMaster

RegMaster::RegMaster(HarnessCore& core, u64 seed) : core_(core), rng_(seed) {}

u64 RegMaster::due() {
    if (core_.hold) return NEVER;
    last_due_ = std::max(last_due_, core_.cycle + rng_.range(core_.cfg.link_min, core_.cfg.link_max));
    return last_due_;
}

void RegMaster::write(u32 offset, u32 value) { ops_.push({due(), 0, offset, value, true}); }

u64 RegMaster::read(u32 offset) {
    ops_.push({due(), ++tokens_, offset, 0, false});
    return tokens_;
}

bool RegMaster::poll(u64 token, u32* value) {
    auto it = done_.find(token);
    if (it == done_.end()) return false;
    *value = it->second;
    done_.erase(it);
    return true;
}

bool RegMaster::held(svm_held& out) {
    if (ops_.empty() || ops_.front().due <= core_.cycle) return false;
    const Op& op = ops_.front();
    out.kind = SVM_HELD_REG;
    out.id = op.offset;
    out.write = op.write;
    out.ready = 1;
    out.data[0] = op.value;
    return true;
}

void RegMaster::release() { ops_.front().due = core_.cycle; }

void RegMaster::tick(const AxilIn& in, AxilOut& out) {
    if (in.bvalid && !(out.bready && busy_ == 1 && !out.awvalid && !out.wvalid && !aw_later_ && !w_later_))
        core_.error("s_axil B: response without request");
    if (in.rvalid && !(out.rready && busy_ == 2 && !out.arvalid)) core_.error("s_axil R: response without request");
    if (out.awvalid && in.awready) out.awvalid = 0;
    if (out.wvalid && in.wready) out.wvalid = 0;
    if (out.arvalid && in.arready) out.arvalid = 0;
    if (busy_ == 1) {
        if (aw_later_ && --aw_later_ == 0) out.awvalid = 1;
        if (w_later_ && --w_later_ == 0) out.wvalid = 1;
        if (in.bvalid && out.bready) {
            out.bready = 0;
            busy_ = 0;
            ops_.pop();
        }
    } else if (busy_ == 2) {
        if (in.rvalid && out.rready) {
            out.rready = 0;
            busy_ = 0;
            last_landing_ =
                std::max(last_landing_, core_.cycle + rng_.range(core_.cfg.link_min, core_.cfg.link_max));
            landing_.push({last_landing_, ops_.front().token, in.rresp ? 0xffffffffu : in.rdata});
            ops_.pop();
        }
    }
    if (!busy_ && !ops_.empty() && ops_.front().due <= core_.cycle) {
        const Op& op = ops_.front();
        if (op.write) {
            busy_ = 1;
            out.awaddr = op.offset;
            out.wdata = op.value;
            out.bready = 1;
            const u32 skew = rng_.range(0, 5);  // 0..3: together; 4: data first; 5: address first
            aw_later_ = skew == 4 ? 2 : 0;
            w_later_ = skew == 5 ? 2 : 0;
            out.awvalid = !aw_later_;
            out.wvalid = !w_later_;
        } else {
            busy_ = 2;
            out.araddr = op.offset;
            out.arvalid = out.rready = 1;
        }
    }
    while (!landing_.empty() && landing_.front().due <= core_.cycle) {
        done_[landing_.front().token] = landing_.front().value;
        landing_.pop();
        core_.raise(SVM_EV_READ);
    }
}

// ---------------------------------------------------------------- VaMonitor

void VaMonitor::accept(const MonIn& m) {
    if (m.arvalid && m.arready) {
        q_[0][m.arid & (MAX_IDS - 1)].push({core_.cycle, m.araddr, m.aruser, seq_++, 0, m.arlen, 0, nullptr});
        reads++;
        outstanding++;
    }
    if (m.awvalid && m.awready) {
        q_[1][m.awid & (MAX_IDS - 1)].push({core_.cycle, m.awaddr, m.awuser, seq_++, 0, m.awlen, 0, nullptr});
        writes++;
        outstanding++;
    }
}

void VaMonitor::issued(Txn* t) {
    auto& q = q_[t->write][t->a.id];
    for (u32 i = 0; i < q.size(); i++) {
        Pending& p = q.at(i);
        if (p.txn || p.len != t->a.len || p.user != t->a.user || ((p.va ^ t->a.addr) & (PAGE - 1))) continue;
        p.txn = t;
        t->refs++;
        return;
    }
    core_.error("m_axi A%c: ID %u addr 0x%llx len %u user 0x%x matches no access", t->write ? 'W' : 'R', t->a.id,
                (unsigned long long)t->a.addr, t->a.len, t->a.user);
}

// The MMU answered the head itself although a bus access was matched to it: that one belongs to the next alike.
void VaMonitor::reassign(Fifo<Pending>& q, bool write) {
    Pending& head = q.front();
    Txn* t = head.txn;
    head.txn = nullptr;
    for (u32 i = 1; i < q.size() && t; i++) {
        Pending& p = q.at(i);
        if (p.len == head.len && p.user == head.user && !((p.va ^ head.va) & (PAGE - 1))) std::swap(p.txn, t);
    }
    if (t) {
        core_.error("mon %c: response of ID %u before its bus response", write ? 'B' : 'R', t->a.id);
        core_.release(t);
    }
}

void VaMonitor::finish(bool write, u16 id) {
    auto& q = q_[write][id];
    if (q.front().txn && !q.front().txn->done) reassign(q, write);
    const Pending p = q.front();
    q.pop();
    outstanding--;
    svm_access a{};
    a.t_accept = p.t_accept;
    a.t_resp = core_.cycle;
    a.va = p.va;
    a.user = p.user;
    a.seq = p.seq;
    a.id = id;
    a.write = write;
    a.resp = p.resp;
    u32 size = u32(__builtin_ctz(core_.bus.bytes()));
    if (Txn* t = p.txn) {
        size = t->a.size;
        a.t_issue = t->t_issue;
        a.t_mem = t->t_mem;
        a.bus = t->a.addr;
        a.fold = t->fold;
        a.moved = t->moved;
        a.lock = t->a.lock;
        a.issued = 1;
        if (p.resp != t->resp)
            core_.error("mon %c: ID %u has response %u, the bus said %u", write ? 'B' : 'R', id, p.resp, t->resp);
        core_.release(t);
    } else if (p.resp < 2) {
        core_.error("mon %c: ID %u va 0x%llx succeeded without a bus access", write ? 'B' : 'R', id,
                    (unsigned long long)p.va);
    }
    a.nbytes = ((u32(p.len) + 1) << size) - u32(p.va & ((1u << size) - 1));
    core_.log_access(a);
}

void VaMonitor::respond(const MonIn& m) {
    if (r_held_ && !(m.rvalid && m.rid == held_.rid && m.rresp == held_.rresp && m.rlast == held_.rlast))
        core_.error("mon R: changed while waiting");
    if (b_held_ && !(m.bvalid && m.bid == held_.bid && m.bresp == held_.bresp))
        core_.error("mon B: changed while waiting");
    r_held_ = m.rvalid && !m.rready;
    b_held_ = m.bvalid && !m.bready;
    if (r_held_ || b_held_) held_ = m;
    if (m.rvalid && m.rready) {
        const u16 id = m.rid & (MAX_IDS - 1);
        auto& q = q_[0][id];
        if (q.empty()) {
            core_.error("mon R: ID %u has no access", id);
        } else {
            Pending& p = q.front();
            p.resp = std::max(p.resp, m.rresp);
            const bool last = p.beats++ == p.len;
            if (bool(m.rlast) != last) core_.error("mon R: RLAST is %u at beat %u of %u", m.rlast, p.beats, p.len + 1);
            if (last) finish(false, id);
        }
    }
    if (m.bvalid && m.bready) {
        const u16 id = m.bid & (MAX_IDS - 1);
        auto& q = q_[1][id];
        if (q.empty()) {
            core_.error("mon B: ID %u has no access", id);
        } else {
            q.front().resp = m.bresp;
            finish(true, id);
        }
    }
}

void VaMonitor::describe(const Txn* t, svm_held& out) {
    auto& q = q_[t->write][t->a.id];
    for (u32 i = 0; i < q.size(); i++) {
        const Pending& p = q.at(i);
        if (p.txn != t) continue;
        out.va = p.va;
        out.user = p.user;
        out.seq = p.seq;
        out.nbytes = ((u32(p.len) + 1) << t->a.size) - u32(p.va & ((1u << t->a.size) - 1));
    }
}

u64 VaMonitor::oldest() const {
    u64 t = NEVER;
    for (auto& dir : q_)
        for (auto& q : dir)
            if (!q.empty()) t = std::min(t, q.front().t_accept);
    return t;
}

// ---------------------------------------------------------------- HarnessCore

HarnessCore::HarnessCore(const svm_config& c, u32 data_bytes)
    : cfg(c),
      mem_base(c.mem_base),
      mem_bytes(c.mem_bytes),
      p_stall(threshold(c.p_stall)),
      p_bubble(threshold(c.p_bubble)),
      p_interleave(threshold(c.p_interleave)),
      p_slow(threshold(c.p_slow)),
      p_early(threshold(c.p_early_write)),
      bus(*this, "m_axi", data_bytes, false, c.seed ^ 0x6d5f617869ULL),
      ring(*this, "m_axi_ring", 32, true, c.seed ^ 0x72696e67ULL),
      regs(*this, c.seed ^ 0x6c696e6bULL),
      monitor(*this),
      reset_left_(std::max<u32>(c.reset_cycles, 2)),
      irq_rng_(c.seed ^ 0x6d7369ULL) {
    if (!mem_bytes || mem_bytes % PAGE) throw std::runtime_error("mem_bytes is not a multiple of 4096");
    if (mem_base % PAGE) throw std::runtime_error("mem_base is not a multiple of 4096");
    if (c.mem) {
        mem = static_cast<u8*>(c.mem);
        return;
    }
    int fd = -1;
    if (c.mem_file && *c.mem_file) {
        fd = ::open(c.mem_file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        struct stat st {};
        if (fd < 0 || ::fstat(fd, &st) || (u64(st.st_size) < mem_bytes && ::ftruncate(fd, off_t(mem_bytes)))) {
            if (fd >= 0) ::close(fd);
            throw std::runtime_error(std::string("cannot map ") + c.mem_file);
        }
    }
    void* p = ::mmap(nullptr, mem_bytes, PROT_READ | PROT_WRITE, fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd,
                     0);
    if (fd >= 0) ::close(fd);
    if (p == MAP_FAILED) throw std::runtime_error("cannot map host memory");
    mem = static_cast<u8*>(p);
    own_mem_ = true;
}

HarnessCore::~HarnessCore() {
    if (own_mem_) ::munmap(mem, mem_bytes);
}

Txn* HarnessCore::alloc() {
    if (free_.empty()) {
        pool_.emplace_back();
        free_.push_back(&pool_.back());
    }
    Txn* t = free_.back();
    free_.pop_back();
    return t;
}

void HarnessCore::error(const char* fmt, ...) {
    if (stats.errors++ < 64) {
        char buf[256];
        va_list ap;
        va_start(ap, fmt);
        std::vsnprintf(buf, sizeof buf, fmt, ap);
        va_end(ap);
        errors += "cycle " + std::to_string(cycle) + ": " + buf + "\n";
    }
    raise(SVM_EV_ERROR);
}

void HarnessCore::log_access(const svm_access& a) {
    accesses.push_back(a);
    if (accesses.size() == cfg.log_watermark) raise(SVM_EV_LOG);
}

void HarnessCore::log_record(u64 addr, const u8* data, bool write, u8 resp) {
    if (!cfg.monitor) return;
    svm_record r{cycle, addr, {}, write, resp};
    std::memcpy(r.data, data, 32);
    records.push_back(r);
    if (records.size() == cfg.log_watermark) raise(SVM_EV_LOG);
}

void HarnessCore::interrupts(u8 lines) {
    // A message merges with one of its vector that is still on the way: what it announces is in memory already.
    for (u32 v = 0; v < VECTORS; v++) {
        if (!(lines >> v & 1)) continue;
        stats.irqs++;
        bool on_the_way = false;
        for (const Msi& m : msis_) on_the_way |= m.vector == v;
        if (!on_the_way) msis_.push_back({hold ? NEVER : cycle + irq_rng_.range(cfg.msi_min, cfg.msi_max), v});
    }
    for (size_t i = 0; i < msis_.size();) {
        if (msis_[i].due > cycle) {
            i++;
            continue;
        }
        irqs |= 1u << msis_[i].vector;
        raise(SVM_EV_IRQ);
        msis_[i] = msis_.back();
        msis_.pop_back();
    }
}

const std::vector<svm_held>& HarnessCore::held() {
    held_.clear();
    held_txns_.clear();
    svm_held reg{};
    if (regs.held(reg)) {
        held_.push_back(reg);
        held_txns_.push_back(nullptr);
    }
    for (AxiMemory* m : {&ring, &bus}) {
        const size_t first = held_txns_.size();
        m->held(held_txns_);
        for (size_t i = first; i < held_txns_.size(); i++) {
            const Txn* t = held_txns_[i];
            svm_held h{};
            h.id = t->a.id;
            h.addr = t->a.addr;
            h.seq = u32(t->order);
            h.ready = m->head(t);
            if (m == &ring) {
                h.kind = t->write ? SVM_HELD_RING_WRITE : SVM_HELD_RING_READ;
                if (t->write) std::memcpy(h.data, t->data.data(), sizeof h.data);
                else h.addr += u64(t->beat) * ring.bytes();
            } else {
                h.kind = t->write ? SVM_HELD_WRITE : SVM_HELD_READ;
                monitor.describe(t, h);
            }
            held_.push_back(h);
        }
    }
    for (const Msi& m : msis_) {
        if (m.due <= cycle) continue;
        svm_held h{};
        h.kind = SVM_HELD_IRQ;
        h.id = m.vector;
        h.ready = 1;
        held_.push_back(h);
        held_txns_.push_back(nullptr);
    }
    return held_;
}

void HarnessCore::release_held(u32 index) {
    if (index >= held_.size()) return error("svm_release: no entry %u", index);
    const svm_held& h = held_[index];
    if (h.kind == SVM_HELD_REG) {
        regs.release();
    } else if (h.kind == SVM_HELD_IRQ) {
        for (Msi& m : msis_)
            if (m.vector == h.id) m.due = cycle;
    } else {
        Txn* t = held_txns_[index];
        (h.kind <= SVM_HELD_RING_WRITE ? ring : bus).release(t);
    }
}

bool HarnessCore::tick(const Inputs& in, Outputs& out) {
    if (reset_left_) {
        if (--reset_left_ == 0) out.rst = 0;
        return false;
    }
    if (cfg.monitor) {
        bus.check(in.bus, out.bus);
        ring.check(in.ring, out.ring);
        monitor.accept(in.mon);
    }
    bus.accept(in.bus, out.bus);
    ring.accept(in.ring, out.ring);
    bus.respond(in.bus, out.bus);
    ring.respond(in.ring, out.ring);
    if (cfg.monitor) monitor.respond(in.mon);
    regs.tick(in.axil, out.axil);
    if (in.irq || !msis_.empty()) interrupts(in.irq);
    cycle++;
    if (cycle >= alarm) {
        alarm = NEVER;
        raise(SVM_EV_ALARM);
    }
    if (!raised_) return false;
    events |= raised_;
    raised_ = 0;
    stats.attention++;
    return true;
}

}  // namespace svm
