# RK-XCKU5P-F: PCIe edge connector, 4 lanes, reference clock, PERST#.
# Pins: fpganinja/taxi 2f2fe728, src/cndm/board/RK_XCKU5P_F/fpga/syn/pcie.xdc; not checked on a card here.

# lane 0: quad 224, GTYE4_CHANNEL_X0Y3
set_property PACKAGE_PIN AB2 [get_ports {pcie_rx_p[0]}]
set_property PACKAGE_PIN AB1 [get_ports {pcie_rx_n[0]}]
set_property PACKAGE_PIN AC5 [get_ports {pcie_tx_p[0]}]
set_property PACKAGE_PIN AC4 [get_ports {pcie_tx_n[0]}]
# lane 1: quad 224, GTYE4_CHANNEL_X0Y2
set_property PACKAGE_PIN AD2 [get_ports {pcie_rx_p[1]}]
set_property PACKAGE_PIN AD1 [get_ports {pcie_rx_n[1]}]
set_property PACKAGE_PIN AD7 [get_ports {pcie_tx_p[1]}]
set_property PACKAGE_PIN AD6 [get_ports {pcie_tx_n[1]}]
# lane 2: quad 224, GTYE4_CHANNEL_X0Y1
set_property PACKAGE_PIN AE4 [get_ports {pcie_rx_p[2]}]
set_property PACKAGE_PIN AE3 [get_ports {pcie_rx_n[2]}]
set_property PACKAGE_PIN AE9 [get_ports {pcie_tx_p[2]}]
set_property PACKAGE_PIN AE8 [get_ports {pcie_tx_n[2]}]
# lane 3: quad 224, GTYE4_CHANNEL_X0Y0
set_property PACKAGE_PIN AF2 [get_ports {pcie_rx_p[3]}]
set_property PACKAGE_PIN AF1 [get_ports {pcie_rx_n[3]}]
set_property PACKAGE_PIN AF7 [get_ports {pcie_tx_p[3]}]
set_property PACKAGE_PIN AF6 [get_ports {pcie_tx_n[3]}]

# 100 MHz from the connector, MGTREFCLK1P_224
set_property PACKAGE_PIN AB7 [get_ports pcie_refclk_p]
set_property PACKAGE_PIN AB6 [get_ports pcie_refclk_n]
create_clock -period 10.000 -name pcie_refclk [get_ports pcie_refclk_p]

set_property -dict {PACKAGE_PIN T19 IOSTANDARD LVCMOS12 PULLUP true} [get_ports pcie_reset_n]
set_false_path -from [get_ports pcie_reset_n]
set_input_delay 0 [get_ports pcie_reset_n]
