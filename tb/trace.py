"""The trace format: a recorded program's accesses and address-space calls (docs/traces.md).

`python -m tb.trace info FILE` prints a summary. A file that is broken, truncated or something else
raises TraceError, which names the file and the place.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
import zlib
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import zstandard
from numpy.typing import NDArray

MAGIC = b"\x89SVMT\r\n\x1a"
FORMAT_VERSION = 1
BLOCK = 32768  # accesses in a full block

# One access: address in bytes, size in bytes, Kind.
ACCESS = np.dtype([("addr", "<u8"), ("size", "<u2"), ("kind", "u1")])
# One call: number of accesses before it, Call, its arguments and its result.
CALL = np.dtype([("at", "<u8"), ("kind", "u1"), ("args", "<u8", (6,)), ("result", "<u8")])

_PRE = struct.Struct("<II")  # header length, CRC-32 of the header
_HEAD = struct.Struct("<4sIIII")  # type, items, packed bytes, unpacked bytes, CRC-32
_MAX_HEADER = 1 << 24
_MAX_ITEMS = 1 << 20
_MAX_SIZE = 4096


class Kind(IntEnum):
    """What an access does; MODIFY loads and then stores the same bytes."""

    LOAD = 0
    STORE = 1
    MODIFY = 2


class Call(IntEnum):
    """A recorded system call; arguments are Linux's, in Linux's order."""

    MMAP = 0
    MUNMAP = 1
    MPROTECT = 2
    BRK = 3
    MREMAP = 4
    MADVISE = 5


class TraceError(Exception):
    """A trace file that cannot be used: names the file and the place."""


class Region(NamedTuple):
    """A part of the address space that exists before the first call: bytes [start, end), PROT_* bits."""

    start: int
    end: int
    prot: int
    name: str  # "segment" or "stack"


def _planes(values: NDArray) -> bytes:
    """The bytes of little-endian integers, all lowest bytes first."""
    width = values.dtype.itemsize
    return np.ascontiguousarray(values.view(np.uint8).reshape(-1, width).T).tobytes()


def _unplanes(raw: bytes, count: int, dtype: str) -> NDArray:
    width = np.dtype(dtype).itemsize
    planes = np.frombuffer(raw, dtype=np.uint8).reshape(width, count)
    return np.ascontiguousarray(planes.T).view(dtype).reshape(count)


def encode_accesses(acc: NDArray) -> bytes:
    """The unpacked form of a block: zigzag address deltas in byte planes, then sizes, then kinds."""
    addr = acc["addr"].astype(np.uint64)
    delta = np.diff(addr, prepend=np.uint64(0)).view(np.int64)
    zigzag = ((delta << 1) ^ (delta >> 63)).view(np.uint64)
    return _planes(zigzag) + _planes(np.ascontiguousarray(acc["size"])) + acc["kind"].tobytes()


def decode_accesses(raw: bytes, count: int) -> NDArray:
    """Inverse of encode_accesses. Raises ValueError when the length is wrong."""
    if len(raw) != 11 * count:
        raise ValueError("length does not match the number of accesses")
    zigzag = _unplanes(raw[: 8 * count], count, "<u8")
    delta = (zigzag >> np.uint64(1)) ^ (~(zigzag & np.uint64(1)) + np.uint64(1))
    out = np.empty(count, dtype=ACCESS)
    out["addr"] = np.cumsum(delta, dtype=np.uint64)
    out["size"] = _unplanes(raw[8 * count : 10 * count], count, "<u2")
    out["kind"] = np.frombuffer(raw[10 * count :], dtype=np.uint8)
    return out


class Writer:
    """Writes a trace block by block; the file appears only when `close` has been called.

    Blocks go to `path`.part, because the header comes first and holds the final counts.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.part = self.path.with_name(self.path.name + ".part")
        self._out: BinaryIO = self.part.open("wb+")
        self._pending: list[NDArray] = []
        self._npending = 0
        self._calls: list[tuple[int, int, tuple[int, ...], int]] = []
        self._zstd = zstandard.ZstdCompressor(level=19)
        self.accesses = 0
        self.by_kind = [0, 0, 0]

    @property
    def calls(self) -> int:
        """Number of calls added."""
        return len(self._calls)

    def add(self, acc: NDArray) -> None:
        """Append accesses (dtype ACCESS)."""
        if not len(acc):
            return
        self._pending.append(acc)
        self._npending += len(acc)
        self.accesses += len(acc)
        for k, n in enumerate(np.bincount(acc["kind"], minlength=3)[:3]):
            self.by_kind[k] += int(n)
        if self._npending >= BLOCK:
            self._flush(BLOCK)

    def call(self, kind: Call, args: tuple[int, ...], result: int) -> None:
        """Append a call: it comes after every access added so far."""
        self._calls.append((self.accesses, int(kind), (*args, *([0] * (6 - len(args)))), result))

    def _flush(self, least: int) -> None:
        acc = np.concatenate(self._pending) if self._pending else np.empty(0, ACCESS)
        n = 0
        while len(acc) - n >= least and n < len(acc):
            block = acc[n : n + BLOCK]
            self._block(b"ACCS", len(block), encode_accesses(block))
            n += len(block)
        self._pending = [acc[n:]]
        self._npending = len(acc) - n

    def _block(self, tag: bytes, count: int, raw: bytes) -> None:
        packed = self._zstd.compress(raw)
        head = _HEAD.pack(tag, count, len(packed), len(raw), 0)[:-4]
        crc = zlib.crc32(packed, zlib.crc32(head))
        self._out.write(head + struct.pack("<I", crc) + packed)

    def abort(self) -> None:
        """Drop everything written."""
        self._out.close()
        self.part.unlink(missing_ok=True)

    def close(self, header: dict[str, Any], initial: list[Region]) -> None:
        """Write the file; `header` is free-form (program, command, how thinned)."""
        self._flush(1)
        blocks_end = self._out.tell()
        full = {
            **header,
            "accesses": self.accesses,
            "loads": self.by_kind[Kind.LOAD],
            "stores": self.by_kind[Kind.STORE],
            "modifies": self.by_kind[Kind.MODIFY],
            "calls": len(self._calls),
            "initial": [[r.start, r.end, r.prot, r.name] for r in initial],
        }
        text = json.dumps({"format": "svm-trace", "version": FORMAT_VERSION, **full}).encode() + b"\n"
        tmp = self.path.with_name(self.path.name + ".new")
        with tmp.open("wb") as f:
            f.write(MAGIC + _PRE.pack(len(text), zlib.crc32(text)) + text)
            calls = np.array(self._calls, dtype=CALL) if self._calls else np.empty(0, CALL)
            data, self._out = self._out, f
            for i in range(0, len(calls), BLOCK):
                part = calls[i : i + BLOCK]
                self._block(b"CALL", len(part), part.tobytes())
            data.seek(0)
            left = blocks_end
            while left:
                chunk = data.read(min(left, 1 << 20))
                f.write(chunk)
                left -= len(chunk)
            self._block(b"END ", 0, b"")
        data.close()
        self.part.unlink()
        tmp.replace(self.path)


