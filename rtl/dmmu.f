// The MMU with its rings and registers. Paths are relative to this file's directory: verilator -F.
-F dmmu_core.f
ring/ring_fetch.v
ring/ring_post.v
ring/axi_ring_mux.v
regs/axil_regs.v
regs/ring_regs.v
regs/mmu_regs.v
mmu/dmmu.v
