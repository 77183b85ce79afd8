// The harness as a VPI module for Icarus: svm_icarus.v owns the clock and calls $svm_sample and $svm_drive.
#include <vpi_user.h>

#include <cstdlib>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "glue.h"
#include "signals.h"

namespace {

using svm::u32;
using svm::u64;
using svm::u8;

constexpr const char* TOP = "svm_icarus.";
constexpr u32 WORDS = 16;  // 32-bit words of the widest port

struct IcarusSim;
IcarusSim* attached = nullptr;

struct Port {
    vpiHandle handle = nullptr;
    std::string name;
    u32 width = 0;
    int valid = -1;      // index of the valid signal that gives this one a meaning
    bool strobed = false;  // write data: only strobed lanes have a meaning
    bool control = false;
    u32 val[WORDS] = {}, x[WORDS] = {};
    bool any_x = false, first = true;
};

std::vector<Port> outputs, inputs;
vpiHandle attention = nullptr;
bool attention_value = false;
u32 data_bytes = 0;

bool ends(const std::string& s, const char* t) {
    const std::string e(t);
    return s.size() >= e.size() && !s.compare(s.size() - e.size(), e.size(), e);
}

void add(std::vector<Port>& list, const char* name) {
    Port p;
    p.name = name;
    p.handle = vpi_handle_by_name(const_cast<char*>((TOP + p.name).c_str()), nullptr);
    if (!p.handle) {
        vpi_printf(const_cast<char*>("svm: no signal %s\n"), name);
        std::exit(1);
    }
    p.width = u32(vpi_get(vpiSize, p.handle));
    p.control = ends(p.name, "valid") || ends(p.name, "ready") || p.name == "irq";
    list.push_back(p);
}

void find_ports() {
#define X(port, field) add(outputs, #port);
    SVM_DEVICE_OUTPUTS(X)
#undef X
#define X(port, field) add(inputs, #port);
    SVM_DEVICE_INPUTS(X)
#undef X
    std::unordered_map<std::string, int> index;
    for (size_t i = 0; i < outputs.size(); i++) index[outputs[i].name] = int(i);
    for (auto& p : outputs) {
        if (p.control) continue;
        const size_t cut = p.name.rfind('_') + 1;
        const std::string sig = p.name.substr(cut);
        const std::string channel = sig[0] == 'a' ? sig.substr(0, 2) : sig.substr(0, 1);
        const auto it = index.find(p.name.substr(0, cut) + channel + "valid");
        if (it != index.end()) p.valid = it->second;
        p.strobed = sig == "wdata";
        if (p.name == "m_axi_wdata") data_bytes = p.width / 8;
    }
    attention = vpi_handle_by_name(const_cast<char*>((std::string(TOP) + "attention").c_str()), nullptr);
}

void read_port(Port& p) {
    s_vpi_value v{};
    v.format = vpiVectorVal;
    vpi_get_value(p.handle, &v);
    p.any_x = false;
    for (u32 i = 0; i < (p.width + 31) / 32; i++) {
        p.x[i] = u32(v.value.vector[i].bval);
        p.val[i] = u32(v.value.vector[i].aval) & ~p.x[i];
        p.any_x |= p.x[i] != 0;
    }
}

template <class T>
std::enable_if_t<std::is_integral_v<T>> unpack(T& dst, const Port& p) {
    dst = T(p.val[0] | u64(p.val[1]) << 32);
}
void unpack(u64 (&dst)[8], const Port& p) { std::memcpy(dst, p.val, (p.width + 31) / 32 * 4); }

void write_port(Port& p, const u32* val) {
    const u32 n = (p.width + 31) / 32;
    if (!p.first && !std::memcmp(p.val, val, n * 4)) return;
    p.first = false;
    s_vpi_vecval vec[WORDS];
    for (u32 i = 0; i < n; i++) {
        p.val[i] = val[i];
        vec[i].aval = PLI_INT32(val[i]);
        vec[i].bval = 0;
    }
    s_vpi_value v{};
    v.format = vpiVectorVal;
    v.value.vector = vec;
    vpi_put_value(p.handle, &v, nullptr, vpiNoDelay);
}

template <class T>
std::enable_if_t<std::is_integral_v<T>> pack(Port& p, T src) {
    const u32 v[2] = {u32(src), u32(u64(src) >> 32)};
    write_port(p, v);
}
void pack(Port& p, const u64 (&src)[8]) {
    u32 v[WORDS];
    std::memcpy(v, src, sizeof v);
    write_port(p, v);
}

struct IcarusSim : svm_sim {
    bool wake = false, sampled = false, in_reset = true;

    explicit IcarusSim(const svm_config& cfg) {
        if (cfg.wave_file && *cfg.wave_file) throw std::runtime_error("Icarus takes waves from +dump=file");
        core.reset(new svm::HarnessCore(cfg, data_bytes));
    }
    u32 run(u64) override { return 0; }
    bool owns_time() const override { return false; }

    // What a two-state simulator cannot show: an unknown where the device promises a value.
    void check_unknowns() {
        for (auto& p : outputs) {
            if (!p.any_x) continue;
            bool bad = p.control;
            if (!p.control && (p.valid < 0 || outputs[p.valid].val[0])) {
                bad = !p.strobed;
                if (p.strobed) {
                    const Port& strb = (&p)[1];
                    for (u32 b = 0; b < p.width / 8; b++)
                        bad |= (strb.val[b / 32] >> (b % 32) & 1) && (p.x[b / 4] >> (b % 4 * 8) & 0xff);
                }
            }
            if (bad) core->error("%s is unknown (X)", p.name.c_str());
        }
    }

    void sample() {
        for (auto& p : outputs) read_port(p);
        size_t i = 0;
#define X(port, field) unpack(in.field, outputs[i++]);
        SVM_DEVICE_OUTPUTS(X)
#undef X
        if (!out.rst && core->cfg.monitor) check_unknowns();
        wake = core->tick(in, out);
        sampled = true;
    }

    void drive() {
        if (!sampled) return;
        size_t i = 0;
#define X(port, field) pack(inputs[i++], out.field);
        SVM_DEVICE_INPUTS(X)
#undef X
        if (!wake) return;
        attention_value = !attention_value;
        s_vpi_value v{};
        v.format = vpiScalarVal;
        v.value.scalar = attention_value ? vpi1 : vpi0;
        vpi_put_value(attention, &v, nullptr, vpiNoDelay);
    }
};

PLI_INT32 sample_call(PLI_BYTE8*) {
    if (outputs.empty()) find_ports();
    if (attached) attached->sample();
    return 0;
}

PLI_INT32 drive_call(PLI_BYTE8*) {
    if (attached) attached->drive();
    return 0;
}

void register_tasks() {
    for (auto& t : {std::make_pair("$svm_sample", sample_call), std::make_pair("$svm_drive", drive_call)}) {
        s_vpi_systf_data d{};
        d.type = vpiSysTask;
        d.tfname = const_cast<char*>(t.first);
        d.calltf = t.second;
        vpi_register_systf(&d);
    }
}

}  // namespace

svm_sim* svm::glue_open(const svm_config& cfg) {
    if (attached) throw std::runtime_error("a simulation is open already");
    if (outputs.empty()) find_ports();
    attached = new IcarusSim(cfg);
    return attached;
}

void svm::glue_close(svm_sim* s) {
    if (s == attached) attached = nullptr;
    delete s;
}

extern "C" {
void (*vlog_startup_routines[])() = {register_tasks, nullptr};
}
