"""Record any Linux program's accesses and address-space calls into a trace (docs/traces.md).

`python -m tb.record -o FILE [--limit N] [--keep N] -- COMMAND...` runs the command under valgrind's
lackey tool and reads its text as it comes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tb import tools
from tb.trace import ACCESS, Call, Kind, Region, Writer

PAGE = 4096
CHUNK = 1 << 20
PROT_READ, PROT_WRITE = 1, 2
GAP_PAGES = 16  # touched pages this close belong to one region
STACK_TOP = 0x1FFF001000  # where valgrind puts the main stack
STACK_PAGES = 32  # the least the stack region covers, growing down

_ACCESS = re.compile(rb"^ ([LSM]) ([0-9a-fA-F]+),(\d+)$", re.M)
_CALL = re.compile(
    rb"^SYSCALL\[\d+,\d+\]\(\s*\d+\) (?:sys_)?(mmap2?|munmap|mprotect|brk|mremap|madvise) \(([^)]*)\)"
    rb"[^\n]*Success\((0x[0-9a-fA-F]+)\)",
    re.M,
)
_KIND = {b"L": Kind.LOAD, b"S": Kind.STORE, b"M": Kind.MODIFY}
_CALLS = {
    b"mmap": (Call.MMAP, 6),
    b"mmap2": (Call.MMAP, 6),
    b"munmap": (Call.MUNMAP, 2),
    b"mprotect": (Call.MPROTECT, 3),
    b"brk": (Call.BRK, 1),
    b"mremap": (Call.MREMAP, 4),
    b"madvise": (Call.MADVISE, 3),
}


class RecordError(tools.ToolError):
    """The program could not be recorded: one line for the user."""


Item = NDArray | tuple[Call, tuple[int, ...], int]


def parse_accesses(text: bytes) -> NDArray:
    """The loads, stores and modifies in lackey's text, in order (dtype ACCESS)."""
    found = _ACCESS.findall(text)
    out = np.empty(len(found), dtype=ACCESS)
    if found:
        kinds, addrs, sizes = zip(*found, strict=True)
        out["addr"] = np.array([int(a, 16) for a in addrs], dtype=np.uint64)
        out["size"] = np.array(sizes, dtype="S").astype(np.uint16)
        out["kind"] = [_KIND[k] for k in kinds]
    return out[out["size"] > 0]


def parse_call(match: re.Match[bytes]) -> tuple[Call, tuple[int, ...], int]:
    """(kind, arguments, result) of a successful call."""
    kind, want = _CALLS[match[1]]
    args = [int(a.split(b"(")[0], 0) for a in match[2].replace(b" ", b"").split(b",") if a]
    return kind, tuple((args + [0] * want)[: max(want, min(len(args), 6))]), int(match[3], 16)


def parse(stream: BinaryIO, chunk: int = CHUNK) -> Iterator[Item]:
    """Arrays of accesses and calls in program order from lackey's text, read `chunk` bytes at a time."""
    rest = b""
    while True:
        data = stream.read(chunk)
        text = rest + data
        cut = text.rfind(b"\n") + 1 if data else len(text)
        text, rest = text[:cut], text[cut:]
        at = 0
        for match in _CALL.finditer(text):
            acc = parse_accesses(text[at : match.start()])
            if len(acc):
                yield acc
            yield parse_call(match)
            at = match.end()
        acc = parse_accesses(text[at:])
        if len(acc):
            yield acc
        if not data:
            return


