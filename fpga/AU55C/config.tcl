# Alveo U55C: part, link, identity, sizes of the device, flash. Read by fpga/common/build.tcl and by the tests.
# Part, subsystem IDs and flash: fpganinja/taxi 2f2fe728, src/cndm/board/Alveo/fpga/fpga_AU55C (Makefile,
# config.tcl); not checked on a card here.

set part xcu55c-fsvh2892-2L-e

# Link: 8 GT/s a lane. User side: bits and MHz that carry it (PG213).
set lanes 16
set data_w 512
set user_mhz 250

# Identity: vendor, device and class are in fpga/common/config.tcl.
set subsystem_vendor_id 10ee
set subsystem_id 9038

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
set constraints {pcie.xdc hbm.xdc leds.xdc config.xdc}

# Flash for `make flash`: memory part, its size in MiB, where the bitstream goes.
set flash_part mt25qu01g-spi-x1_x2_x4
set flash_mib 128
set flash_offset 0x01002000
