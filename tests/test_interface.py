"""The generated views of interface/device.toml are up to date and agree with one another."""

import importlib.util
import re

import numpy as np
import pytest

from sw_model import device_interface as di
from tb.tools import ROOT

_spec = importlib.util.spec_from_file_location("generate", ROOT / "interface" / "generate.py")
assert _spec and _spec.loader
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)


def test_generated_files_are_up_to_date():
    assert generate.stale() == [], "run 'make generate'"


def test_a_changed_source_is_noticed(tmp_path, monkeypatch):
    changed = tmp_path / "device.toml"
    changed.write_text(generate.SOURCE.read_text().replace("offset = 0x010", "offset = 0x030", 1))
    monkeypatch.setattr(generate, "SOURCE", changed)
    monkeypatch.setattr(generate.load, "__defaults__", (changed,))
    assert set(generate.stale()) == set(generate.OUTPUTS)


def test_record_fields_do_not_overlap():
    shared = {("cmd", "NPAGES"): {"SEQ", "FAULT"}}  # INVALIDATE and RESPOND use the same bits
    for rec in (di.CMD, di.FAULT, di.EVENT, di.WORK, di.DONE):
        seen: dict[tuple[int, int], str] = {}
        for f in rec.fields.values():
            for bit in range(f.lsb, f.lsb + f.width):
                other = seen.setdefault((f.word, bit), f.name)
                if other != f.name:
                    assert f.name in shared.get((rec.name, other), ()), f"{rec.name}: {other} and {f.name}"


def test_c_header_and_python_agree():
    header = (ROOT / "interface" / "svm_device.h").read_text()
    defines = dict(re.findall(r"#define SVM_(\w+) (0x[0-9a-f]+|\d+)u", header))
    for reg in di.Reg:
        assert int(defines[f"REG_{reg.name}"], 0) == reg.value


def test_records_pack_and_unpack():
    rows = di.CMD.pack(op=di.Op.FILL, pasid=np.array([1, 0xFFFFF]), va=0xFFFF_FFFF_F000, npages=512)
    assert rows.shape == (2, 4)
    assert di.CMD.unpack(rows[1])["pasid"] == 0xFFFFF
    assert di.CMD.get(rows, "va").tolist() == [0xFFFF_FFFF_F000] * 2
    assert di.CMD.unpack(rows[0])["npages"] == 512
    assert di.CMD.pack(op=1, va=np.zeros(0, np.uint64)).shape == (0, 4)


def test_a_value_that_does_not_fit_is_refused():
    with pytest.raises(OverflowError, match=r"cmd\.PASID"):
        di.CMD.pack(pasid=1 << 20)