class Coverage:
    """Pages that a recorded call has mapped, and those touched while none had.

    The latter existed before the first call: the program's segments, the loader's and the stack.
    """

    def __init__(self) -> None:
        self.starts: list[int] = []  # sorted, disjoint, in pages
        self.ends: list[int] = []
        self.ever: list[tuple[int, int]] = []
        self.implied: dict[int, int] = {}  # page -> PROT_* bits
        self.brk_start = 0
        self.brk = 0

    def _cut(self, a: int, b: int) -> None:
        starts, ends = [], []
        for s, e in zip(self.starts, self.ends, strict=True):
            if s < a:
                starts.append(s)
                ends.append(min(e, a))
            if e > b:
                starts.append(max(s, b))
                ends.append(e)
        self.starts, self.ends = starts, ends

    def _map(self, start: int, end: int) -> None:
        a, b = start // PAGE, -(-end // PAGE)
        if a >= b:
            return
        self._cut(a, b)
        i = bisect_right(self.starts, a)
        self.starts.insert(i, a)
        self.ends.insert(i, b)
        self.ever.append((a, b))

    def _missing(self, pages: NDArray) -> NDArray:
        if not self.starts:
            return pages
        i = np.searchsorted(np.array(self.starts), pages, side="right") - 1
        ends = np.array(self.ends)
        return pages[(i < 0) | (pages >= ends[np.maximum(i, 0)])]

    def touch(self, acc: NDArray) -> None:
        """Note the pages that accesses touch."""
        first = (acc["addr"] // PAGE).astype(np.int64)
        last = ((acc["addr"] + acc["size"] - 1) // PAGE).astype(np.int64)
        stores = acc["kind"] != Kind.LOAD
        for mask, prot in ((~stores, PROT_READ), (stores, PROT_READ | PROT_WRITE)):
            pages = np.unique(np.concatenate([first[mask], last[mask]]))
            for p in self._missing(pages).tolist():
                self.implied[p] = self.implied.get(p, 0) | prot

    def call(self, kind: Call, args: tuple[int, ...], result: int) -> None:
        """Note what a call maps or unmaps."""
        if kind == Call.MMAP:
            self._map(result, result + args[1])
        elif kind == Call.MUNMAP:
            self._need(args[0], args[1], 0)
            self._cut(args[0] // PAGE, -(-(args[0] + args[1]) // PAGE))
        elif kind == Call.MREMAP:
            old, old_len, new_len = args[0], args[1], args[2]
            self._cut(old // PAGE, -(-(old + old_len) // PAGE))
            self._map(result, result + new_len)
        elif kind == Call.BRK:
            if not self.brk_start:
                self.brk_start = self.brk = result
            old_end, new_end = -(-self.brk // PAGE) * PAGE, -(-result // PAGE) * PAGE
            if new_end > old_end:
                self._map(old_end, new_end)
            elif new_end < old_end:
                self._cut(new_end // PAGE, old_end // PAGE)
            self.brk = result
        elif kind == Call.MPROTECT:
            self._need(args[0], args[1], PROT_READ)

    def _need(self, start: int, length: int, prot: int) -> None:
        pages = np.arange(start // PAGE, -(-(start + length) // PAGE))
        for p in self._missing(pages).tolist():
            self.implied[p] = self.implied.get(p, 0) | prot | PROT_READ

    def initial(self) -> list[Region]:
        """The regions that exist before the first call, grown over small gaps that no call ever maps."""
        taken = sorted(self.ever)

        def free(a: int, b: int) -> bool:
            return all(e <= a or s >= b for s, e in taken)

        brk_page = self.brk_start // PAGE if self.brk_start else -1
        regions: list[list[int]] = []
        for p in sorted(self.implied):
            prot = self.implied[p]
            last = regions[-1] if regions else None
            near = last is not None and p - last[1] <= GAP_PAGES and not last[1] <= brk_page <= p
            if last is not None and near and last[2] == prot and (p == last[1] or free(last[1], p)):
                last[1] = p + 1
            else:
                regions.append([p, p + 1, prot])
        top = STACK_TOP // PAGE
        out = []
        for i, (a, b, prot) in enumerate(regions):
            stack = top - 4096 <= a < top or (b - 1 in self.implied and a >= top - 4096 and b <= top + 16)
            name = "stack" if stack else "segment"
            if stack:
                floor = regions[i - 1][1] if i else 0
                low = max(floor, min(a, b - STACK_PAGES))
                a = low if free(low, a) else a
            out.append(Region(a * PAGE, b * PAGE, prot, name))
        return out


class Thinner:
    """Keeps blocks of `keep` consecutive accesses, evenly over the run, `limit` accesses at most.

    Every block is kept until the limit is reached; then every second kept block is dropped and from
    there on only every second block is kept, and so on. Calls are always kept. With `limit` 0
    everything is kept and goes straight to the writer.
    """

    def __init__(self, writer: Writer, limit: int, keep: int) -> None:
        self.writer = writer
        self.limit = limit
        self.keep = max(1, min(keep, limit)) if limit else keep
        self.every = 1
        self.seen = 0
        self._stored = 0
        self._blocks: dict[int, list[NDArray]] = {}  # block number -> parts
        self._calls: list[tuple[int, Call, tuple[int, ...], int]] = []

    def add(self, acc: NDArray) -> None:
        """The next accesses."""
        if not self.limit:
            self.seen += len(acc)
            self.writer.add(acc)
            return
        while len(acc):
            block, offset = divmod(self.seen, self.keep)
            part, acc = acc[: self.keep - offset], acc[self.keep - offset :]
            self.seen += len(part)
            if block % self.every:
                continue
            self._blocks.setdefault(block, []).append(part.copy())
            self._stored += len(part)
            while self._stored > self.limit:
                self.every *= 2
                self._blocks = {b: p for b, p in self._blocks.items() if b % self.every == 0}
                self._stored = sum(len(x) for p in self._blocks.values() for x in p)
                if len(self._blocks) == 1:
                    break

    def call(self, kind: Call, args: tuple[int, ...], result: int) -> None:
        """The next call."""
        if self.limit:
            self._calls.append((self.seen, kind, args, result))
        else:
            self.writer.call(kind, args, result)

    def finish(self) -> None:
        """Hand what was kept to the writer."""
        calls = iter([*self._calls, (1 << 62, Call.BRK, (), 0)])
        nxt = next(calls)
        for block, parts in sorted(self._blocks.items()):
            at = block * self.keep
            for part in parts:
                begin = 0
                while nxt[0] <= at + len(part):
                    split = max(begin, nxt[0] - at)
                    self.writer.add(part[begin:split])
                    begin = split
                    self.writer.call(*nxt[1:])
                    nxt = next(calls)
                self.writer.add(part[begin:])
                at += len(part)
        while nxt[0] < 1 << 62:
            self.writer.call(*nxt[1:])
            nxt = next(calls)


class Recorder:
    """Feeds parsed items to the thinner and the coverage."""

    def __init__(self, writer: Writer, limit: int = 0, keep: int = 256) -> None:
        self.writer = writer
        self.thin = Thinner(writer, limit, keep)
        self.coverage = Coverage()
        self.calls = 0

    def run(self, stream: BinaryIO, progress: Callable[[int, int], None] | None = None) -> None:
        """Consume lackey's text up to its end; `progress` gets (accesses, calls) now and then."""
        for item in parse(stream):
            if isinstance(item, tuple):
                self.coverage.call(*item)
                self.thin.call(*item)
                self.calls += 1
            else:
                self.coverage.touch(item)
                self.thin.add(item)
                if progress:
                    progress(self.thin.seen, self.calls)

    def close(self, command: list[str]) -> None:
        """Write the trace. Raises RecordError when there is nothing in it."""
        if not self.thin.seen:
            raise RecordError("the program made no access that valgrind could see")
        self.thin.finish()
        header: dict = {
            "program": os.path.basename(command[0]),
            "command": command,
            "brk": self.coverage.brk_start,
        }
        if self.thin.every > 1:
            header["thinned"] = {
                "recorded": self.thin.seen,
                "keep": self.thin.keep,
                "every": self.thin.every,
            }
        self.writer.close(header, self.coverage.initial())


def valgrind_command(fd: int, command: list[str]) -> list[str]:
    """The command line that sends lackey's text to an open file descriptor."""
    return [
        "valgrind",
        "--tool=lackey",
        "--trace-mem=yes",
        "--basic-counts=no",
        "--trace-syscalls=yes",
        "--trace-children=no",
        "--child-silent-after-fork=yes",
        f"--log-fd={fd}",
        *command,
    ]


def _progress() -> Callable[[int, int], None]:
    """A progress line on stderr: rewritten on a terminal, every 10 s elsewhere."""
    tty = sys.stderr.isatty()
    start = last = time.monotonic()

    def show(accesses: int, calls: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < (0.2 if tty else 10):
            return
        last = now
        line = f"recording: {accesses / 1e6:.2f} M accesses, {calls} calls, {now - start:.0f} s"
        print(f"\r{line}\x1b[K" if tty else line, end="" if tty else "\n", file=sys.stderr, flush=True)

    return show


def record(out: str, command: list[str], limit: int, keep: int, quiet: bool = True) -> Recorder:
    """Run a command under valgrind and write its trace to `out`.

    Raises ToolError when valgrind is missing, RecordError when the command is or when it fails.
    """
    tools.need("valgrind")
    if shutil.which(command[0]) is None:
        raise RecordError(f"{command[0]}: no such program")
    try:
        os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
        writer = Writer(out)
    except OSError as e:
        raise RecordError(f"{out}: {e.strerror}") from e
    rfd, wfd = os.pipe()
    try:
        proc = subprocess.Popen(
            valgrind_command(wfd, command),
            pass_fds=(wfd,),
            stdout=subprocess.DEVNULL if quiet else None,
        )
        os.close(wfd)
        rec = Recorder(writer, limit, keep)
        with os.fdopen(rfd, "rb", buffering=0) as stream:
            try:
                rec.run(stream, _progress())
            except BaseException:
                proc.kill()
                raise
            finally:
                status = proc.wait()
        if sys.stderr.isatty():
            print(file=sys.stderr)
        if status:
            what = f"signal {-status}" if status < 0 else f"status {status}"
            raise RecordError(f"{command[0]} ended with {what}; nothing written")
        rec.close(command)
    except BaseException:
        writer.abort()
        raise
    return rec


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="tb.record", description=__doc__.split("\n")[0])
    parser.add_argument("-o", "--output", required=True, help="trace file to write")
    parser.add_argument("--limit", type=int, default=125_000, help="most accesses to keep; 0 keeps all")
    parser.add_argument("--keep", type=int, default=256, help="consecutive accesses in a kept block")
    parser.add_argument("--show-output", action="store_true", help="let the program write to stdout")
    parser.add_argument("cmd", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="program and arguments")
    args = parser.parse_args(argv)
    command = args.cmd[1:] if args.cmd[:1] == ["--"] else args.cmd
    if not command:
        print("record: no command given (… -o FILE -- COMMAND)", file=sys.stderr)
        return 2
    if args.limit < 0 or args.keep < 1:
        print("record: --limit is 0 or more, --keep 1 or more", file=sys.stderr)
        return 2
    try:
        rec = record(args.output, command, args.limit, args.keep, not args.show_output)
    except (tools.ToolError, OSError) as e:
        print(f"record: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("record: interrupted; nothing written", file=sys.stderr)
        return 130
    size = os.path.getsize(args.output)
    print(
        f"{args.output}: {rec.writer.accesses} of {rec.thin.seen} accesses, {rec.calls} calls,"
        f" {size / 1024:.0f} KiB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
