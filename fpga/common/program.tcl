# Load a bitstream into the FPGA; it is gone after a power cycle.
#   vivado -mode batch -source program.tcl -tclargs <bitstream>
lassign $argv bitstream
source [file join [file dirname [info script]] device.tcl]
set_property PROGRAM.FILE $bitstream $device
program_hw_devices $device
