# Alveo U50: the PCIe hard block. `lanes`, `data_w` and the IDs come from config.tcl; the rest is common.
# IP core and quad: fpganinja/taxi 2f2fe728, src/cndm/board/Alveo/fpga/ip; not run here.

set ip_core pcie4c_uscale_plus
# Quad of lane 0; empty: the IP's default for this package.
set ip_quad {}

source [file join [file dirname [info script]] .. .. common pcie_ip.tcl]
