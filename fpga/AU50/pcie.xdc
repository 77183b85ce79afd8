# Alveo U50: PCIe edge connector, 16 lanes, reference clock, PERST#.
# Pins: fpganinja/taxi 2f2fe728, src/cndm/board/Alveo/fpga/syn/AU50/pcie.xdc; lanes and PERST# are the same in
# alexforencich/verilog-pcie, example/Alveo. Not checked on a card here.

# lane 0: quad 227, GTYE4_CHANNEL_X1Y15
set_property PACKAGE_PIN AL2 [get_ports {pcie_rx_p[0]}]
set_property PACKAGE_PIN AL1 [get_ports {pcie_rx_n[0]}]
set_property PACKAGE_PIN Y5 [get_ports {pcie_tx_p[0]}]
set_property PACKAGE_PIN Y4 [get_ports {pcie_tx_n[0]}]
# lane 1: quad 227, GTYE4_CHANNEL_X1Y14
set_property PACKAGE_PIN AM4 [get_ports {pcie_rx_p[1]}]
set_property PACKAGE_PIN AM3 [get_ports {pcie_rx_n[1]}]
set_property PACKAGE_PIN AA7 [get_ports {pcie_tx_p[1]}]
set_property PACKAGE_PIN AA6 [get_ports {pcie_tx_n[1]}]
# lane 2: quad 227, GTYE4_CHANNEL_X1Y13
set_property PACKAGE_PIN AK4 [get_ports {pcie_rx_p[2]}]
set_property PACKAGE_PIN AK3 [get_ports {pcie_rx_n[2]}]
set_property PACKAGE_PIN AB5 [get_ports {pcie_tx_p[2]}]
set_property PACKAGE_PIN AB4 [get_ports {pcie_tx_n[2]}]
# lane 3: quad 227, GTYE4_CHANNEL_X1Y12
set_property PACKAGE_PIN AN2 [get_ports {pcie_rx_p[3]}]
set_property PACKAGE_PIN AN1 [get_ports {pcie_rx_n[3]}]
set_property PACKAGE_PIN AC7 [get_ports {pcie_tx_p[3]}]
set_property PACKAGE_PIN AC6 [get_ports {pcie_tx_n[3]}]
# lane 4: quad 226, GTYE4_CHANNEL_X1Y11
set_property PACKAGE_PIN AP4 [get_ports {pcie_rx_p[4]}]
set_property PACKAGE_PIN AP3 [get_ports {pcie_rx_n[4]}]
set_property PACKAGE_PIN AD5 [get_ports {pcie_tx_p[4]}]
set_property PACKAGE_PIN AD4 [get_ports {pcie_tx_n[4]}]
# lane 5: quad 226, GTYE4_CHANNEL_X1Y10
set_property PACKAGE_PIN AR2 [get_ports {pcie_rx_p[5]}]
set_property PACKAGE_PIN AR1 [get_ports {pcie_rx_n[5]}]
set_property PACKAGE_PIN AF5 [get_ports {pcie_tx_p[5]}]
set_property PACKAGE_PIN AF4 [get_ports {pcie_tx_n[5]}]
# lane 6: quad 226, GTYE4_CHANNEL_X1Y9
set_property PACKAGE_PIN AT4 [get_ports {pcie_rx_p[6]}]
set_property PACKAGE_PIN AT3 [get_ports {pcie_rx_n[6]}]
set_property PACKAGE_PIN AE7 [get_ports {pcie_tx_p[6]}]
set_property PACKAGE_PIN AE6 [get_ports {pcie_tx_n[6]}]
# lane 7: quad 226, GTYE4_CHANNEL_X1Y8
set_property PACKAGE_PIN AU2 [get_ports {pcie_rx_p[7]}]
set_property PACKAGE_PIN AU1 [get_ports {pcie_rx_n[7]}]
set_property PACKAGE_PIN AH5 [get_ports {pcie_tx_p[7]}]
set_property PACKAGE_PIN AH4 [get_ports {pcie_tx_n[7]}]
# lane 8: quad 225, GTYE4_CHANNEL_X1Y7
set_property PACKAGE_PIN AV4 [get_ports {pcie_rx_p[8]}]
set_property PACKAGE_PIN AV3 [get_ports {pcie_rx_n[8]}]
set_property PACKAGE_PIN AG7 [get_ports {pcie_tx_p[8]}]
set_property PACKAGE_PIN AG6 [get_ports {pcie_tx_n[8]}]
# lane 9: quad 225, GTYE4_CHANNEL_X1Y6
set_property PACKAGE_PIN AW2 [get_ports {pcie_rx_p[9]}]
set_property PACKAGE_PIN AW1 [get_ports {pcie_rx_n[9]}]
set_property PACKAGE_PIN AJ7 [get_ports {pcie_tx_p[9]}]
set_property PACKAGE_PIN AJ6 [get_ports {pcie_tx_n[9]}]
# lane 10: quad 225, GTYE4_CHANNEL_X1Y5
set_property PACKAGE_PIN BA2 [get_ports {pcie_rx_p[10]}]
set_property PACKAGE_PIN BA1 [get_ports {pcie_rx_n[10]}]
set_property PACKAGE_PIN AL7 [get_ports {pcie_tx_p[10]}]
set_property PACKAGE_PIN AL6 [get_ports {pcie_tx_n[10]}]
# lane 11: quad 225, GTYE4_CHANNEL_X1Y4
set_property PACKAGE_PIN BC2 [get_ports {pcie_rx_p[11]}]
set_property PACKAGE_PIN BC1 [get_ports {pcie_rx_n[11]}]
set_property PACKAGE_PIN AM9 [get_ports {pcie_tx_p[11]}]
set_property PACKAGE_PIN AM8 [get_ports {pcie_tx_n[11]}]
# lane 12: quad 224, GTYE4_CHANNEL_X1Y3
set_property PACKAGE_PIN AY4 [get_ports {pcie_rx_p[12]}]
set_property PACKAGE_PIN AY3 [get_ports {pcie_rx_n[12]}]
set_property PACKAGE_PIN AN7 [get_ports {pcie_tx_p[12]}]
set_property PACKAGE_PIN AN6 [get_ports {pcie_tx_n[12]}]
# lane 13: quad 224, GTYE4_CHANNEL_X1Y2
set_property PACKAGE_PIN BB4 [get_ports {pcie_rx_p[13]}]
set_property PACKAGE_PIN BB3 [get_ports {pcie_rx_n[13]}]
set_property PACKAGE_PIN AP9 [get_ports {pcie_tx_p[13]}]
set_property PACKAGE_PIN AP8 [get_ports {pcie_tx_n[13]}]
# lane 14: quad 224, GTYE4_CHANNEL_X1Y1
set_property PACKAGE_PIN BD4 [get_ports {pcie_rx_p[14]}]
set_property PACKAGE_PIN BD3 [get_ports {pcie_rx_n[14]}]
set_property PACKAGE_PIN AR7 [get_ports {pcie_tx_p[14]}]
set_property PACKAGE_PIN AR6 [get_ports {pcie_tx_n[14]}]
# lane 15: quad 224, GTYE4_CHANNEL_X1Y0
set_property PACKAGE_PIN BE6 [get_ports {pcie_rx_p[15]}]
set_property PACKAGE_PIN BE5 [get_ports {pcie_rx_n[15]}]
set_property PACKAGE_PIN AT9 [get_ports {pcie_tx_p[15]}]
set_property PACKAGE_PIN AT8 [get_ports {pcie_tx_n[15]}]

# 100 MHz from the connector, MGTREFCLK0P_225
set_property PACKAGE_PIN AF9 [get_ports pcie_refclk_p]
set_property PACKAGE_PIN AF8 [get_ports pcie_refclk_n]
create_clock -period 10.000 -name pcie_refclk [get_ports pcie_refclk_p]

set_property -dict {PACKAGE_PIN AW27 IOSTANDARD LVCMOS18 PULLUP true} [get_ports pcie_reset_n]
set_false_path -from [get_ports pcie_reset_n]
set_input_delay 0 [get_ports pcie_reset_n]
