"""Bugs to plant in the RTL of dmmu_core, and the tests that must notice each.

A mutant is a text replacement in one file: `old` must occur exactly once, so that a change of the RTL
that makes a mutant meaningless is itself reported.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tb import build, runner


@dataclass(frozen=True)
class Mutant:
    """What is planted where, and which cocotb tests (module, name filter) must fail."""

    name: str
    file: str
    old: str
    new: str
    module: str
    tests: str
    short: bool = False


CHANNEL, CMD, FAULT, TLB, PORT = (
    "dmmu_channel.v",
    "dmmu_cmd.v",
    "dmmu_fault.v",
    "dmmu_tlb.v",
    "dmmu_tlb_port.v",
)
HITS, FAULTS, INV, HOLES = "cocotb_core_hits", "cocotb_core_faults", "cocotb_core_inv", "cocotb_core_holes"

MUTANTS = [
    Mutant(
        "completion_before_drain",
        CMD,
        "assign dq_wait = is_inv && (ok || !in_check);",
        "assign dq_wait = 1'b0;",
        HOLES,
        "hole_2|hole_4",
        short=True,
    ),
    Mutant(
        "detach_completes_before_drain",
        CMD,
        "assign dq_wait = is_inv && (ok || !in_check);",
        "assign dq_wait = is_inv && ok;",
        FAULTS,
        "detach_ends",
    ),
    Mutant(
        "permission_ignored",
        CHANNEL,
        "&& s2_perm && !s2_cov",
        "&& !s2_cov",
        HITS,
        "read_only_page",
        short=True,
    ),
    Mutant(
        "pasid_ignored_in_tag",
        PORT,
        "word[FN_W+TAG_W+:20] == cmp_pasid",
        "(word[FN_W+TAG_W+:20] == cmp_pasid || 1'b1)",
        HITS,
        "every_pasid_bit",
        short=True,
    ),
    Mutant(
        "pasid_compared_in_12_bits",
        PORT,
        "word[FN_W+TAG_W+:20] == cmp_pasid",
        "word[FN_W+TAG_W+:12] == cmp_pasid[11:0]",
        HITS,
        "every_pasid_bit",
    ),
    Mutant(
        "filter_disabled", CHANNEL, "wire s2_scope = flt_on &&", "wire s2_scope = 1'b0 &&", INV, "contract_1"
    ),
    Mutant(
        "filter_not_page_size_aware",
        CHANNEL,
        "hit_4k ? cov_4k : hit_2m ? cov_2m : cov_1g)",
        "hit_4k ? cov_4k : cov_4k)",
        INV,
        "contract_1|size_aware",
    ),
    Mutant(
        "stalled_lookup_not_repeated",
        CHANNEL,
        "s3_again <= s3_again || flt_load;",
        "s3_again <= 1'b0;",
        INV,
        "stalled|waiting",
    ),
    Mutant(
        "neighbour_killed",
        TLB,
        "assign x1_covered[w] = word[TW-1] && (inv_scope",
        "assign x1_covered[w] = word[TW-1] && (1'b1 || inv_scope",
        HOLES,
        "hole_9",
    ),
    Mutant("last_page_of_a_range_survives", TLB, "pn <= inv_end", "pn < inv_end", INV, "range_of_any_length"),
    Mutant(
        "replacement_stuck",
        TLB,
        ".req((&x1_ref) ? {WAYS{1'b1}} : ~x1_ref)",
        ".req({1'b1, {(WAYS - 1) {1'b0}}})",
        HOLES,
        "hole_5",
    ),
    Mutant(
        "use_not_recorded",
        PORT,
        "else touch_valid <= touch && hit;",
        "else touch_valid <= 1'b0;",
        HITS,
        "keeps_a_page",
    ),
    Mutant(
        "second_copy_of_a_page",
        TLB,
        "wire [WAYS-1:0] x1_way = (x1_same != {WAYS{1'b0}}) ? x1_same\n      :",
        "wire [WAYS-1:0] x1_way =",
        HITS,
        "filling_a_page_again",
    ),
    Mutant(
        "same_id_order_broken",
        CHANNEL,
        "wire s3_behind = s3_fresh ? id_parked[s3_id] : !is_head[s3_slot];",
        "wire s3_behind = 1'b0;",
        FAULTS,
        "same_id",
    ),
    Mutant(
        "error_passes_older_accesses",
        CHANNEL,
        "wire e_block = r_ends && trk_query_busy;",
        "wire e_block = 1'b0;",
        FAULTS,
        "error_waits",
    ),
    Mutant("burst_may_cross_a_page", CHANNEL, "f_last > 17'd4096;", "1'b0;", HOLES, "hole_7"),
    Mutant(
        "high_address_bits_ignored",
        CHANNEL,
        "s_axaddr[63:VA_W] != {(64 - VA_W) {1'b0}},",
        "1'b0,",
        HITS,
        "malformed",
    ),
    Mutant(
        "any_answer_matches",
        FAULT,
        "&& posted[rsp_index] && seqs[rsp_index] == rsp_seq",
        "",
        FAULTS,
        "unmatched",
    ),
    Mutant(
        "fault_lost_when_the_ring_is_full",
        FAULT,
        "wire load = !fault_valid || fault_ready;",
        "wire load = 1'b1;",
        FAULTS,
        "blocked_fault|strongest",
    ),
    Mutant(
        "misses_not_merged",
        FAULT,
        "c1_match = c1_match & rows[k*N+:N];",
        "c1_match = NONE;",
        FAULTS,
        "64_requests",
    ),
    Mutant(
        "weaker_access_ends_too",
        FAULT,
        "wire end_r = an_error && !wants_write[an_id];",
        "wire end_r = an_error;",
        FAULTS,
        "joined_reads",
    ),
    Mutant(
        "joined_write_not_asked_for_again",
        FAULT,
        "wire end_w = an_error && wants_write[an_id];",
        "wire end_w = an_error;",
        FAULTS,
        "joined_writes",
    ),
    Mutant(
        "unattached_pasid_may_fault",
        FAULT,
        "wire go_err = c2_valid && !c2_attached;",
        "wire go_err = 1'b0;",
        HITS,
        "malformed",
    ),
    Mutant(
        "detach_keeps_its_faults",
        FAULT,
        "wire det_take = det_step &&",
        "wire det_take = 1'b0 &&",
        FAULTS,
        "after_its_detach",
    ),
    Mutant(
        "reserved_bits_accepted",
        CMD,
        "reserved ? `SVM_CMD_ERROR_RESERVED",
        "1'b0 ? `SVM_CMD_ERROR_RESERVED",
        INV,
        "malformed",
    ),
    Mutant("range_end_not_checked", CMD, "|| va_over ||", "||", INV, "malformed"),
    Mutant(
        "drain_ignores_page_size",
        "dmmu_drain_scan.v",
        "((vpn | page_mask) >= start && (vpn & ~page_mask) <= last)",
        "(vpn >= start && vpn <= last)",
        HOLES,
        "hole_4",
    ),
    Mutant(
        "drain_waits_for_everything",
        "dmmu_drain_scan.v",
        "first && b_here && keeps;",
        "first && b_here;",
        INV,
        "contract_3",
    ),
    Mutant(
        "detach_waits_for_a_foreign_fault",
        "dmmu_drain_scan.v",
        "b_overlaps && (PARKED == 0 || !b_stuck)",
        "b_overlaps",
        FAULTS,
        "foreign|never_wait",
    ),
    Mutant(
        "parked_write_data_shifted",
        "dmmu_wbuf.v",
        ".rd_addr({out_at, out_beat[2:0]})",
        ".rd_addr({out_at, out_beat[2:0] ^ 3'd1})",
        FAULTS,
        "parked_write",
    ),
    Mutant(
        "fill_keeps_old_entry_bits",
        TLB,
        ".wr_word(x2_word),\n      .ref_rd_en(op_fill),\n      .ref_rd_row(x0_row),\n      .ref_rd(w_ref)",
        ".wr_word(x2_word | {{(EW - 1) {1'b0}}, 1'b1}),\n"
        "      .ref_rd_en(op_fill),\n      .ref_rd_row(x0_row),\n      .ref_rd(w_ref)",
        HITS,
        "1000|leaves",
    ),
]


def plant(mutant: Mutant, where: Path) -> Path:
    """A copy of rtl/ with the bug in it. Raises AssertionError when the text does not occur once."""
    shutil.rmtree(where, ignore_errors=True)
    shutil.copytree(runner.ROOT / "rtl", where)
    path = where / "mmu" / mutant.file
    text = path.read_text()
    assert text.count(mutant.old) == 1, f"{mutant.name}: text occurs {text.count(mutant.old)} times"
    path.write_text(text.replace(mutant.old, mutant.new))
    return where


def found_by(mutant: Mutant) -> dict[str, str]:
    """Run the mutant's tests on Icarus (it builds in a second); the tests that failed, with messages."""
    rtl = plant(mutant, build.BUILD / "mutants" / mutant.name)
    result = runner.run(
        f"tb.{mutant.module}", "icarus", {}, mutant.tests, rtl=rtl, name=f"mutant-{mutant.name}"
    )
    return result.failed
