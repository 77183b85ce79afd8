# Alibaba AS02MC04: LEDs DS6 to DS9
# Pins: fpganinja/taxi 2f2fe728, src/cndm/board/AS02MC04/fpga/syn/gpio.xdc; not checked on a card here.

# DS6
set_property -dict {PACKAGE_PIN B11 IOSTANDARD LVCMOS33 SLEW SLOW DRIVE 12} [get_ports {led[0]}]
# DS7
set_property -dict {PACKAGE_PIN C11 IOSTANDARD LVCMOS33 SLEW SLOW DRIVE 12} [get_ports {led[1]}]
# DS8
set_property -dict {PACKAGE_PIN A10 IOSTANDARD LVCMOS33 SLEW SLOW DRIVE 12} [get_ports {led[2]}]
# DS9
set_property -dict {PACKAGE_PIN B10 IOSTANDARD LVCMOS33 SLEW SLOW DRIVE 12} [get_ports {led[3]}]

set_false_path -to [get_ports {led[*]}]
set_output_delay 0 [get_ports {led[*]}]
