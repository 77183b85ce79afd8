# Alibaba AS02MC04: PCIe edge connector, 8 lanes, reference clock, PERST#.
# Pins: fpganinja/taxi 2f2fe728, src/cndm/board/AS02MC04/fpga/syn/pcie.xdc; not checked on a card here.

# lane 0: quad 225, GTYE4_CHANNEL_X0Y7
set_property PACKAGE_PIN P2 [get_ports {pcie_rx_p[0]}]
set_property PACKAGE_PIN P1 [get_ports {pcie_rx_n[0]}]
set_property PACKAGE_PIN R5 [get_ports {pcie_tx_p[0]}]
set_property PACKAGE_PIN R4 [get_ports {pcie_tx_n[0]}]
# lane 1: quad 225, GTYE4_CHANNEL_X0Y6
set_property PACKAGE_PIN T2 [get_ports {pcie_rx_p[1]}]
set_property PACKAGE_PIN T1 [get_ports {pcie_rx_n[1]}]
set_property PACKAGE_PIN U5 [get_ports {pcie_tx_p[1]}]
set_property PACKAGE_PIN U4 [get_ports {pcie_tx_n[1]}]
# lane 2: quad 225, GTYE4_CHANNEL_X0Y5
set_property PACKAGE_PIN V2 [get_ports {pcie_rx_p[2]}]
set_property PACKAGE_PIN V1 [get_ports {pcie_rx_n[2]}]
set_property PACKAGE_PIN W5 [get_ports {pcie_tx_p[2]}]
set_property PACKAGE_PIN W4 [get_ports {pcie_tx_n[2]}]
# lane 3: quad 225, GTYE4_CHANNEL_X0Y4
set_property PACKAGE_PIN Y2 [get_ports {pcie_rx_p[3]}]
set_property PACKAGE_PIN Y1 [get_ports {pcie_rx_n[3]}]
set_property PACKAGE_PIN AA5 [get_ports {pcie_tx_p[3]}]
set_property PACKAGE_PIN AA4 [get_ports {pcie_tx_n[3]}]
# lane 4: quad 224, GTYE4_CHANNEL_X0Y3
set_property PACKAGE_PIN AB2 [get_ports {pcie_rx_p[4]}]
set_property PACKAGE_PIN AB1 [get_ports {pcie_rx_n[4]}]
set_property PACKAGE_PIN AC5 [get_ports {pcie_tx_p[4]}]
set_property PACKAGE_PIN AC4 [get_ports {pcie_tx_n[4]}]
# lane 5: quad 224, GTYE4_CHANNEL_X0Y2
set_property PACKAGE_PIN AD2 [get_ports {pcie_rx_p[5]}]
set_property PACKAGE_PIN AD1 [get_ports {pcie_rx_n[5]}]
set_property PACKAGE_PIN AD7 [get_ports {pcie_tx_p[5]}]
set_property PACKAGE_PIN AD6 [get_ports {pcie_tx_n[5]}]
# lane 6: quad 224, GTYE4_CHANNEL_X0Y1
set_property PACKAGE_PIN AE4 [get_ports {pcie_rx_p[6]}]
set_property PACKAGE_PIN AE3 [get_ports {pcie_rx_n[6]}]
set_property PACKAGE_PIN AE9 [get_ports {pcie_tx_p[6]}]
set_property PACKAGE_PIN AE8 [get_ports {pcie_tx_n[6]}]
# lane 7: quad 224, GTYE4_CHANNEL_X0Y0
set_property PACKAGE_PIN AF2 [get_ports {pcie_rx_p[7]}]
set_property PACKAGE_PIN AF1 [get_ports {pcie_rx_n[7]}]
set_property PACKAGE_PIN AF7 [get_ports {pcie_tx_p[7]}]
set_property PACKAGE_PIN AF6 [get_ports {pcie_tx_n[7]}]

# 100 MHz from the connector, MGTREFCLK1P_225
set_property PACKAGE_PIN T7 [get_ports pcie_refclk_p]
set_property PACKAGE_PIN T6 [get_ports pcie_refclk_n]
create_clock -period 10.000 -name pcie_refclk [get_ports pcie_refclk_p]

set_property -dict {PACKAGE_PIN A9 IOSTANDARD LVCMOS33 PULLUP true} [get_ports pcie_reset_n]
set_false_path -from [get_ports pcie_reset_n]
set_input_delay 0 [get_ports pcie_reset_n]
