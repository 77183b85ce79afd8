"""pcie_bar: the register BAR as a host sees it."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.triggers import Timer, with_timeout
from cocotbext.pcie.core.tlp import CplStatus, Tlp, TlpAttr, TlpTc, TlpType
from cocotbext.pcie.core.utils import PcieId
from cocotbext.pcie.xilinx.us.tlp import Tlp_us

from tb.env_pcie import BAR_BROKEN, Env

ONE_DWORD = range(16)
#: Byte enables of 2 dwords without a hole; the others are legal on a quad-word boundary only.
SOLID = [(f, last) for f in (15, 14, 12, 8) for last in (15, 7, 3, 1)]


def request(env: Env, offset: int, be: tuple[int, int], data: bytes | None = None) -> Tlp:
    """A memory request of one dword (last byte enable 0) or two."""
    tlp = Tlp()
    tlp.fmt_type = TlpType.MEM_READ if data is None else TlpType.MEM_WRITE
    tlp.requester_id = PcieId(0, 0, 0)
    tlp.address = env.pci.bar_addr[0] + offset
    tlp.first_be, tlp.last_be = be
    tlp.length = 2 if be[1] else 1
    if data is not None:
        tlp.set_data(data)
    return tlp


async def read(env: Env, tlp: Tlp) -> Tlp:
    """The one completion of a non-posted request."""
    cpls = await env.rc.perform_nonposted_operation(tlp, 20, "us")
    assert len(cpls) == 1, f"{len(cpls)} completions of {tlp!r}"
    return cpls[0]


async def settle(env: Env) -> None:
    """Wait until posted writes have landed: a read pushes them."""
    await read(env, request(env, 0, (15, 0)))


@cocotb.test(timeout_time=400, timeout_unit="us")
@cocotb.parametrize(idle=[0.0, 0.5], full=[0.0, 0.5])
async def every_byte_enable(dut: Any, idle: float, full: float) -> None:
    """Writes and reads of 1 and 2 dwords with each legal byte enable touch those bytes only."""
    env = await Env(dut).start()
    env.press(idle, full)
    rng, registers = env.rng, env.registers
    holes = [(rng.randrange(1, 16), rng.randrange(1, 16)) for _ in range(12)]
    cases = [(be, 0) for be in ONE_DWORD] + SOLID + holes
    want = bytearray(BAR_BROKEN)
    for be in cases:
        offset = rng.randrange(0, 0x800) * 8
        if be in SOLID or not be[1]:
            offset += rng.choice([0, 4])
        enables = [int(be[k // 4] >> k % 4 & 1) for k in range(8 if be[1] else 4)]
        data = rng.randbytes(len(enables))
        for k, on in enumerate(enables):
            if on:
                want[offset + k] = data[k]
        await env.rc.perform_posted_operation(request(env, offset, be, data))
        registers.reads.clear()
        cpl = await read(env, request(env, offset, be))
        assert cpl.status == CplStatus.SC and cpl.length == len(enables) // 4
        on = [k for k, bit in enumerate(enables) if bit]
        assert cpl.byte_count == (on[-1] - on[0] + 1 if on else 1)
        assert cpl.lower_address == (offset + (on[0] if on else 0)) & 0x7F
        for k in on:
            assert cpl.data[k] == want[offset + k]
        dwords = [offset + 4 * k for k in range(len(enables) // 4) if any(enables[4 * k : 4 * k + 4])]
        assert registers.reads == dwords
    await settle(env)
    assert registers.mem[:BAR_BROKEN] == want
    env.check()


@cocotb.test(timeout_time=200, timeout_unit="us")
@cocotb.parametrize(idle=[0.0, 0.5], full=[0.0, 0.5])
async def many_at_once(dut: Any, idle: float, full: float) -> None:
    """Reads and writes posted without waiting keep their order; each read gets its own completion."""
    env = await Env(dut).start()
    env.press(idle, full)
    flows = env.flows()
    want = bytearray(256)
    tasks = []
    for _ in range(60):
        offset = 4 * env.rng.randrange(63)
        two = env.rng.random() < 0.5
        be = (15, 15 if two else 0)
        if env.rng.random() < 0.5:
            data = env.rng.randbytes(8 if two else 4)
            want[offset : offset + len(data)] = data
            await env.rc.perform_posted_operation(request(env, offset, be, data))
        else:
            expected = bytes(want[offset : offset + (8 if two else 4)])
            tasks.append((cocotb.start_soon(read(env, request(env, offset, be))), expected))
            await Timer(1, "ns")
    for task, expected in tasks:
        cpl = await task
        assert cpl.status == CplStatus.SC and cpl.data == expected
    await settle(env)
    assert env.registers.mem[:256] == want
    assert flows["cq"].stalls, "the completer takes one request at a time"
    assert bool(flows["cq"].idles) == bool(idle) and bool(flows["cc"].stalls) == bool(full)
    assert not flows["cc"].idles, "CC: no gap in a packet"
    env.check()


@cocotb.test(timeout_time=200, timeout_unit="us")
async def others_are_unsupported(dut: Any) -> None:
    """Other non-posted requests are answered UR, other posted ones dropped; the BAR goes on after each."""
    env = await Env(dut).start()

    def inject(
        kind: TlpType, length: int, be: tuple[int, int], bar: int = 0, tag: int = 40, **kw: Any
    ) -> None:
        tlp = Tlp_us()
        tlp.fmt_type = kind
        tlp.requester_id, tlp.completer_id = PcieId(0, 0, 0), env.device.functions[0].pcie_id
        tlp.address, tlp.length, tlp.tag, tlp.bar_id = kw.get("address", 0x100), length, tag, bar
        tlp.first_be, tlp.last_be = be
        tlp.tc, tlp.attr = TlpTc.TC3, TlpAttr.RO
        if tlp.has_data():
            tlp.data = bytearray(4 * length)
        env.device.cq_queue.put_nowait(tlp)

    unanswered = 0
    cases: list[tuple[TlpType, int, tuple[int, int], dict[str, int], int]] = [
        (TlpType.MEM_READ, 3, (15, 15), {}, 12),
        (TlpType.MEM_READ, 16, (8, 1), {}, 58),
        (TlpType.MEM_READ, 1024, (15, 15), {}, 4096),
        (TlpType.MEM_READ, 1, (15, 15), {}, 4),
        (TlpType.MEM_READ, 2, (15, 0), {}, 5),
        (TlpType.MEM_READ, 1, (15, 0), {"bar": 2}, 4),
        (TlpType.MEM_READ, 2, (15, 15), {"address": 0xFFFC}, 8),
        (TlpType.MEM_READ_LOCKED, 1, (15, 0), {}, 4),
        (TlpType.IO_READ, 1, (15, 0), {}, 4),
        (TlpType.IO_WRITE, 1, (15, 0), {}, 4),
        (TlpType.FETCH_ADD, 1, (15, 0), {}, 4),
        (TlpType.SWAP, 2, (15, 15), {}, 4),
        (TlpType.CAS, 4, (15, 15), {}, 4),
        (TlpType.MEM_WRITE, 3, (15, 15), {}, 0),
        (TlpType.MEM_WRITE, 64, (15, 15), {}, 0),
        (TlpType.MEM_WRITE, 1, (15, 0), {"bar": 1}, 0),
    ]
    for n, (kind, length, be, kw, count) in enumerate(cases):
        inject(kind, length, be, **kw)
        if count:
            cpl = await env.rc.recv_cpl(40, 5, "us")
            assert cpl is not None, f"no completion of {kind.name}"
            assert cpl.status == CplStatus.UR and cpl.length == 0 and cpl.byte_count == count, repr(cpl)
            assert (cpl.tc, cpl.attr) == (TlpTc.TC3, TlpAttr.RO)
            locked = kind == TlpType.MEM_READ_LOCKED
            assert cpl.fmt_type == (TlpType.CPL_LOCKED if locked else TlpType.CPL)
        else:
            unanswered += 1
        await env.rc.perform_posted_operation(request(env, 0x40, (15, 0), n.to_bytes(4, "little")))
        cpl = await read(env, request(env, 0x40, (15, 0)))
        assert int.from_bytes(cpl.data, "little") == n
    assert unanswered == 3
    assert env.rc.rx_cpl_queues[40].empty()
    assert {a for a, _ in env.registers.writes} == {0x40} and set(env.registers.reads) == {0x40}
    await Timer(100, "ns")
    assert env.events["unsupported"] == len(cases)
    env.check()


@cocotb.test(timeout_time=100, timeout_unit="us")
async def error_is_an_abort(dut: Any) -> None:
    """A register that answers SLVERR completes a read with CA; a write to it has no other effect."""
    env = await Env(dut).start()
    env.expect("Read operation failed", "Write operation failed")
    for be in ((15, 0), (15, 15)):
        cpl = await read(env, request(env, BAR_BROKEN, be))
        assert cpl.status == CplStatus.CA and cpl.length == 0
    await env.rc.perform_posted_operation(request(env, BAR_BROKEN, (15, 0), bytes(4)))
    cpl = await read(env, request(env, 0, (15, 0)))
    assert cpl.status == CplStatus.SC
    env.check()


@cocotb.test(timeout_time=100, timeout_unit="us")
async def discontinued_write(dut: Any) -> None:
    """A write whose payload the hard block marks as broken has no effect."""
    env = await Env(dut).start()
    tlp = Tlp_us(request(env, 0x20, (15, 15), b"\xff" * 8))
    tlp.completer_id = env.device.functions[0].pcie_id
    tlp.discontinue = True
    env.device.cq_queue.put_nowait(tlp)
    await with_timeout(settle(env), 10, "us")
    assert not env.registers.writes
    env.check()
