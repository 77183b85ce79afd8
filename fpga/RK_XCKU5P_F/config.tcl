# RK-XCKU5P-F: part, link, identity, sizes of the device, flash. Read by fpga/common/build.tcl and by the tests.
# Part, subsystem IDs and flash: fpganinja/taxi 2f2fe728, src/cndm/board/RK_XCKU5P_F/fpga/fpga (Makefile,
# config.tcl); not checked on a card here.

set part xcku5p-ffvb676-2-e

# Link: 8 GT/s a lane. User side: bits and MHz that carry it (PG213).
set lanes 4
set data_w 128
set user_mhz 250

# Identity: vendor, device and class are in fpga/common/config.tcl.
set subsystem_vendor_id 1234
set subsystem_id 9005

# Parameters of the top module.
set parameters {
    SETS 256
    WAYS 4
    PARK 64
    MSHRS 32
    TRACK 64
    PASIDS 16
}

# Constraints, one file a peripheral.
set constraints {pcie.xdc leds.xdc config.xdc}

# Flash for `make flash`: memory part, its size in MiB, where the bitstream goes.
set flash_part mt25qu256-spi-x1_x2_x4
set flash_mib 32
set flash_offset 0x00000000
