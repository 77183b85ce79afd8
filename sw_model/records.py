"""Layout of 32-byte ring records: pack and unpack, one or many at a time, with numpy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WORDS = 4  # 64-bit words in a record


class Field(NamedTuple):
    """One field: word 0..3, lowest bit, width in bits."""

    name: str
    word: int
    lsb: int
    width: int


class Record:
    """A record layout. Records are rows of a (n, 4) array of little-endian uint64."""

    def __init__(self, name: str, *fields: Field) -> None:
        self.name = name
        self.fields = {f.name: f for f in fields}

    def pack(self, **values: int | NDArray) -> NDArray[np.uint64]:
        """Rows (n, 4) of uint64 from scalars and arrays of length n (lower-case field names).

        Raises KeyError for an unknown field and OverflowError for a value that does not fit.
        """
        n = next((len(v) for v in values.values() if isinstance(v, np.ndarray)), 1)
        rows = np.zeros((n, WORDS), dtype="<u8")
        for key, value in values.items():
            f = self.fields[key.upper()]
            v = np.asarray(value, dtype=np.uint64)
            if f.width < 64 and (v >> np.uint64(f.width)).any():
                raise OverflowError(f"{self.name}.{f.name}: value does not fit {f.width} bits")
            rows[:, f.word] |= v << np.uint64(f.lsb)
        return rows

    def get(self, rows: NDArray, name: str) -> NDArray[np.uint64]:
        """The field of each row of (n, 4) uint64, as (n,) uint64."""
        f = self.fields[name.upper()]
        mask = np.uint64((1 << f.width) - 1)
        return (rows[..., f.word] >> np.uint64(f.lsb)) & mask

    def unpack(self, row: NDArray) -> dict[str, int]:
        """All fields of one row of 4 uint64, by lower-case name."""
        words = [int(w) for w in row]
        return {f.name.lower(): (words[f.word] >> f.lsb) & ((1 << f.width) - 1) for f in self.fields.values()}
