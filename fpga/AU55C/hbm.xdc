# Alveo U55C: catastrophic temperature of the HBM, to the satellite controller; high switches the card off
# Pins: fpganinja/taxi 2f2fe728, src/cndm/board/Alveo/fpga/syn/AU55/gpio.xdc; not checked on a card here.

set_property -dict {PACKAGE_PIN BE45 IOSTANDARD LVCMOS18} [get_ports {hbm_cattrip}]

set_false_path -to [get_ports {hbm_cattrip}]
set_output_delay 0 [get_ports {hbm_cattrip}]
