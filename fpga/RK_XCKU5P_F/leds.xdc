# RK-XCKU5P-F: LED2 to LED5
# Pins: fpganinja/taxi 2f2fe728, src/cndm/board/RK_XCKU5P_F/fpga/syn/gpio.xdc; not checked on a card here.

# LED2
set_property -dict {PACKAGE_PIN H9 IOSTANDARD LVCMOS33 SLEW SLOW DRIVE 12} [get_ports {led[0]}]
# LED3
set_property -dict {PACKAGE_PIN J9 IOSTANDARD LVCMOS33 SLEW SLOW DRIVE 12} [get_ports {led[1]}]
# LED4
set_property -dict {PACKAGE_PIN G11 IOSTANDARD LVCMOS33 SLEW SLOW DRIVE 12} [get_ports {led[2]}]
# LED5
set_property -dict {PACKAGE_PIN H11 IOSTANDARD LVCMOS33 SLEW SLOW DRIVE 12} [get_ports {led[3]}]

set_false_path -to [get_ports {led[*]}]
set_output_delay 0 [get_ports {led[*]}]
