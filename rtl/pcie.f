// The parts of the PCIe endpoint. Paths are relative to this file's directory: verilator -F.
+incdir+include
lib/arb_rr.v
lib/fifo.v
lib/ram_1r1w.v
lib/skid.v
pcie/pcie_bar.v
pcie/pcie_dma_wr.v
pcie/pcie_dma_rd.v
pcie/pcie_msix.v
pcie/pcie_rq_mux.v