class Trace:
    """An open trace: `header`, `initial` regions and `calls` in memory, accesses read block by block.

    Opening it checks the whole file. Raises TraceError for a broken, truncated or foreign file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._blocks: list[tuple[int, int, int, int]] = []  # offset, items, packed, unpacked
        try:
            self.bytes = self.path.stat().st_size
            with self.path.open("rb") as f:
                self._check(f)
        except OSError as e:
            raise TraceError(f"{self.path}: {e.strerror or e}") from e

    def _error(self, offset: int, what: str) -> TraceError:
        return TraceError(f"{self.path}: offset {offset}: {what}")

    def _check(self, f: BinaryIO) -> None:
        start = f.read(len(MAGIC) + _PRE.size)
        if start[: len(MAGIC)] != MAGIC:
            raise self._error(0, "not a trace (no SVMT signature)")
        if len(start) != len(MAGIC) + _PRE.size:
            raise self._error(len(start), "truncated in the header")
        length, crc = _PRE.unpack(start[len(MAGIC) :])
        if length > _MAX_HEADER:
            raise self._error(len(MAGIC), f"header of {length} bytes is too long")
        text = f.read(length)
        if len(text) != length:
            raise self._error(len(start) + len(text), "truncated in the header")
        if zlib.crc32(text) != crc:
            raise self._error(len(start), "header checksum differs")
        try:
            self.header: dict[str, Any] = json.loads(text)
            if self.header["format"] != "svm-trace":
                raise ValueError("not a trace header")
            version = int(self.header["version"])
            self.initial = [Region(int(a), int(b), int(p), str(n)) for a, b, p, n in self.header["initial"]]
            self.count = int(self.header["accesses"])
            ncalls = int(self.header["calls"])
        except (ValueError, KeyError, TypeError) as e:
            raise self._error(len(start), f"bad header: {e}") from e
        if version != FORMAT_VERSION:
            raise self._error(len(start), f"version {version}, this reader knows {FORMAT_VERSION}")
        self._check_blocks(f, ncalls)

    def _check_blocks(self, f: BinaryIO, ncalls: int) -> None:
        number = naccesses = 0
        calls: list[NDArray] = []
        while True:
            at = f.tell()
            head = f.read(_HEAD.size)
            if len(head) != _HEAD.size:
                raise self._error(at + len(head), f"truncated: block {number} is missing")
            tag, count, packed, unpacked, crc = _HEAD.unpack(head)
            if tag not in (b"ACCS", b"CALL", b"END ") or count > _MAX_ITEMS or unpacked > _MAX_ITEMS * 64:
                raise self._error(at, f"block {number}: bad block header")
            data = f.read(packed)
            if len(data) != packed:
                raise self._error(at + len(head) + len(data), f"truncated in block {number}")
            if zlib.crc32(data, zlib.crc32(head[:-4])) != crc:
                raise self._error(at, f"block {number}: checksum differs")
            if tag == b"END ":
                break
            if tag == b"CALL":
                raw = self._unpack(data, unpacked, at, number)
                if len(raw) != count * CALL.itemsize:
                    raise self._error(at, f"block {number}: length does not match the number of calls")
                calls.append(np.frombuffer(raw, dtype=CALL))
            else:
                self._blocks.append((at, count, packed, unpacked))
                naccesses += count
            number += 1
        if f.read(1):
            raise self._error(f.tell() - 1, "data after the end block")
        self.calls = np.concatenate(calls) if calls else np.empty(0, CALL)
        if naccesses != self.count or len(self.calls) != ncalls:
            raise self._error(at, "accesses or calls do not add up to the header's count")
        bad = (self.calls["kind"] > max(Call)) | (self.calls["at"] > self.count)
        if bad.any() or (np.diff(self.calls["at"].astype(np.int64)) < 0).any():
            raise self._error(at, "calls are out of order or of unknown kind")

    def _unpack(self, data: bytes, unpacked: int, at: int, number: int) -> bytes:
        try:
            raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=max(1, unpacked))
        except zstandard.ZstdError as e:
            raise self._error(at, f"block {number}: {e}") from e
        if len(raw) != unpacked:
            raise self._error(at, f"block {number}: unpacks to {len(raw)} bytes, not {unpacked}")
        return raw

    def blocks(self) -> Iterator[NDArray]:
        """The accesses, some ten thousand at a time (dtype ACCESS)."""
        with self.path.open("rb") as f:
            for number, (at, count, packed, unpacked) in enumerate(self._blocks):
                f.seek(at + _HEAD.size)
                raw = self._unpack(f.read(packed), unpacked, at, number)
                try:
                    acc = decode_accesses(raw, count)
                except ValueError as e:
                    raise self._error(at, f"block {number}: {e}") from e
                if (acc["kind"] > max(Kind)).any() or (acc["size"] == 0).any():
                    raise self._error(at, f"block {number}: access of unknown kind or of no bytes")
                if (acc["size"] > _MAX_SIZE).any():
                    raise self._error(at, f"block {number}: access of more than {_MAX_SIZE} bytes")
                yield acc

    def accesses(self) -> NDArray:
        """All accesses in memory (dtype ACCESS)."""
        parts = list(self.blocks())
        return np.concatenate(parts) if parts else np.empty(0, ACCESS)

    def segments(self, limit: int | None = None) -> Iterator[tuple[NDArray, NDArray]]:
        """Pairs (calls, accesses) in program order: the calls come first, then the accesses.

        Stops after `limit` accesses; calls after them are left out.
        """
        at = 0
        end = self.count if limit is None else min(limit, self.count)
        ncall = 0
        where = self.calls["at"]
        for block in self.blocks():
            base, stop = at, min(at + len(block), end)
            while at < stop:
                first = ncall
                while ncall < len(where) and where[ncall] <= at:
                    ncall += 1
                upto = stop if ncall == len(where) else min(stop, int(where[ncall]))
                yield self.calls[first:ncall], block[at - base : upto - base]
                at = upto
            if at >= end:
                break
        if end == self.count and ncall < len(where):
            yield self.calls[ncall:], np.empty(0, ACCESS)


def info(path: str) -> str:
    """A summary of a trace file as text. Raises TraceError."""
    t = Trace(path)
    acc = t.accesses()
    h = t.header
    pages = np.unique(np.concatenate([acc["addr"] >> np.uint64(12)])) if len(acc) else acc["addr"]
    lines = [
        f"{path}: {t.bytes} bytes, {8 * t.bytes / max(1, len(acc)):.1f} bits an access",
        f"program    {h.get('program', '?')}",
        f"command    {' '.join(h.get('command', []))}",
        f"accesses   {h['accesses']} ({h['loads']} loads, {h['stores']} stores, {h['modifies']} modifies)"
        f" on {len(pages)} pages",
    ]
    thin = h.get("thinned")
    if thin:
        lines.append(
            f"thinned    from {thin['recorded']} accesses: {thin['keep']} kept out of every"
            f" {thin['keep'] * thin['every']}"
        )
    counts = np.bincount(t.calls["kind"], minlength=len(Call))
    lines.append("calls      " + ", ".join(f"{c.name.lower()} {counts[c]}" for c in Call))
    lines += [
        f"initial    {r.start:#x}-{r.end:#x} {'-r'[r.prot & 1]}{'-w'[r.prot >> 1 & 1]} {r.name}"
        for r in t.initial
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Command line: info FILE."""
    parser = argparse.ArgumentParser(prog="tb.trace", description="Look at a recorded trace.")
    sub = parser.add_subparsers(dest="command", required=True)
    sub.add_parser("info", help="print a summary").add_argument("file")
    args = parser.parse_args(argv)
    try:
        print(info(args.file))
    except TraceError as e:
        print(f"trace: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
