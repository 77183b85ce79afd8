# Write a bitstream to the board's configuration flash, verify it, and start the FPGA from it.
#   vivado -mode batch -source flash.tcl -tclargs <board directory> <bitstream>
lassign $argv board_dir bitstream
source [file join $board_dir config.tcl]
set image [file rootname $bitstream]
write_cfgmem -force -format mcs -size $flash_mib -interface SPIx4 -loadbit [list up $flash_offset $bitstream] \
    -checksum -file $image.mcs

source [file join [file dirname [info script]] device.tcl]
create_hw_cfgmem -hw_device $device [lindex [get_cfgmem_parts $flash_part] 0]
set memory [get_property PROGRAM.HW_CFGMEM $device]
set_property -dict [list \
    PROGRAM.FILES [list $image.mcs] \
    PROGRAM.PRM_FILES [list $image.prm] \
    PROGRAM.ADDRESS_RANGE {use_file} \
    PROGRAM.UNUSED_PIN_TERMINATION {pull-none} \
    PROGRAM.BLANK_CHECK 0 \
    PROGRAM.ERASE 1 \
    PROGRAM.CFG_PROGRAM 1 \
    PROGRAM.VERIFY 1 \
    PROGRAM.CHECKSUM 0] $memory
# A helper design in the FPGA writes the flash.
create_hw_bitstream -hw_device $device [get_property PROGRAM.HW_CFGMEM_BITFILE $device]
program_hw_devices $device
refresh_hw_device $device
program_hw_cfgmem -hw_cfgmem $memory
boot_hw_device $device
