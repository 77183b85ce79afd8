"""Faults planted on purpose, each with the rules of the oracle that must report it.

RTL plants are exact substitutions in a copy of `rtl/` under `build/`. All are in one copy, each behind a
number that the model reads from the environment when it is opened, so that one build serves them
all; number 0 is the device as it is. Driver plants replace parts of `sw_model.driver` while they run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from sw_model.device_interface import WORK, Flag, Op, Work
from tb import build
from tb.oracle import Oracle, Verdict, check_accounting
from tb.sim import HarnessConfig, HarnessError
from tb.stress import Plan, Watch
from tb.stress import run as run_stress
from tb.tools import ROOT
from tb.world import World

ENVIRONMENT = "SVM_PLANT"
PAGE = 4096

STALE = frozenset({"stale-access"})
STUCK = frozenset({"stuck-access", "unanswered-fault", "stuck-command", "lost-work", "accounting"})
MOVED = frozenset({"pte-lost", "freed-under-grant", "fill-without-pte", "freed-frame"})


@dataclass(frozen=True)
class RtlPlant:
    """A fault in the RTL: (file below rtl/, text, replacement); PLANT in the replacement is 1 when armed."""

    name: str
    what: str
    edits: tuple[tuple[str, str, str], ...]
    rules: frozenset[str]
    plan: Plan = field(default_factory=Plan)
    seeds: tuple[int, ...] = (1, 2, 3)


@dataclass(frozen=True)
class DriverPlant:
    """A fault in the driver: `patch` is active while the stress runs."""

    name: str
    what: str
    patch: Callable[[], contextlib.AbstractContextManager]
    rules: frozenset[str]
    mirror: str = "interval"
    seeds: tuple[int, ...] = (1, 2, 3)


# ---- RTL

_CHANNEL, _TLB, _PORT = "mmu/dmmu_channel.v", "mmu/dmmu_tlb.v", "mmu/dmmu_tlb_port.v"
_CMD, _FAULT, _POST = "mmu/dmmu_cmd.v", "mmu/dmmu_fault.v", "ring/ring_post.v"
_DRAIN, _SCAN = "mmu/dmmu_drain.v", "mmu/dmmu_drain_scan.v"

SLOW_HOST = Plan(answer_ns=12_000, pages=60, outstanding=96)
QUICK_FILL = Plan(fill_first=1.0, pause_ns=800)
PAGES_ONLY = Plan(huge_pages=0, detach=0.0, pasid_wide=0.0, pause_ns=800)
HUGE_ONLY = Plan(pages=4, huge_pages=3, detach=0.0, pasid_wide=0.0, pause_ns=800)

RTL = (
    RtlPlant(
        "completion-before-drain",
        "an invalidation completes without waiting for accesses in flight",
        ((_CMD, "c_wait <= e_inv", "c_wait <= !PLANT && e_inv"),),
        STALE,
    ),
    RtlPlant(
        "fill-after-invalidate",
        "a fill taken before an invalidation is written to the cache after its scrub",
        (
            (
                _CMD,
                "  assign op_every = c_scope[1];\n",
                """\
  reg [3:0] late_left;
  reg [2:0] late_start;
  reg [VPN_W-1:0] late_pn;
  reg [FN_W-1:0] late_fn;
  reg [19:0] late_pasid;
  reg [LOG_PASIDS-1:0] late_index;
  reg [1:0] late_perm;
  assign late = late_left != 4'd0;
  always @(posedge clk) begin
    if (rst) begin
      late_left  <= 4'd0;
      late_start <= 3'b000;
    end else if (late) begin
      late_left <= late_left - 4'd1;
      if (late_left == 4'd1) late_start <= 3'b000;
    end else if (op_start != 3'b000 && op_fill) begin
      late_start <= op_start;
      late_pn <= op_lo;
      late_fn <= op_fn;
      late_pasid <= op_pasid;
      late_index <= op_index;
      late_perm <= op_perm;
    end else if (ran && c_detach) begin
      late_start <= 3'b000;
    end else if (ran && c_wait && late_start != 3'b000) begin
      late_left <= PLANT ? 4'd15 : 4'd0;
    end
  end
  assign op_every = c_scope[1] && !late;
""",
            ),
            (_CMD, "  assign leave = p3", "  wire late;\n  assign leave = !late && p3"),
            (_CMD, "op_start <= (leave", "op_start <= (late_left == 4'd9) ? late_start : (leave"),
            (_CMD, "op_fill <= e_fill;", "op_fill <= late || e_fill;"),
            (_CMD, "<= x_many;", "<= !late && x_many;"),
            (_CMD, "op_lo <= s_lo;", "op_lo <= late ? late_pn : s_lo;"),
            (_CMD, "op_hi <= s_hi;", "op_hi <= late ? late_pn : s_hi;"),
            (_CMD, "op_pasid <= d_pasid;", "op_pasid <= late ? late_pasid : d_pasid;"),
            (_CMD, "op_index <= x_position;", "op_index <= late ? late_index : x_position;"),
            (_CMD, "op_fn <= s_fn;", "op_fn <= late ? late_fn : s_fn;"),
            (_CMD, "op_perm <= d[", "op_perm <= late ? late_perm : d["),
        ),
        STALE,
        QUICK_FILL,
    ),
    RtlPlant(
        "drain-forgets-writes",
        "a completion waits for reads in flight only",
        ((_DRAIN, "&& !w_marked && !load", "&& (!w_marked || PLANT) && !load"),),
        STALE,
        PAGES_ONLY,
    ),
    RtlPlant(
        "drain-forgets-size",
        "a completion waits for accesses whose 4-KiB page is in the range, whatever the translation's size",
        ((_SCAN, "c_size <= size;", "c_size <= PLANT ? 2'd0 : size;"),),
        STALE,
        HUGE_ONLY,
    ),
    RtlPlant(
        "permission-ignored",
        "a translation is used for a write that it does not allow",
        ((_CHANNEL, "wire usable = ", "wire usable = (PLANT && (hit_4k || hit_2m)) || "),),
        frozenset({"permission"}),
    ),
    RtlPlant(
        "pasid-ignored",
        "the cache's tag compare leaves the PASID out",
        ((_PORT, "s2_known && owner == s2_index;", "(PLANT || (s2_known && owner == s2_index));"),),
        frozenset({"wrong-pasid", "stale-access", "wrong-frame", "no-grant"}),
    ),
    RtlPlant(
        "fault-lost",
        "a fault record is taken and dropped while its ring is full",
        (
            (_POST, "&& s0_room && s0_free", "&& (s0_room || PLANT) && s0_free"),
            (_POST, "s0_take = in_valid && in_ready;", "s0_take = in_valid && in_ready && s0_room;"),
        ),
        STUCK | {"lost-fault", "fault-identifier"},
        SLOW_HOST,
    ),
    RtlPlant(
        "fault-overwritten",
        "a fault record overwrites one that the host has not read",
        ((_POST, "s0_room  <= s0_level_next < s0_size;", "s0_room  <= PLANT || s0_level_next < s0_size;"),),
        STUCK | {"fault-identifier"},
        SLOW_HOST,
    ),
    RtlPlant(
        "waiter-keeps-pfn",
        "an access that hit but waits behind a miss of its ID goes on with the pfn that it had",
        (
            (
                _CHANNEL,
                "  reg s4_enter;\n",
                """\
  reg [PARK-1:0] kept;
  reg [PA_W-13:0] kept_fn[0:PARK-1];
  wire s3_kept = PLANT && !s3_fresh && !s3_retire && !s3_probe && kept[s3_slot];
  reg s4_enter;
""",
            ),
            (
                _CHANNEL,
                "  assign touch = looks;\n",
                """\
  always @(posedge clk) begin
    if (s3_valid && s3_fresh) begin
      kept[s3_slot] <= waits;
      kept_fn[s3_slot] <= s3_fn;
    end
  end
  assign touch = looks;
""",
            ),
            (_CHANNEL, "(!hit_4k && s3_big_allowed);", "(!hit_4k && s3_big_allowed) || s3_kept;"),
            (_CHANNEL, "s3_fn = fn_4k", "s3_fn = s3_kept ? kept_fn[s3_slot] : fn_4k"),
        ),
        STALE | {"no-grant", "wrong-frame"},
        Plan(cross=0.7, pages=8, descriptors=1500, pause_ns=1000),
    ),
    RtlPlant(
        "scrub-stops-short",
        "the last page of a range keeps its translation",
        (
            (
                _TLB,
                "x2_beyond <= beyond[LOG_SETS];",
                "x2_beyond <= beyond[LOG_SETS] || (PLANT && !op_fill && beyond == {(LOG_SETS + 1) {1'b0}});",
            ),
        ),
        STALE,
    ),
    RtlPlant(
        "huge-page-survives",
        "invalidating 4 KiB inside a 2-MiB page leaves its translation in the cache",
        ((_CMD, ": 3'b111;", ": (PLANT && d_range) ? 3'b101 : 3'b111;"),),
        STALE,
        HUGE_ONLY,
    ),
    RtlPlant(
        "writes-not-scrubbed",
        "the write port's copy of the cache misses invalidations",
        (
            (
                _TLB,
                "w_touch),\n      .wr_way(x5_way)",
                "w_touch),\n      .wr_way((PLANT && !x5_fill && !x5_clear) ? {WAYS{1'b0}} : x5_way)",
            ),
        ),
        STALE,
    ),
    RtlPlant(
        "second-fault",
        "a miss does not see the fault that another opens in the cycle before",
        ((_FAULT, "wire in_new = x_alloc &&", "wire in_new = x_alloc && !PLANT &&"),),
        frozenset({"duplicate-fault"}),
        Plan(pages=3, huge_pages=0, outstanding=96),
    ),
    RtlPlant(
        "waiter-lost",
        "a miss that joins a fault in the cycle of its answer is forgotten",
        ((_FAULT, "wire again = e_hit ? !e_live :", "wire again = e_hit ? !e_live && !PLANT :"),),
        STUCK,
        Plan(pages=3, huge_pages=0, outstanding=96, answer_ns=400, descriptors=6000),
        (1, 2, 3, 4, 5, 6),
    ),
    RtlPlant(
        "success-ends-access",
        "the answer Success ends accesses with an error",
        (
            (_FAULT, "rl_err <= rsp_error &&", "rl_err <= (rsp_error || PLANT) &&"),
            (_FAULT, "rs_err <= rsp_error &&", "rs_err <= (rsp_error || PLANT) &&"),
        ),
        frozenset({"false-error"}),
    ),
)

#: Faults that only the explorer (tb.explore) shows: what the stress host does never meets them.
EXPLORED = (
    RtlPlant(
        "detach-before-drain",
        "a detach completes without waiting for the PASID's accesses in flight",
        ((_CMD, "dq_wait <= c_wait;", "dq_wait <= c_wait && !(c_detach && PLANT);"),),
        frozenset(),
    ),
    RtlPlant(
        "larger-page-wins",
        "where a 4-KiB and a 2-MiB translation cover an address, the 2-MiB one is used",
        (
            (
                _CHANNEL,
                "fn_4k | (hit_4k ?",
                "((PLANT && s3_big_size == 2'd1) ? {(PA_W - 12) {1'b0}} : fn_4k)\n"
                "      | ((hit_4k && !(PLANT && s3_big_size == 2'd1)) ?",
            ),
        ),
        frozenset(),
    ),
)


def _armed(number: int) -> str:
    return f"(svm_plant == 8'd{number})"


def make_tree(out: Path | None = None, source: Path = ROOT / "rtl") -> Path:
    """A copy of an RTL tree with every plant in it, armed by number; its path.

    Raises ValueError when the text of a plant does not occur exactly once.
    """
    out = out or build.BUILD / "plants" / "rtl"
    tmp = out.with_name(f"{out.name}.{os.getpid()}")
    shutil.rmtree(tmp, ignore_errors=True)
    shutil.copytree(source, tmp)
    touched: dict[str, str] = {}
    for number, plant in enumerate((*RTL, *EXPLORED), 1):
        for name, old, new in plant.edits:
            text = touched.get(name) or (tmp / name).read_text()
            if text.count(old) != 1:
                raise ValueError(f"plant {plant.name}: {text.count(old)} matches in {name} for {old!r}")
            touched[name] = text.replace(old, new.replace("PLANT", _armed(number)))
    arm = f'$c32("(getenv(\\"{ENVIRONMENT}\\") ? atoi(getenv(\\"{ENVIRONMENT}\\")) : 0)")'
    for name, text in touched.items():
        head, _, body = text.partition("\n);\n")
        lines = f"  reg [31:0] svm_number;\n  initial svm_number = {arm};\n"
        lines += "  wire [7:0] svm_plant = svm_number[7:0];\n"
        (tmp / name).write_text(f"{head}\n);\n{lines}{body}")
    # Replaced as a whole: another process may be reading the old one, which has the same text.
    with contextlib.suppress(FileNotFoundError):
        if _same(tmp, out):
            shutil.rmtree(tmp)
            return out
        shutil.rmtree(out)
    tmp.rename(out)
    return out


def _same(a: Path, b: Path) -> bool:
    files = sorted(p.relative_to(a) for p in a.rglob("*") if p.is_file())
    if files != sorted(p.relative_to(b) for p in b.rglob("*") if p.is_file()):
        return False
    return all((a / f).read_bytes() == (b / f).read_bytes() for f in files)


@contextlib.contextmanager
def armed(number: int) -> Iterator[None]:
    """Devices opened inside have plant `number`; 0 is none."""
    with mock.patch.dict(os.environ, {ENVIRONMENT: str(number)}):
        yield


def run_rtl(plant: RtlPlant | None, seed: int, tree: Path, plan: Plan | None = None) -> Verdict:
    """Stress the device with a plant, or with none; ends when one of the plant's rules has fired."""
    number = 1 + RTL.index(plant) if plant else 0
    plan = plan or (plant.plan if plant else Plan())
    config = HarnessConfig.preset("stress")
    with armed(number), World(seed=seed, rtl=tree, config=config, mem_bytes=48 << 20) as w:
        try:
            return run_stress(w, plan, seed, stop=plant.rules if plant else (), batch=256, detail=2)
        except HarnessError as e:
            # The harness checks the protocols of the ports by itself.
            return Verdict(total=1, rules={"harness": 1}, seen={"harness": 1, str(e): 1})


# ---- driver


class ProcessStress:
    """Processes whose memory changes under the device: the driver and the mm as they are, over a World."""

    def __init__(self, world: World, oracle: Oracle, seed: int, mirror: str, rounds: int) -> None:
        from sw_model.driver import SvmDriver
        from sw_model.engine import Engine
        from sw_model.mm import MmStruct
        from sw_model.phys import PhysMem

        self.rng = random.Random(seed)
        self.world = world
        self.oracle = oracle
        self.rounds = rounds
        self.phys = PhysMem(world.memory, seed=seed)
        oracle.watch(self.phys)
        self.driver = SvmDriver(world.transport, self.phys, world.sched, mirror, log2_fault=5, fault_around=4)
        self.engine = Engine(world.transport, self.phys, world.sched)
        self.mms = [MmStruct(self.phys, name=f"p{i}", thp=bool(i & 1)) for i in range(2)]
        self.areas: list[tuple[int, int]] = []
        self.running = len(self.mms)

    async def main(self) -> None:
        """Two processes, traffic and change on both, then exit in either order."""
        from sw_model.mm import MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE

        await self.driver.probe()
        await self.engine.probe()
        for name, (base, log2) in {**self.driver.rings, **self.engine.rings}.items():
            self.oracle.set_ring(name, base, log2)
        for i, mm in enumerate(self.mms):
            pages = 1024 if i else 24
            addr = await mm.mmap(0, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS)
            self.areas.append((addr, pages))
            self.oracle.bind(1 + i, mm.mm_id)
            await self.driver.attach(mm, pasid=1 + i)
        threads = [self.world.spawn(self.traffic(i), f"traffic{i}") for i in range(2)]
        threads += [self.world.spawn(self.change(i), f"change{i}") for i in range(2) for _ in range(2)]
        threads.append(self.world.spawn(self.reattach(), "reattach"))
        for t in threads:
            await t.join()
        await self.mms[0].exit()
        await self.driver.detach(1)
        await self.driver.detach(2)
        await self.mms[1].exit()
        await self.engine.stop()
        await self.driver.remove()
        self.oracle.account(check_accounting(self.phys, self.mms))

    def page(self, i: int) -> int:
        """Address of a page of process `i`; mostly one of few."""
        addr, pages = self.areas[i]
        return addr + PAGE * (self.rng.randrange(pages) if self.rng.random() < 0.3 else self.rng.randrange(8))

    def rows(self, i: int, n: int) -> NDArray[np.uint64]:
        """`n` random descriptors (n, 4) for process `i`."""
        rng, out = self.rng, []
        for _ in range(n):
            size = rng.randint(1, 200)
            va = self.page(i) + rng.randrange(PAGE - size)
            more = {"op": Work.FILL, "data": rng.getrandbits(64)} if rng.random() < 0.5 else {"op": Work.READ}
            out.append(WORK.pack(flags=Flag.COMPLETE, pasid=1 + i, len=size, va=va, **more))
        return np.concatenate(out)

    async def traffic(self, i: int) -> None:
        """Descriptors of one process; errors are part of it."""
        for _ in range(self.rounds):
            await self.engine.run(self.rows(i, 24))
        self.running -= 1

    async def change(self, i: int) -> None:
        """What a process and its kernel do to its memory, while the traffic runs."""
        from sw_model import mm as k
        from sw_model.sched import sleep

        rng, mm = self.rng, self.mms[i]
        await sleep(1000)
        while self.running:
            addr, n = self.page(i), rng.choice([1, 1, 2, 6])
            addr = min(addr, self.areas[i][0] + (self.areas[i][1] - n) * PAGE)
            end = addr + n * PAGE
            what = rng.randrange(7)
            if what == 0:
                await mm.madvise(addr, n * PAGE, k.MADV_DONTNEED)
            elif what == 1:
                await k.swap_out_range(mm, addr, end)
            elif what == 2:
                await k.migrate_range(mm, addr, end)
            elif what == 3:
                await mm.mprotect(addr, n * PAGE, k.PROT_READ)
                await sleep(rng.randint(1, 2000))
                await mm.mprotect(addr, n * PAGE, k.PROT_READ | k.PROT_WRITE)
            elif what == 4:
                child = await mm.fork()
                await sleep(rng.randint(1, 2000))
                await child.exit()
            elif what == 5:
                flags = k.MAP_PRIVATE | k.MAP_ANONYMOUS | k.MAP_FIXED
                await mm.mmap(addr, n * PAGE, k.PROT_READ | k.PROT_WRITE, flags)
            else:
                # The other thread may have made it read-only.
                with contextlib.suppress(k.SegvError):
                    await mm.store(addr, bytes(rng.randrange(256) for _ in range(8)))
            await sleep(rng.randint(1, 3000))

    async def reattach(self) -> None:
        """Detaches and attaches the first process while it runs."""
        from sw_model.sched import sleep

        while self.running:
            await sleep(40_000)
            await self.driver.detach(1)
            await self.driver.attach(self.mms[0], pasid=1)


def _patch(**changes: Any) -> Callable[[], contextlib.AbstractContextManager]:
    """Replaces `Class__attribute=function(original)` or `name=function(original)` in sw_model.driver."""

    @contextlib.contextmanager
    def active() -> Iterator[None]:
        from sw_model import driver

        with contextlib.ExitStack() as stack:
            for path, make in changes.items():
                owner: Any = driver
                names = path.split("__")
                for name in names[:-1]:
                    owner = getattr(owner, name)
                old = getattr(owner, names[-1])
                stack.enter_context(mock.patch.object(owner, names[-1], make(old)))
            yield

    return active


def _retry_ignored(old: Callable) -> Callable:
    async def retry(self: Any, cl: Any) -> bool:
        await old(self, cl)
        return False

    return retry


def _notifier_put_first(old: Callable) -> Callable:
    async def detach(self: Any, pasid: int) -> None:
        att = self.attachments[pasid]
        att.detaching = True
        await self.flush_faults()
        await att.backend.remove()
        att.backend.remove = _nothing
        from sw_model.sched import sleep

        await sleep(4000)
        await old(self, pasid)

    return detach


async def _nothing(*args: Any) -> None:
    return None


def _not_awaited(old: Callable) -> Callable:
    async def post(self: Any, op: Op, *args: Any) -> Any:
        done = await old(self, op, *args)
        if op in (Op.INVALIDATE, Op.INVALIDATE_PASID):
            done.wait = _nothing
        return done

    return post


def _protection_skipped(old: Callable) -> Callable:
    async def invalidate(self: Any, sub: Any, range_: Any, cur_seq: int) -> bool:
        if range_.event.name.startswith("PROTECTION"):
            return True
        return await old(self, sub, range_, cur_seq)

    return invalidate


def _short(old: Callable) -> Callable:
    def cmd(op: Op, pasid: int = 0, tag: int | None = None, va: int = 0, npages: int = 0) -> Any:
        return old(op, pasid, tag, va, npages - 1 if op == Op.INVALIDATE and npages > 1 else npages)

    return cmd


def _writable(old: Callable) -> Callable:
    def fill(pasid: int, va: int, pa: int, npages: int, size: Any, perm: int) -> Any:
        return old(pasid, va, pa, npages, size, 3)

    return fill


def _answers(copies: int) -> Callable[[Callable], Callable]:
    def make(old: Callable) -> Callable:
        count = iter(range(1 << 30))

        def answer(self: Any, cl: Any, rows: list) -> None:
            mine: list = []
            old(self, cl, mine)
            rows += mine[:-1] + mine[-1:] * (copies if next(count) % 20 == 19 else 1)

        return answer

    return make


DRIVER = (
    DriverPlant(
        "read-retry-missing",
        "a fill is posted although the page table changed since it was read",
        _patch(_Interval__retry=_retry_ignored),
        MOVED,
        # In others the kernel model itself trips over it first.
        seeds=(4, 5, 6),
    ),
    DriverPlant(
        "read-retry-missing-mirror",
        "the same over the API of the seed patch",
        _patch(_Mirror__retry=_retry_ignored),
        MOVED,
        mirror="mirror",
    ),
    DriverPlant(
        "put-before-use",
        "detach drops the notifier while the device still uses the process's memory",
        _patch(SvmDriver__detach=_notifier_put_first),
        MOVED,
    ),
    DriverPlant(
        "completion-not-awaited",
        "an invalidation returns before the device has completed it",
        _patch(SvmDriver___post_tagged=_not_awaited),
        MOVED,
    ),
    DriverPlant(
        "protection-skipped",
        "the notifier callback ignores changes of protection",
        _patch(_IntervalOps__invalidate=_protection_skipped),
        MOVED,
    ),
    DriverPlant("range-short", "an invalidation leaves out the last page", _patch(_cmd=_short), MOVED),
    DriverPlant("always-writable", "every fill is writable", _patch(_fill=_writable), MOVED),
    DriverPlant(
        "answer-lost",
        "now and then a fault gets no answer",
        _patch(SvmDriver___answer=_answers(0)),
        STUCK,
    ),
    DriverPlant(
        "answer-doubled",
        "now and then a fault gets two answers",
        _patch(SvmDriver___answer=_answers(2)),
        frozenset({"double-answer"}),
    ),
)


def run_driver(plant: DriverPlant | None, seed: int, mirror: str = "interval", rounds: int = 40) -> Verdict:
    """Stress the driver with a plant, or with none; ends when one of the plant's rules has fired."""
    mirror = plant.mirror if plant else mirror
    config = HarnessConfig.preset("default")
    with (
        plant.patch() if plant else contextlib.nullcontext(),
        World(seed=seed, config=config, mem_bytes=32 << 20, hang_cycles=300_000) as world,
    ):
        oracle = Oracle(bus_base=world.bus_base, now=lambda: world.cycle, batch=256, detail=2)
        watch = Watch(world, oracle, plant.rules - STUCK if plant else ())
        stress = ProcessStress(world, oracle, seed, mirror, rounds)
        world.spawn(stress.main(), "stress")
        try:
            return watch.run(3_000_000)
        except (AttributeError, AssertionError, RuntimeError, OSError) as e:
            # The host itself may trip over a plant; what counts is what the oracle saw.
            oracle.account([f"a kernel thread died: {e!r}"])
        return oracle.finish(world.stats()["outstanding"])


# ---- all of them


def caught(plant: RtlPlant | DriverPlant, tree: Path) -> tuple[bool, str]:
    """Whether the oracle reports a plant by one of its rules within its seeds, and a line about it."""
    v = Verdict()
    for seed in plant.seeds:
        v = run_rtl(plant, seed, tree) if isinstance(plant, RtlPlant) else run_driver(plant, seed)
        hit = [x for x in v.violations if x.rule in plant.rules]
        if hit:
            return True, f"seed {seed}: {hit[0]}"
    rules = ", ".join(sorted(plant.rules))
    return False, f"none of {rules} in {len(plant.seeds)} runs; the last: {v}"


def silent(tree: Path, seeds: tuple[int, ...] = (1, 2), rounds: int = 10) -> tuple[bool, str]:
    """Whether the oracle is silent without a plant, and its reports."""
    plan = replace(Plan(), descriptors=600)
    verdicts = [run_rtl(None, seed, tree, plan) for seed in seeds]
    verdicts += [run_driver(None, 1, mirror, rounds) for mirror in ("interval", "mirror")]
    return all(v.ok for v in verdicts), "\n".join(map(str, verdicts))


def check(name: str, tree: Path | None = None) -> tuple[bool, str]:
    """One plant by name; "none" must be silent. Raises KeyError for another name."""
    tree = tree or make_tree()
    plants: dict[str, RtlPlant | DriverPlant] = {p.name: p for p in (*RTL, *DRIVER)}
    return silent(tree) if name == "none" else caught(plants[name], tree)


def main() -> int:
    """Command line: check all plants, or those named."""
    ap = argparse.ArgumentParser(description="Plant faults and see that the oracle reports them.")
    ap.add_argument("names", nargs="*", help="plants to check (default: all)")
    ap.add_argument("--list", action="store_true", help="list the plants")
    a = ap.parse_args()
    if a.list:
        for p in (*RTL, *DRIVER):
            print(f"{p.name:28} {p.what}")
        return 0
    bad = 0
    tree = make_tree()
    for name in a.names or ["none", *(p.name for p in (*RTL, *DRIVER))]:
        start = time.monotonic()
        ok, text = check(name, tree)
        bad += not ok
        print(f"{'caught' if ok else 'MISSED'} {name} ({time.monotonic() - start:.1f} s): {text}", flush=True)
    print(f"{bad} plants were missed" if bad else "every plant is caught")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
