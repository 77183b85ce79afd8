# The hard block's IP. Wants ip_core and ip_quad from the board's ip/pcie4_uscale_plus_0.tcl, out_dir from build.tcl,
# and the variables of config.tcl. What is not set here keeps the IP's default: dword alignment on every stream.
# Property names: fpganinja/taxi and corundum/corundum use them for this IP; PG213 describes them.

set ip_name pcie4_uscale_plus_0
create_ip -name $ip_core -vendor xilinx.com -library ip -module_name $ip_name -dir $out_dir -force
set ip [get_ips $ip_name]

set ip_config [dict create \
    CONFIG.mode_selection {Advanced} \
    CONFIG.PL_LINK_CAP_MAX_LINK_SPEED {8.0_GT/s} \
    CONFIG.PL_LINK_CAP_MAX_LINK_WIDTH X$lanes \
    CONFIG.axisten_if_width ${data_w}_bit \
    CONFIG.axisten_freq $user_mhz \
    CONFIG.axisten_if_enable_client_tag {true} \
    CONFIG.extended_tag_field {true} \
    CONFIG.pf0_dev_cap_max_payload {1024_bytes} \
    CONFIG.vendor_id $vendor_id \
    CONFIG.PF0_DEVICE_ID $device_id \
    CONFIG.PF0_REVISION_ID $revision_id \
    CONFIG.PF0_SUBSYSTEM_VENDOR_ID $subsystem_vendor_id \
    CONFIG.PF0_SUBSYSTEM_ID $subsystem_id \
    CONFIG.PF0_Use_Class_Code_Lookup_Assistant {false} \
    CONFIG.PF0_CLASS_CODE $class_code \
    CONFIG.pf0_bar0_64bit {false} \
    CONFIG.pf0_bar0_prefetchable {false} \
    CONFIG.pf0_bar0_scale {Kilobytes} \
    CONFIG.pf0_bar0_size $bar0_kib \
    CONFIG.pf0_msi_enabled {false} \
    CONFIG.pf0_msix_enabled {true} \
    CONFIG.MSI_X_OPTIONS {MSI-X_External} \
    CONFIG.PF0_MSIX_CAP_TABLE_SIZE [format %03x [expr {$msix_vectors - 1}]] \
    CONFIG.PF0_MSIX_CAP_TABLE_BIR {BAR_0} \
    CONFIG.PF0_MSIX_CAP_TABLE_OFFSET [format %08x $msix_table_offset] \
    CONFIG.PF0_MSIX_CAP_PBA_BIR {BAR_0} \
    CONFIG.PF0_MSIX_CAP_PBA_OFFSET [format %08x $msix_pba_offset]]

# No packet shares a beat with another.
if {$data_w == 512} {
    dict set ip_config CONFIG.AXISTEN_IF_EXT_512_CQ_STRADDLE {false}
    dict set ip_config CONFIG.AXISTEN_IF_EXT_512_RQ_STRADDLE {false}
    dict set ip_config CONFIG.AXISTEN_IF_EXT_512_RC_4TLP_STRADDLE {false}
} elseif {$data_w == 256} {
    dict set ip_config CONFIG.AXISTEN_IF_RC_STRADDLE {false}
}
if {$ip_quad ne ""} {
    dict set ip_config CONFIG.en_gt_selection {true}
    dict set ip_config CONFIG.select_quad $ip_quad
}
set_property -dict $ip_config $ip

# Other editions of the IP call it otherwise; lspci -vv shows FLReset+ when it is on.
set flr CONFIG.PF0_DEV_CAP_FUNCTION_LEVEL_RESET_CAPABLE
if {[lsearch -exact [list_property $ip] $flr] >= 0} {
    set_property $flr {true} $ip
} else {
    puts "note: this IP has no $flr; look for FLReset+ in lspci -vv"
}

# Vivado may move table and PBA when a BAR changes: what it made of them has to be what was asked for.
foreach name [dict keys $ip_config CONFIG.*MSIX_CAP_*] {
    set asked [string trimleft [dict get $ip_config $name] 0]
    set got [string trimleft [get_property $name $ip] 0]
    if {![string equal -nocase $asked $got]} {
        error "$ip_name: $name is $got, not $asked"
    }
}
generate_target all $ip
synth_ip $ip
