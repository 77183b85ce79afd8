# The first FPGA on the cable. Sourced by program.tcl and flash.tcl.
open_hw_manager
connect_hw_server
open_hw_target
set device [lindex [get_hw_devices] 0]
current_hw_device $device
refresh_hw_device -update_hw_probes false $device
