# Alibaba AS02MC04: the PCIe hard block. `lanes`, `data_w` and the IDs come from config.tcl; the rest is common.
# IP core and quad: fpganinja/taxi 2f2fe728, src/cndm/board/AS02MC04/fpga/ip; not run here.

set ip_core pcie4_uscale_plus
# Quad of lane 0.
set ip_quad GTY_Quad_225

source [file join [file dirname [info script]] .. .. common pcie_ip.tcl]
