// The device behind a PCIe endpoint. Paths are relative to this file's directory: verilator -F.
-F svm_device.f
-F pcie.f
pcie/pcie_dma_cas.v
pcie/pcie_ext_tag.v
pcie/pcie_flr.v
pcie/pcie_link.v
pcie/pcie_ring_port.v
top/fpga_core.v
