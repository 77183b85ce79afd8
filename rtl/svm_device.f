// The whole device. Paths are relative to this file's directory: verilator -F.
-F dmmu.f
regs/engine_regs.v
engine/engine_dispatch.v
engine/engine_burst.v
engine/engine_copy.v
engine/engine_wdata.v
engine/engine_rbeat.v
engine/engine_bresp.v
engine/engine_done.v
engine/access_engine.v
regs/axil_split.v
top/svm_device.v
