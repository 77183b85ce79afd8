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


CHANNEL, CMD, CORE, DRAIN, FAULT = (
    "dmmu_channel.v",
    "dmmu_cmd.v",
    "dmmu_core.v",
    "dmmu_drain.v",
    "dmmu_fault.v",
)
SCAN, TLB, PORT, TRACK, WBUF, WQUEUE = (
    "dmmu_drain_scan.v",
    "dmmu_tlb.v",
    "dmmu_tlb_port.v",
    "dmmu_track.v",
    "dmmu_wbuf.v",
    "dmmu_wqueue.v",
)
HITS, FAULTS, INV, HOLES, LISTS, STRESS = (
    "cocotb_core_hits",
    "cocotb_core_faults",
    "cocotb_core_inv",
    "cocotb_core_holes",
    "cocotb_core_lists",
    "cocotb_core_stress",
)

MUTANTS = [
    Mutant(
        "completion_before_drain",
        CMD,
        "c_wait <= e_inv && !bad;",
        "c_wait <= 1'b0;",
        HOLES,
        "hole_2|hole_4",
        short=True,
    ),
    Mutant(
        "detach_completes_before_drain",
        CMD,
        "c_wait <= e_inv && !bad;",
        "c_wait <= e_inv && !bad && !e_detach;",
        FAULTS,
        "detach_ends",
    ),
    Mutant(
        "permission_ignored",
        PORT,
        "allows <= same_pasid && same_tag && word[EW-3+WRITE];",
        "allows <= same_pasid && same_tag;",
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
        "pasid_ignored_by_invalidations",
        TLB,
        "(x3_every || word[TAG_W+:LOG_PASIDS] == x3_index)",
        "1'b1",
        INV,
        "scopes|neighbours",
    ),
    Mutant(
        "effect_declared_too_early",
        CORE,
        "localparam DELAY = 8;",
        "localparam DELAY = 5;",
        LISTS,
        "contract_2_a_single",
        short=True,
    ),
    Mutant(
        "invalidation_not_page_size_aware",
        CMD,
        "e_caches <= d_fill ? 3'b001 << d_size : 3'b111;",
        "e_caches <= d_fill ? 3'b001 << d_size : 3'b001;",
        INV,
        "contract_1|size_aware",
    ),
    Mutant(
        "fill_behind_a_miss_not_seen",
        FAULT,
        "wire again = e_hit ? !e_live : c_dirty;",
        "wire again = e_hit && !e_live;",
        FAULTS,
        "fill_in_the_cycles",
    ),
    Mutant(
        "miss_without_room_forgotten",
        CHANNEL,
        "wire retry = looks && (s3_clash || (!usable && (s3_dirty || !ms_room)));",
        "wire retry = looks && (s3_clash || (!usable && s3_dirty));",
        FAULTS,
        "32_faults",
    ),
    Mutant(
        "probe_goes_to_the_bus",
        CHANNEL,
        "wire s2_holds = s2_probe || (",
        "wire s2_holds = (",
        FAULTS,
        "detach_while",
    ),
    Mutant(
        "neighbour_killed",
        TLB,
        "x4_mine & ~x4_below & ~x4_above;",
        "x4_mine;",
        HOLES,
        "hole_9",
    ),
    Mutant(
        "last_page_of_a_range_survives",
        TLB,
        "wire [LOG_SETS:0] beyond = {1'b0, op_hi[LOG_SETS-1:0]} - {1'b0, x1_low};",
        "wire [LOG_SETS:0] beyond = {1'b0, op_hi[LOG_SETS-1:0]} - {1'b0, x1_low} - 1'b1;",
        INV,
        "range_of_any_length",
    ),
    Mutant(
        "last_row_of_a_range_not_visited",
        TLB,
        ": step == span;",
        ": step + 1'b1 == span;",
        INV,
        "range_of_any_length",
    ),
    Mutant(
        "replacement_stuck",
        TLB,
        ".req((&x3_ref) ? {WAYS{1'b1}} : ~x3_ref)",
        ".req({1'b1, {(WAYS - 1) {1'b0}}})",
        HOLES,
        "hole_5",
    ),
    Mutant(
        "use_not_recorded",
        PORT,
        "s4_touch <= touch;",
        "s4_touch <= 1'b0;",
        HITS,
        "keeps_a_page",
    ),
    Mutant(
        "second_copy_of_a_page",
        TLB,
        "({WAYS{x4_go}} & x4_covered) | ({WAYS{takes}} & x4_pick);",
        "({WAYS{x4_go && !x4_fill}} & x4_covered) | ({WAYS{x4_go && x4_fill}} & x4_pick);",
        HITS,
        "filling_a_page_again",
    ),
    Mutant(
        "fill_keeps_old_entry_bits",
        TLB,
        ".wr_word(x5_word),\n      .ref_rd_en(x1_go),\n      .ref_rd_row(x1_row),\n      .ref_rd(w_ref)",
        ".wr_word(x5_word | {{(2 + 20 + TAG_W + FN_W) {1'b0}}, 1'b1}),\n"
        "      .ref_rd_en(x1_go),\n"
        "      .ref_rd_row(x1_row),\n"
        "      .ref_rd(w_ref)",
        HITS,
        "1000|leaves",
    ),
    Mutant(
        "same_id_order_broken",
        CHANNEL,
        "wire behind = s3_held || (s3_next && s4_enter);",
        "wire behind = s3_probe;",
        FAULTS,
        "same_id",
    ),
    Mutant(
        "arrival_right_behind_passes",
        CHANNEL,
        "wire behind = s3_held || (s3_next && s4_enter);",
        "wire behind = s3_held;",
        FAULTS,
        "same_id",
    ),
    Mutant(
        "arrival_two_behind_passes",
        CHANNEL,
        "|| (s4_enter && s2_under)));",
        "));",
        INV,
        "stalled|faults_and_fills",
    ),
    Mutant(
        "tail_not_forwarded",
        CHANNEL,
        "s4_tail <= (s3_after && s4_enter) ? s4_slot :",
        "s4_tail <=",
        FAULTS,
        "same_id",
    ),
    Mutant(
        "tail_of_two_ahead_missed",
        CHANNEL,
        "s3_tail <= (s2_under && (s4_enter || s4_empties)) ? {s4_enter, s4_slot} : s2_tail;",
        "s3_tail <= s2_tail;",
        INV,
        "faults_and_fills",
    ),
    Mutant(
        "permission_of_a_large_page_ignored",
        PORT,
        "assign s3_allowed[w] = &halves && perm;",
        "assign s3_allowed[w] = &halves;",
        HITS,
        "read_only_page",
    ),
    Mutant(
        "half_a_tag_of_a_large_page",
        PORT,
        "halves <= {same_pasid, same_tag};",
        "halves <= {same_pasid, 1'b1};",
        HITS,
        "tag_tells",
    ),
    Mutant(
        "next_head_not_marked",
        CHANNEL,
        "s5_set[HEAD] <= 1'b1;",
        "s5_set[HEAD] <= 1'b0;",
        FAULTS,
        "same_id",
    ),
    Mutant(
        "list_ends_under_an_arrival",
        CHANNEL,
        "s3_slot && !(s3_after && s4_enter);",
        "s3_slot;",
        INV,
        "faults_and_fills",
    ),
    Mutant(
        "arrival_behind_the_last_one_that_leaves",
        CHANNEL,
        "(s3_tail[LOG_PARK] && !(s3_after && s4_empties));",
        "s3_tail[LOG_PARK];",
        INV,
        "faults_and_fills",
    ),
    Mutant(
        "head_of_a_list_stands_still",
        CHANNEL,
        "s5_head <= (s4_enter && !s4_busy) || s4_leave;",
        "s5_head <= s4_enter && !s4_busy;",
        STRESS,
        "with_detach/round=0",
    ),
    Mutant(
        "error_passes_older_accesses",
        CHANNEL,
        "u_state <= trk_query_busy ? U_HAND : U_SEND;\n          eu_valid <= trk_query_busy;",
        "u_state <= U_SEND;\n          eu_valid <= 1'b0;",
        FAULTS,
        "error_waits",
    ),
    Mutant(
        "wake_lost_when_s0_is_taken",
        CHANNEL,
        "wire direct = e_wake && e_read && take;",
        "wire direct = e_wake && e_read;",
        INV,
        "faults_and_fills",
    ),
    Mutant(
        "looked_up_before_its_data",
        CHANNEL,
        "s5_set <= {WRITE == 0, !s4_busy,",
        "s5_set <= {1'b1, !s4_busy,",
        FAULTS,
        "parked_write|long_parked",
    ),
    Mutant(
        "slot_given_back_twice",
        CHANNEL,
        ".give(leaves),",
        ".give(leaves || s4_waits),",
        INV,
        "stalled|faults_and_fills",
    ),
    Mutant(
        "bus_places_not_counted",
        CHANNEL,
        "&& bus_used < {2'b01, {(LOG_BUS - 1) {1'b0}}} &&",
        "&&",
        INV,
        "stalled",
    ),
    Mutant(
        "bus_place_of_a_miss_kept",
        CHANNEL,
        "- {{LOG_BUS{1'b0}}, s4_drop} - {{LOG_BUS{1'b0}}, bus_left};",
        "- {{LOG_BUS{1'b0}}, bus_left};",
        FAULTS,
        "64_requests",
    ),
    Mutant(
        "burst_may_cross_a_page",
        CHANNEL,
        ": s2_last[15:12] != 4'd0);",
        ": 1'b0);",
        HOLES,
        "hole_7",
    ),
    Mutant(
        "high_address_bits_ignored",
        CHANNEL,
        "s_axaddr[63:VA_W] != {(64 - VA_W) {1'b0}};",
        "1'b0;",
        HITS,
        "malformed",
    ),
    Mutant(
        "any_answer_matches",
        FAULT,
        "&& f_loaded[1] == f_opened && !f_unsent && (&f_same)",
        "",
        FAULTS,
        "unmatched",
    ),
    Mutant(
        "answer_matches_twice",
        FAULT,
        "if ((rl1 || rl2) && rl_id == f_id) f_closed <= f_opened;",
        "",
        FAULTS,
        "unmatched",
    ),
    Mutant(
        "fault_lost_when_the_ring_is_full",
        FAULT,
        "wire load = !fault_valid && !rl1 &&",
        "wire load = !rl1 &&",
        FAULTS,
        "blocked_fault|strongest",
    ),
    Mutant(
        "misses_not_merged",
        FAULT,
        "e_hit   <= e_hit || (k_valid && k_key == c_key);",
        "e_hit   <= 1'b0;",
        FAULTS,
        "64_requests",
    ),
    Mutant(
        "list_of_faults_cut",
        FAULT,
        "p_valid <= p_valid && p_next[LOG_MSHRS];",
        "p_valid <= 1'b0;",
        STRESS,
        "host/round=0",
    ),
    Mutant(
        "closed_fault_stays_in_its_list",
        FAULT,
        "rc_head <= head == {1'b1, rl_id};",
        "rc_head <= 1'b0;",
        FAULTS,
        "success_without",
    ),
    Mutant(
        "record_without_the_joined_write",
        FAULT,
        "if (e_hit ? x_merge : nf_free) wants[c_id] <= c_wants;",
        "if (!e_hit && nf_free) wants[c_id] <= c_wants;",
        FAULTS,
        "strongest",
    ),
    Mutant(
        "weaker_access_ends_too",
        FAULT,
        "rl_err && cur[LOG_PARK] == rl_strong;",
        "rl_err && (rl_strong || !cur[LOG_PARK]);",
        FAULTS,
        "joined_reads",
    ),
    Mutant(
        "joined_write_not_asked_for_again",
        FAULT,
        "rl_err && cur[LOG_PARK] == rl_strong;",
        "rl_err && (cur[LOG_PARK] || !rl_strong);",
        FAULTS,
        "joined_writes",
    ),
    Mutant(
        "waits_for_an_identifier_for_ever",
        FAULT,
        "wire wf_ready = !wake && (nf_free || d_drain);",
        "wire wf_ready = !wake && d_drain;",
        FAULTS,
        "32_faults",
    ),
    Mutant(
        "wake_lost_behind_an_answer",
        FAULT,
        "wake ? !rs_free || rsp_taken || l_name || x_tell :",
        "wake ? !rs_free || x_tell :",
        FAULTS,
        "more_pages|32_faults",
    ),
    Mutant(
        "unattached_pasid_may_fault",
        FAULT,
        "att_ok <= (att_match & att_valid) != {P{1'b0}};",
        "att_ok <= 1'b1;",
        HITS,
        "malformed",
    ),
    Mutant(
        "detach_keeps_its_faults",
        FAULT,
        "wire det_hit = d_check &&",
        "wire det_hit = 1'b0 &&",
        FAULTS,
        "after_its_detach",
    ),
    Mutant(
        "detach_keeps_the_record_that_waits",
        FAULT,
        "else if (fault_ready || (rl1 && rl_id == out_id)) fault_valid",
        "else if (fault_ready) fault_valid",
        FAULTS,
        "after_its_detach",
    ),
    Mutant(
        "kill_scan_skips_slots",
        CHANNEL,
        "x_parked <= parked[x_slot];",
        "x_parked <= parked[x_slot] && x_slot[0];",
        FAULTS,
        "foreign_access_ahead",
    ),
    Mutant(
        "detach_waits_for_a_foreign_fault",
        CHANNEL,
        "if (f_bits[1:0] != 2'd0 || x_moved) x_waits <= 1'b1;",
        "x_waits <= 1'b1;",
        FAULTS,
        "foreign|never_wait",
    ),
    Mutant(
        "reserved_bits_accepted",
        CMD,
        "e_reserved ? 3'd2",
        "1'b0 ? 3'd2",
        INV,
        "malformed",
    ),
    Mutant(
        "range_end_not_checked",
        CMD,
        "va_over <= e_pages && va_page[VPN_W];",
        "va_over <= 1'b0;",
        INV,
        "malformed",
    ),
    Mutant(
        "drain_ignores_page_size",
        SCAN,
        "c_size <= size;",
        "c_size <= 2'd0;",
        HOLES,
        "hole_4",
    ),
    Mutant(
        "drain_waits_for_everything",
        SCAN,
        "wire covers = e_before && (e_all || (e_pasid && (e_whole || (!e_after && e_reach))));",
        "wire covers = e_before;",
        INV,
        "contract_3",
    ),
    Mutant(
        "drain_skips_the_first_slot",
        SCAN,
        "wire at_end = at == ZERO;",
        "wire at_end = at[LOG_SLOTS:1] == ZERO[LOG_SLOTS:1];",
        HOLES,
        "hole_2",
    ),
    Mutant(
        "event_lost_when_the_ring_is_full",
        DRAIN,
        "wire room = !h_reports || !event_valid;",
        "wire room = 1'b1;",
        INV,
        "full_event_ring",
    ),
    Mutant(
        "drain_queue_overflows",
        DRAIN,
        "dq_ready <= !((&count[LOG_QUEUE-1:1]) && (count[0] || push));",
        "dq_ready <= 1'b1;",
        INV,
        "more_than_32",
    ),
    Mutant(
        "answers_of_an_id_in_a_row_free_one_cell",
        TRACK,
        "f_after_h ? h_next : f_after_g",
        "f_after_g",
        FAULTS,
        "error_waits",
    ),
    Mutant(
        "parked_write_data_shifted",
        WBUF,
        "read_at <= {out_chunk, out_off};",
        "read_at <= {out_chunk, out_off ^ 3'd1};",
        FAULTS,
        "parked_write",
    ),
    Mutant(
        "room_of_a_forwarded_write_kept",
        WBUF,
        "{1'b0, {5{forwarded}} & c_len[7:3]} + {5'd0, forwarded} + {5'd0, give};",
        "{5'd0, give};",
        HITS,
        "1000",
    ),
    Mutant(
        "detach_stays_in_the_attach_table",
        CMD,
        "(e_detach || (e_attach && !x_attached));",
        "(e_attach && !x_attached);",
        FAULTS,
        "detach_ends",
    ),
    Mutant(
        "new_words_pass_those_behind_the_front",
        WQUEUE,
        "spill <= spill ? !low || back_some || in_valid || read_1 : !low;",
        "spill <= !low;",
        FAULTS,
        "64_writes|parked_write|more_pages",
    ),
    Mutant(
        "row_clash_not_seen",
        CHANNEL,
        "s2_clash <= before_big || (before_4k && before_row == s1_row);",
        "s2_clash <= wr_big;",
        LISTS,
        "filling_a_page_in_use",
    ),
    Mutant(
        "large_row_clash_not_seen",
        CHANNEL,
        "s2_clash <= before_big || (before_4k",
        "s2_clash <= (before_4k",
        LISTS,
        "filling_a_page_in_use",
    ),
    Mutant(
        "dirty_miss_not_looked_up_again",
        CHANNEL,
        "s3_dirty <= s2_clash || s2_dirty || wr_big || (wr_4k && wr_row == s2_row);",
        "s3_dirty <= s2_clash;",
        LISTS,
        "saw_no_fill",
    ),
    Mutant(
        "tracker_places_not_counted",
        CHANNEL,
        "go <= !trk_next[LOG_TRACK] &&",
        "go <=",
        LISTS,
        "more_accesses_in_flight",
    ),
    Mutant(
        "long_burst_reserves_one_chunk",
        WBUF,
        "{{(LOG_CHUNKS - 4) {cr_accept}}, {5{cr_accept}} & ~cr_len[7:3]};",
        "{(LOG_CHUNKS + 1) {cr_accept}};",
        LISTS,
        "many_long_parked",
    ),
    Mutant(
        "identifier_given_back_twice",
        FAULT,
        ".give((named && rl_give) || skipped),",
        ".give(named || skipped),",
        LISTS,
        "identifiers_of_records",
    ),
    Mutant(
        "mark_taken_off_twice",
        TRACK,
        "off_to <= !clear && g_set;",
        "off_to <= 1'b0;",
        LISTS,
        "responses_of_an_id",
    ),
    Mutant(
        "fault_leaves_its_list_with_the_rest",
        FAULT,
        "clearing ? {(LOG_MSHRS + 1) {1'b0}} : list_next;",
        "(clearing || !x_alloc) ? {(LOG_MSHRS + 1) {1'b0}} : list_next;",
        LISTS,
        "faults_of_one_hash",
    ),
    Mutant(
        "detach_does_not_wait_for_its_parked_accesses",
        DRAIN,
        "&& (kill_clear || !h_detach);",
        ";",
        LISTS,
        "detach_completes_after",
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
