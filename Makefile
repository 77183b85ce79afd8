# `make help` lists the targets. Everything runs from .venv, which is made from requirements.txt.
SHELL   := /bin/bash
PYTHON  ?= python3
VENV    := .venv
PY      := $(VENV)/bin/python

# make sim
TRACE    ?= traces/sort.svmt
SEED     ?= 1
SIM      ?= verilator
WAVES    ?= 0
PRESSURE ?= 1
LINK     ?= axi
# over PCIe every TLP is Python's: a whole trace takes many minutes
LIMIT    ?= $(if $(filter pcie,$(LINK)),2000,0)
MIRROR   ?= interval
PROCS    ?= 1
# make test
JOBS     ?= 2
TESTS    ?= tests

export SIM SEED

.PHONY: help sim test bench lint generate record explore replay synth pnr gate board mutants soak clean tools
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18
	@echo 'Settings: TRACE=file SEED=n SIM=verilator|icarus WAVES=1 PRESSURE=0..4 LIMIT=accesses MIRROR=interval|mirror|v1|v3 PROCS=n LINK=axi|pcie (sim; LINK also bench); LINE='...' (replay); JOBS=n TESTS=path (test)'

tools:
	@command -v $(PYTHON) >/dev/null || { echo 'missing system tools; install them with: apt-get install python3 python3-venv' >&2; exit 1; }
	@$(PYTHON) tb/check_system.py

$(VENV)/.stamp: requirements.txt | tools
	@echo 'setting up $(VENV) from requirements.txt (once)'
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install -qq --disable-pip-version-check -r requirements.txt
	@touch $@

sim: $(VENV)/.stamp ## run a recorded program through the device MMU, with summary and build/sim/report.json
	@$(PY) -m tb.run_sim --trace '$(TRACE)' --seed $(SEED) --sim $(SIM) --waves $(WAVES) --pressure $(PRESSURE) --limit $(LIMIT) \
	   --mirror $(MIRROR) --processes $(PROCS) --link $(LINK)

test: $(VENV)/.stamp ## run the whole regression
	@$(PY) -m pytest -q -n $(JOBS) --dist worksteal $(TESTS)

bench: $(VENV)/.stamp ## measure latency, throughput and simulation speed beside the peers' figures
	@$(PY) -m tb.bench --link $(LINK)

lint: $(VENV)/.stamp ## verilator -Wall, verible, yosys and ruff
	@$(PY) -m tb.lint

generate: $(VENV)/.stamp ## write the register and record views from interface/device.toml
	@$(PY) interface/generate.py

record: $(VENV)/.stamp ## record a program: make record CMD="sort -n file" [OUT=trace.svmt]
	@$(PY) -m tb.record -o '$(or $(OUT),build/record.svmt)' -- $(CMD)

explore: $(VENV)/.stamp ## search the schedules: every configuration clean, every known bug found; writes docs/catalogue.md
	@$(PY) -m sw_model.explore all --out build/explore/host.json
	@$(PY) -m tb.explore run --out build/explore/rtl.json
	@$(PY) -m tb.catalogue

replay: $(VENV)/.stamp ## show one explored schedule as a timeline: make replay LINE='...'
	@$(PY) -m $(if $(findstring rtl:,$(LINE)),tb,sw_model).explore replay '$(LINE)'

synth: $(VENV)/.stamp ## area for UltraScale+, module by module, against fpga/budget.toml
	@$(PY) -m tb.synth

pnr: $(VENV)/.stamp ## place and route the MMU core on ECP5, three seeds: Fmax
	@$(PY) -m tb.pnr

gate: $(VENV)/.stamp ## run the core's tests on its netlist
	@$(PY) -m tb.gate_level

board: $(VENV)/.stamp ## run the scenarios on a card: make board BDF=0000:03:00.0
	@$(PY) -m sw_model.board --bdf '$(or $(BDF),$(error name the card: make board BDF=0000:03:00.0))'

mutants: $(VENV)/.stamp ## plant every known bug and see that a test or the oracle finds it
	@$(PY) -m pytest -q -n $(JOBS) --mutants $(TESTS)

soak: $(VENV)/.stamp ## random seeds until interrupted; each seed is printed
	@$(PY) -m tb.soak

clean: ## remove what was built (not .venv)
	@rm -rf build .pytest_cache .ruff_cache
