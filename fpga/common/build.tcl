# From sources to bitstream, without a project on disk:
#   vivado -mode batch -source build.tcl -tclargs <board directory> <output directory>
# Leaves fpga.bit, timing.rpt, utilization.rpt and the checkpoints there. Fails when timing is not met.

lassign $argv board_dir out_dir
set board_dir [file normalize $board_dir]
set out_dir [file normalize $out_dir]
set common_dir [file dirname [file normalize [info script]]]
set root_dir [file normalize [file join $common_dir .. ..]]
file mkdir $out_dir

source [file join $common_dir filelist.tcl]
source [file join $common_dir config.tcl]
source [file join $board_dir config.tcl]

create_project -in_memory -part $part
lassign [read_filelist [file join $root_dir rtl fpga_core.f]] sources includes
read_verilog [concat $sources [file join $common_dir rtl fpga_pcie.v] [file join $board_dir fpga.v]]
foreach name $constraints {
    read_xdc [file join $board_dir $name]
}
source [file join $board_dir ip pcie4_uscale_plus_0.tcl]

set generics [list -generic DATA_W=$data_w]
dict for {name value} $parameters {
    lappend generics -generic $name=$value
}
synth_design -top fpga -part $part -include_dirs $includes {*}$generics
write_checkpoint -force [file join $out_dir synth.dcp]
opt_design
place_design
phys_opt_design
route_design
phys_opt_design
write_checkpoint -force [file join $out_dir route.dcp]
report_timing_summary -file [file join $out_dir timing.rpt]
report_utilization -hierarchical -file [file join $out_dir utilization.rpt]
report_drc -file [file join $out_dir drc.rpt]

foreach kind {max min} {
    set slack [get_property SLACK [get_timing_paths -delay_type $kind]]
    puts "worst slack ($kind): $slack ns"
    if {$slack < 0} {
        error "timing is not met: see [file join $out_dir timing.rpt]"
    }
}
write_bitstream -force [file join $out_dir fpga.bit]
