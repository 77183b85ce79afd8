# Targets of every board. The board's Makefile sets BOARD, its directory's name, and includes this file.
#   make [bitstream]  synthesize, place, route, write build/fpga/$(BOARD)/fpga.bit
#   make program      load it through JTAG, until the next power cycle
#   make flash        write it to the configuration flash
#   make clean        remove what was built
VIVADO ?= vivado

COMMON := $(dir $(lastword $(MAKEFILE_LIST)))
ROOT   := $(abspath $(COMMON)../..)
COMMON := $(ROOT)/fpga/common
SOURCE := $(ROOT)/fpga/$(BOARD)
OUT    := $(ROOT)/build/fpga/$(BOARD)
BATCH  := $(VIVADO) -mode batch -nojournal -log $(OUT)/vivado.log -source

.PHONY: bitstream program flash clean vivado
.DEFAULT_GOAL := bitstream

bitstream: $(OUT)/fpga.bit

vivado:
	@command -v $(VIVADO) >/dev/null || \
	  { echo '$(VIVADO) is not on PATH: source settings64.sh of Vivado, or set VIVADO=' >&2; exit 1; }
	@mkdir -p $(OUT)

$(OUT)/fpga.bit: $(shell find $(ROOT)/rtl $(COMMON) $(SOURCE) -type f) | vivado
	$(BATCH) $(COMMON)/build.tcl -tclargs $(SOURCE) $(OUT)

program: bitstream
	$(BATCH) $(COMMON)/program.tcl -tclargs $(OUT)/fpga.bit

flash: bitstream
	$(BATCH) $(COMMON)/flash.tcl -tclargs $(SOURCE) $(OUT)/fpga.bit

clean:
	rm -rf $(OUT)
