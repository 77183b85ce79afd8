`resetall
`timescale 1ns / 1ps
`default_nettype none

// Outstanding faults of both directions: one identifier for each {PASID, 4-KiB page}; later misses merge into it.
// Open faults stand in lists, one for each value of a hash of the key.
// A miss that arrives in m is taken up in m + 1, walks its list from m + 2 and is decided in m + 4, one cycle later for
// each fault in the list after the first; its record leaves in m + 6. One miss in four cycles.
// The accesses that wait for a fault form a list too: an answer taken in u names the first in u + 1, the others one in two
// cycles. SEQ is given when the record is taken.
//
// Invariants:
// an access that was pushed is named once;
// a fault that is found but no longer open makes the miss look up again;
// the access bits are frozen when the record is loaded;
// an error ends the accesses of the strongest one;
// an identifier is free again when its accesses have been named and its record has been loaded or skipped;
// fault_valid falls without fault_ready only when a detach forgets the fault in the register.
module dmmu_fault #(
    parameter VPN_W = 36,
    parameter LOG_PARK = 6,
    parameter LOG_MSHRS = 5,
    parameter LOG_PASIDS = 4,
    parameter LOG_SETS = 8
) (
    input wire clk,
    input wire rst,
    input wire [31:0] cycle,

    // misses (room: one may come in the next cycle)
    input wire r_ms_valid,
    output wire r_ms_room,
    input wire [LOG_PARK-1:0] r_ms_slot,
    input wire [19:0] r_ms_pasid,
    input wire [VPN_W-1:0] r_ms_vpn,
    input wire [7:0] r_ms_requester,
    input wire w_ms_valid,
    output wire w_ms_room,
    input wire [LOG_PARK-1:0] w_ms_slot,
    input wire [19:0] w_ms_pasid,
    input wire [VPN_W-1:0] w_ms_vpn,
    input wire [7:0] w_ms_requester,

    // rows written in the cycle before
    input wire fill_4k,
    input wire [LOG_SETS-1:0] fill_row,
    input wire fill_big,

    // attach table: the match of att_pasid comes in the cycle after
    output wire [19:0] att_pasid,
    input wire [(1<<LOG_PASIDS)-1:0] att_match,
    input wire [(1<<LOG_PASIDS)-1:0] att_valid,

    // the access in r_rs_slot, w_rs_slot looks up again, or ends
    output reg r_rs_valid,
    input wire r_rs_ready,
    output reg w_rs_valid,
    input wire w_rs_ready,
    output reg [LOG_PARK-1:0] r_rs_slot,
    output wire [LOG_PARK-1:0] w_rs_slot,
    output reg rs_err,
    output reg rs_decerr,

    // answers: rsp_rd_* are the identifier and SEQ at the command unit's port; rsp_valid comes in the cycle after their
    // acceptance
    input wire [7:0] rsp_rd_id,
    input wire [31:0] rsp_rd_seq,
    input wire rsp_valid,
    output reg rsp_ready,
    input wire rsp_error,
    input wire rsp_decerr,

    // detach: forget the faults of an index
    input wire det_start,
    input wire [LOG_PASIDS-1:0] det_index,
    output reg det_busy,

    output reg fault_valid,
    input wire fault_ready,
    output wire [255:0] fault_data,

    output reg ev_coalesced,
    output reg ev_fault,
    output reg ev_no_mshr,
    output reg ev_response,
    output reg ev_stale,
    output reg [31:0] ev_latency
);

  localparam N = 1 << LOG_MSHRS;
  localparam P = 1 << LOG_PASIDS;
  localparam KEY_W = 20 + VPN_W;
  localparam PAIRS = (KEY_W + 1) / 2;
  // As many lists of open faults as identifiers.
  localparam HASH_W = LOG_MSHRS;
  localparam FOLDS = (KEY_W + HASH_W - 1) / HASH_W;
  localparam WAIT_W = 1 + LOG_PARK;
  localparam [LOG_MSHRS-1:0] ID_ONE = {{(LOG_MSHRS - 1) {1'b0}}, 1'b1};

  function [HASH_W-1:0] fold;
    input [KEY_W-1:0] key;
    reg [FOLDS*HASH_W-1:0] padded;
    integer n;
    begin
      padded = {{(FOLDS * HASH_W - KEY_W) {1'b0}}, key};
      fold   = {HASH_W{1'b0}};
      for (n = 0; n < FOLDS; n = n + 1) fold = fold ^ padded[n*HASH_W+:HASH_W];
    end
  endfunction

  // ------------------------------------------------------------------ tables
  // For the record; written at nf in every cycle that the identifier is free, so that a fault that opens finds them
  // written.
  (* ram_style = "distributed" *) reg [KEY_W-1:0] record_keys[0:N-1];
  (* ram_style = "distributed" *) reg [39:0] info[0:N-1];
  // Written when a fault opens. times is one cycle later than the record's.
  (* ram_style = "distributed" *) reg [KEY_W-1:0] keys[0:N-1];
  (* ram_style = "distributed" *) reg [31:0] times[0:N-1];
  (* ram_style = "distributed" *) reg [LOG_PASIDS-1:0] index[0:N-1];
  (* ram_style = "distributed" *) reg [HASH_W-1:0] hashes[0:N-1];
  (* ram_style = "distributed" *) reg [WAIT_W-1:0] first[0:N-1];
  // Written by a merge, too: {write, read}, and the access that came last.
  (* ram_style = "distributed" *) reg [1:0] wants[0:N-1];
  (* ram_style = "distributed" *) reg [WAIT_W-1:0] last[0:N-1];
  // Of an access: the one that came after it.
  (* ram_style = "distributed" *) reg [WAIT_W-1:0] after[0:(1<<WAIT_W)-1];
  // Open: opened != closed. Loaded: loaded[1] == opened; loaded[0] is the record's write bit.
  (* ram_style = "distributed" *) reg opened[0:N-1];
  (* ram_style = "distributed" *) reg closed[0:N-1];
  (* ram_style = "distributed" *) reg [1:0] loaded[0:N-1];
  (* ram_style = "distributed" *) reg [31:0] seqs[0:N-1];
  // Lists of open faults: {not empty, head}; {not the last, next}; the one before, of all but the head.
  (* ram_style = "distributed" *) reg [LOG_MSHRS:0] heads[0:(1<<HASH_W)-1];
  (* ram_style = "distributed" *) reg [LOG_MSHRS:0] nexts[0:N-1];
  (* ram_style = "distributed" *) reg [LOG_MSHRS-1:0] prevs[0:N-1];

  reg [HASH_W:0] clear_at;
  wire clearing = !clear_at[HASH_W];

  always @(posedge clk) begin
    if (rst) clear_at <= {(HASH_W + 1) {1'b0}};
    else if (clearing) clear_at <= clear_at + {{HASH_W{1'b0}}, 1'b1};
  end

  // ------------------------------------------------------------------ arrivals
  reg r_in;
  reg w_in;
  reg r_dirty;
  reg w_dirty;
  reg [LOG_PARK-1:0] r_slot;
  reg [LOG_PARK-1:0] w_slot;
  reg [7:0] r_requester;
  reg [7:0] w_requester;
  reg [KEY_W-1:0] r_key;
  reg [KEY_W-1:0] w_key;
  reg [HASH_W-1:0] r_hash;
  reg [LOG_SETS-1:0] r_row;
  reg [HASH_W-1:0] w_hash;
  reg [LOG_SETS-1:0] w_row;
  // The direction that goes next; it changes only when it has nothing or is taken.
  reg sel_w;
  reg [HASH_W-1:0] in_hash;
  wire c_open;
  wire sel_w_next = sel_w ? (w_in && !c_open) || !(r_in || r_ms_valid) : !(r_in && !c_open) && (w_in || w_ms_valid);
  wire [HASH_W-1:0] r_hash_next = r_in ? r_hash : fold({r_ms_pasid, r_ms_vpn});
  wire [HASH_W-1:0] w_hash_next = w_in ? w_hash : fold({w_ms_pasid, w_ms_vpn});

  assign r_ms_room = !r_in && !r_ms_valid && !clearing;
  assign w_ms_room = !w_in && !w_ms_valid && !clearing;

  // A row that was written in the cycle of the push is still seen behind it.
  reg row_4k;
  reg row_big;
  reg [LOG_SETS-1:0] row;
  wire r_filled = row_big || (row_4k && row == r_row);
  wire w_filled = row_big || (row_4k && row == w_row);

  always @(posedge clk) begin
    row_4k <= fill_4k;
    row_big <= fill_big;
    row <= fill_row;
    r_hash <= r_hash_next;
    w_hash <= w_hash_next;
    in_hash <= sel_w_next ? w_hash_next : r_hash_next;
    r_dirty <= r_in && (r_dirty || r_filled);
    w_dirty <= w_in && (w_dirty || w_filled);
    if (!r_in) begin
      r_slot <= r_ms_slot;
      r_requester <= r_ms_requester;
      r_key <= {r_ms_pasid, r_ms_vpn};
      r_row <= r_ms_vpn[LOG_SETS-1:0] ^ r_ms_pasid[LOG_SETS-1:0];
    end
    if (!w_in) begin
      w_slot <= w_ms_slot;
      w_requester <= w_ms_requester;
      w_key <= {w_ms_pasid, w_ms_vpn};
      w_row <= w_ms_vpn[LOG_SETS-1:0] ^ w_ms_pasid[LOG_SETS-1:0];
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      r_in <= 1'b0;
      w_in <= 1'b0;
      sel_w <= 1'b0;
    end else begin
      r_in <= r_in ? !(c_open && !sel_w) : r_ms_valid;
      w_in <= w_in ? !(c_open && sel_w) : w_ms_valid;
      sel_w <= sel_w_next;
    end
  end

  // ------------------------------------------------------------------ c: the miss that is looked up
  reg c_valid;
  reg c_write;
  reg c_dirty;
  reg c_age;
  reg [LOG_PARK-1:0] c_slot;
  reg [7:0] c_requester;
  reg [KEY_W-1:0] c_key;
  reg [HASH_W-1:0] c_hash;
  reg [LOG_SETS-1:0] c_row;
  reg att_ok;
  reg [LOG_PASIDS-1:0] att_index;
  wire [LOG_PASIDS-1:0] att_at;
  wire c_filled = row_big || (row_4k && row == c_row);
  wire told;
  // x: what is done with it.
  reg x_quick;
  reg x_tell;
  reg x_err;
  reg x_merge;
  reg x_alloc;
  reg x_wfree;

  assign c_open = !c_valid || x_quick;
  assign att_pasid = c_key[VPN_W+:20];

  encode #(
      .LOG_N(LOG_PASIDS)
  ) attached (
      .onehot(att_match),
      .index(att_at)
  );

  always @(posedge clk) begin
    if (c_open) begin
      c_write <= sel_w;
      c_dirty <= sel_w ? w_dirty || w_filled : r_dirty || r_filled;
      c_slot <= sel_w ? w_slot : r_slot;
      c_requester <= sel_w ? w_requester : r_requester;
      c_key <= sel_w ? w_key : r_key;
      c_hash <= in_hash;
      c_row <= sel_w ? w_row : r_row;
    end else if (c_filled) begin
      c_dirty <= 1'b1;
    end
    c_age <= !c_open;
    att_ok <= (att_match & att_valid) != {P{1'b0}};
    att_index <= att_at;
  end

  always @(posedge clk) begin
    if (rst) c_valid <= 1'b0;
    else if (c_open) c_valid <= sel_w ? w_in : r_in;
    else if (told) c_valid <= 1'b0;
  end

  // ------------------------------------------------------------------ walk: p reads, k compares, e has the result
  wire nf_valid;
  reg nf_free;
  wire [LOG_MSHRS-1:0] nf;
  reg p_valid;
  reg [LOG_MSHRS-1:0] p_id;
  reg k_valid;
  // p_valid or k_valid.
  reg walks;
  reg [LOG_MSHRS-1:0] k_id;
  // Its key and that of the miss, in pairs of bits.
  reg [PAIRS-1:0] k_same;
  reg e_hit;
  reg e_live;
  reg [LOG_MSHRS-1:0] e_id;
  wire [LOG_MSHRS:0] in_head = heads[in_hash];
  // The fault that opens in this cycle heads its list in the next.
  wire in_new = x_alloc && in_hash == c_hash;
  wire [LOG_MSHRS:0] p_next = nexts[p_id];
  wire [LOG_MSHRS-1:0] e_at = e_hit ? e_id : k_id;
  wire [KEY_W-1:0] p_key = keys[p_id];
  integer pair;

  always @(posedge clk) begin
    p_id <= !c_open ? p_next[LOG_MSHRS-1:0] : in_new ? nf : in_head[LOG_MSHRS-1:0];
    k_id <= p_id;
    for (pair = 0; pair < KEY_W / 2; pair = pair + 1) k_same[pair] <= p_key[pair*2+:2] == c_key[pair*2+:2];
    if (KEY_W % 2 != 0) k_same[PAIRS-1] <= p_key[KEY_W-1] == c_key[KEY_W-1];
    e_id <= e_at;
    e_live <= opened[e_at] != closed[e_at];
    if (c_open) begin
      p_valid <= in_new || in_head[LOG_MSHRS];
      walks   <= in_new || in_head[LOG_MSHRS];
      k_valid <= 1'b0;
      e_hit   <= 1'b0;
    end else begin
      p_valid <= p_valid && p_next[LOG_MSHRS];
      k_valid <= p_valid;
      walks   <= p_valid;
      e_hit   <= e_hit || (k_valid && (&k_same));
    end
  end

  // ------------------------------------------------------------------ decision
  wire rsp_taken = rsp_valid && rsp_ready;
  reg rl1;
  reg rl2;
  reg rl3;
  reg rl4;
  reg d_check;
  reg d_drain;
  // Not while a fault closes and leaves its list.
  reg hold;
  // The first fault of the list has been compared, and nothing is being done with the miss.
  reg c_ready;
  wire ripe = c_ready && (e_hit || !walks) && !hold && !rsp_taken;
  wire again = e_hit ? !e_live : c_dirty;
  wire nf_closed = closed[nf];
  wire opens = ripe && att_ok && !e_hit && !c_dirty && nf_free;
  wire [WAIT_W-1:0] c_wait = {c_write, c_slot};
  wire [LOG_MSHRS-1:0] c_id = e_hit ? e_id : nf;
  wire [1:0] c_wants = {c_write, !c_write} | (e_hit ? wants[e_id] : 2'b00);
  reg [WAIT_W-1:0] x_last;

  always @(posedge clk) begin
    if (!x_tell) x_err <= !att_ok;
    x_last <= last[e_id];
    if (nf_free) begin
      record_keys[nf] <= c_key;
      info[nf] <= {c_requester, cycle};
    end
    if (x_alloc) begin
      keys[nf] <= c_key;
      times[nf] <= cycle;
      index[nf] <= att_index;
      hashes[nf] <= c_hash;
      first[nf] <= c_wait;
    end
    if (e_hit ? x_merge : nf_free) wants[c_id] <= c_wants;
    if (x_merge || x_alloc) last[c_id] <= c_wait;
    if (x_merge) after[x_last] <= c_wait;
    if (clearing || x_alloc) opened[clearing ? clear_at[LOG_MSHRS-1:0] : nf] <= !clearing && !nf_closed;
  end

  always @(posedge clk) begin
    if (rst) begin
      nf_free <= 1'b0;
      c_ready <= 1'b0;
      x_quick <= 1'b0;
      x_tell  <= 1'b0;
      x_merge <= 1'b0;
      x_alloc <= 1'b0;
      x_wfree <= 1'b0;
    end else begin
      nf_free <= nf_valid && !opens && !x_alloc;
      c_ready <= !c_open && c_age && !x_tell && !ripe;
      x_quick <= ripe && att_ok && !again;
      x_tell  <= (x_tell && !told) || (ripe && (!att_ok || again));
      x_merge <= ripe && att_ok && !again && e_hit;
      x_alloc <= opens;
      x_wfree <= ripe && att_ok && !again && !e_hit && !nf_free;
    end
  end

  // ------------------------------------------------------------------ answers and detach: tables read, then closed
  localparam [1:0] L_IDLE = 2'd0;
  localparam [1:0] L_TURN = 2'd1;
  localparam [1:0] L_NAME = 2'd2;
  localparam [1:0] L_STEP = 2'd3;

  reg [1:0] l_state;
  reg [LOG_MSHRS-1:0] det_id;
  reg [LOG_PASIDS-1:0] d_index;
  reg [LOG_MSHRS-1:0] f_id;
  reg f_opened;
  // The fault is open and its record has been taken by the ring.
  reg f_live;
  reg f_strong;
  // The SEQ read equals the answer's, byte by byte.
  reg [3:0] f_same;
  reg [31:0] f_time;
  reg [WAIT_W-1:0] f_first;
  reg d_opened;
  reg d_mine;
  reg [WAIT_W-1:0] d_first;
  reg [LOG_MSHRS-1:0] rl_id;
  reg rl_opened;
  reg [LOG_MSHRS-1:0] out_id;

  wire [LOG_MSHRS-1:0] f_at = rsp_rd_id[LOG_MSHRS-1:0];
  wire [1:0] f_loaded = loaded[f_at];
  wire [31:0] f_seq = seqs[f_at];
  integer part;
  // An answer that has to wait keeps what was read for it, unless the answer ahead closes the fault.
  wire f_hold = rsp_valid && !rsp_ready;

  wire match = rsp_taken && f_live && (&f_same);
  wire det_hit = d_check && d_mine;
  wire fire = match || det_hit;

  always @(posedge clk) begin
    if (f_hold) begin
      if ((rl1 || rl2) && rl_id == f_id) f_live <= 1'b0;
    end else begin
      f_id <= f_at;
      f_opened <= opened[f_at];
      f_strong <= f_loaded[0];
      f_live <= opened[f_at] != closed[f_at] && f_loaded[1] == opened[f_at] && {24'd0, rsp_rd_id} < N
          && !(fault_valid && out_id == f_at);
      for (part = 0; part < 4; part = part + 1) f_same[part] <= f_seq[part*8+:8] == rsp_rd_seq[part*8+:8];
      f_first <= first[f_at];
    end
    d_opened <= opened[det_id];
    d_mine <= opened[det_id] != closed[det_id] && index[det_id] == d_index;
    d_first <= first[det_id];
    if (clearing || rl1) closed[clearing ? clear_at[LOG_MSHRS-1:0] : rl_id] <= !clearing && rl_opened;
    if (det_start) d_index <= det_index;
    f_time <= times[f_id];
    ev_latency <= cycle - f_time;
  end

  // ------------------------------------------------------------------ the accesses of a closed fault are named
  reg rl_err;
  reg rl_decerr;
  reg rl_strong;
  reg rl_give;
  reg named;
  reg was_taken;
  reg was_match;
  reg at_end;
  reg [WAIT_W-1:0] cur;
  reg [WAIT_W-1:0] cur_next;
  wire l_idle = l_state == L_IDLE;
  wire l_name = l_state == L_NAME;
  wire l_done = l_state == L_STEP && at_end;
  wire rs_free = !(r_rs_valid && !r_rs_ready) && !(w_rs_valid && !w_rs_ready);
  wire [1:0] rl_loaded = loaded[rl_id];
  wire unused_rl = &{1'b0, rl_loaded[0]};

  always @(posedge clk) begin
    if (l_idle) begin
      rl_id <= det_busy ? det_id : f_id;
      rl_opened <= det_busy ? d_opened : f_opened;
      rl_err <= rsp_error && !det_busy;
      rl_decerr <= rsp_decerr;
      rl_strong <= f_strong;
      cur <= det_busy ? d_first : f_first;
    end else if (l_state == L_STEP) begin
      cur <= cur_next;
    end
    cur_next <= after[cur];
    at_end   <= cur == last[rl_id];
    // Else the record's turn will give the identifier back.
    if (rl2) rl_give <= rl_loaded[1] == rl_opened;
    named <= l_done;
  end

  always @(posedge clk) begin
    if (rst) begin
      l_state <= L_IDLE;
      rsp_ready <= 1'b0;
      rl1 <= 1'b0;
      rl2 <= 1'b0;
      rl3 <= 1'b0;
      rl4 <= 1'b0;
      was_taken <= 1'b0;
      was_match <= 1'b0;
      ev_response <= 1'b0;
      ev_stale <= 1'b0;
    end else begin
      case (l_state)
        L_IDLE: if (fire) l_state <= (rs_free && !det_busy) ? L_TURN : L_NAME;
        L_TURN: l_state <= L_STEP;
        L_NAME: if (rs_free) l_state <= L_STEP;
        default: l_state <= at_end ? L_IDLE : L_NAME;
      endcase
      rsp_ready <= ((l_idle && !match) || l_done) && !det_start && !det_busy && !clearing;
      rl1 <= fire;
      rl2 <= rl1;
      rl3 <= rl2;
      rl4 <= rl3;
      was_taken <= rsp_taken;
      was_match <= match;
      ev_response <= was_match;
      ev_stale <= was_taken && !was_match;
    end
  end

  // It leaves its list of open faults.
  reg [HASH_W-1:0] rc_hash;
  reg [LOG_MSHRS:0] rc_next;
  reg [LOG_MSHRS-1:0] rc_prev;
  reg rc_head;
  reg [LOG_MSHRS:0] head;
  wire [HASH_W-1:0] list = x_alloc ? c_hash : rc_hash;
  wire [LOG_MSHRS:0] list_next = x_alloc ? {1'b1, nf} : rc_next;

  always @(posedge clk) begin
    rc_hash <= hashes[rl_id];
    rc_next <= nexts[rl_id];
    rc_prev <= prevs[rl_id];
    head <= heads[rl2 ? rc_hash : c_hash];
    rc_head <= head == {1'b1, rl_id};
    if (clearing || x_alloc || (rl4 && rc_head))
      heads[clearing?clear_at[HASH_W-1:0] : list] <= clearing ? {(LOG_MSHRS + 1) {1'b0}} : list_next;
    if (x_alloc || (rl4 && !rc_head)) nexts[x_alloc?nf : rc_prev] <= x_alloc ? head : rc_next;
    if (x_alloc ? head[LOG_MSHRS] : rl4 && rc_next[LOG_MSHRS])
      prevs[x_alloc?head[LOG_MSHRS-1:0] : rc_next[LOG_MSHRS-1:0]] <= x_alloc ? nf : rc_prev;
  end

  // ------------------------------------------------------------------ detach: every identifier, then who waits for one
  wire wf_valid;
  wire d_begins = det_busy && l_idle && !rsp_ready && !d_check && !d_drain;

  always @(posedge clk) begin
    if (rst) begin
      det_busy <= 1'b0;
      d_check <= 1'b0;
      d_drain <= 1'b0;
      hold <= 1'b0;
      det_id <= {LOG_MSHRS{1'b0}};
    end else begin
      d_check <= d_begins;
      hold <= fire || rl1 || rl2 || rl3 || d_begins || d_check || d_drain;
      if (det_start) det_busy <= 1'b1;
      if (d_check) begin
        det_id <= det_id + ID_ONE;
        if (det_id == {LOG_MSHRS{1'b1}}) d_drain <= 1'b1;
      end else if (d_drain) begin
        if (l_idle && !wf_valid && !wake && !r_rs_valid && !w_rs_valid) begin
          d_drain  <= 1'b0;
          det_busy <= 1'b0;
        end
      end
    end
  end

  // ------------------------------------------------------------------ accesses are named
  // Who waited for an identifier is taken from its queue first, and named when it is its turn.
  reg wake;
  reg [WAIT_W-1:0] wake_wait;
  wire [WAIT_W-1:0] wf_wait;
  wire wf_ready = !wake && (nf_free || d_drain);
  wire [WAIT_W-1:0] rs_wait = rsp_taken ? f_first : l_name ? cur : x_tell ? c_wait : wake_wait;
  wire rs_any = rsp_taken ? match : l_name || x_tell || wake;

  // The same for the other direction, inverted so that synthesis keeps it.
  reg [LOG_PARK-1:0] w_rs_not;
  assign w_rs_slot = ~w_rs_not;

  assign told = x_tell && rs_free && !rsp_taken && !l_name;

  fifo_reg #(
      .W(WAIT_W),
      .LOG_DEPTH(WAIT_W)
  ) wait_free (
      .clk(clk),
      .rst(rst),
      .in_valid(x_wfree),
      .in_data(c_wait),
      .out_valid(wf_valid),
      .out_ready(wf_ready),
      .out_data(wf_wait)
  );

  always @(posedge clk) begin
    if (!wake) wake_wait <= wf_wait;
  end

  always @(posedge clk) begin
    if (rst) wake <= 1'b0;
    else wake <= wake ? !rs_free || rsp_taken || l_name || x_tell : wf_valid && wf_ready;
  end

  always @(posedge clk) begin
    if (rs_free) begin
      r_rs_slot <= rs_wait[LOG_PARK-1:0];
      w_rs_not <= ~rs_wait[LOG_PARK-1:0];
      if (rsp_taken) rs_err <= rsp_error && f_first[LOG_PARK] == f_strong;
      else if (l_name) rs_err <= rl_err && cur[LOG_PARK] == rl_strong;
      else rs_err <= x_tell && x_err;
      rs_decerr <= rsp_taken ? rsp_decerr : !l_name || rl_decerr;
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      r_rs_valid <= 1'b0;
      w_rs_valid <= 1'b0;
    end else if (rs_free) begin
      r_rs_valid <= rs_any && !rs_wait[LOG_PARK];
      w_rs_valid <= rs_any && rs_wait[LOG_PARK];
    end
  end

  // ------------------------------------------------------------------ identifiers, records
  wire q_valid;
  wire q_opened;
  wire [LOG_MSHRS-1:0] q_id;
  wire q_live = closed[q_id] != q_opened;
  // A fault that closes in this cycle still looks open. Those that a detach closes are skipped when their accesses have been
  // named, so no record is loaded while accesses are.
  wire load = !fault_valid && !rl1 && l_idle;
  wire [1:0] q_wants = wants[q_id];
  reg taken;
  reg skipped;
  reg out_opened;
  reg [KEY_W-1:0] out_key;
  reg [39:0] out_info;
  reg [1:0] out_access;
  reg [31:0] seq;
  wire posts = fault_valid && fault_ready;

  fifo_reg #(
      .W(1 + LOG_MSHRS),
      .LOG_DEPTH(LOG_MSHRS)
  ) records (
      .clk(clk),
      .rst(rst),
      .in_valid(opens),
      .in_data({!nf_closed, nf}),
      .out_valid(q_valid),
      .out_ready(load),
      .out_data({q_opened, q_id})
  );

  pool #(
      .LOG_N(LOG_MSHRS)
  ) ids (
      .clk(clk),
      .rst(rst),
      .valid(nf_valid),
      .index(nf),
      .take(x_alloc),
      .give((named && rl_give) || skipped),
      .give_index(skipped ? out_id : rl_id)
  );

  always @(posedge clk) begin
    if (!fault_valid) begin
      out_opened <= q_opened;
      out_id <= q_id;
      out_key <= record_keys[q_id];
      out_info <= info[q_id];
      out_access <= q_wants;
    end
    taken <= q_valid && load;
    skipped <= q_valid && load && !q_live && !rst;
    if (clearing || taken)
      loaded[clearing?clear_at[LOG_MSHRS-1:0] : out_id] <= clearing ? 2'b00 : {out_opened, out_access[1]};
    if (posts) seqs[out_id] <= seq;
  end

  always @(posedge clk) begin
    if (rst) begin
      fault_valid <= 1'b0;
      seq <= 32'd0;
      ev_fault <= 1'b0;
      ev_coalesced <= 1'b0;
      ev_no_mshr <= 1'b0;
    end else begin
      if (!fault_valid) fault_valid <= q_valid && q_live && load;
      else if (fault_ready || (rl1 && rl_id == out_id)) fault_valid <= 1'b0;
      if (posts) seq <= seq + 32'd1;
      ev_fault <= posts;
      ev_coalesced <= x_merge;
      ev_no_mshr <= x_wfree;
    end
  end

  assign fault_data = {
    64'd0,
    out_info[31:0],
    seq,
    {(52 - VPN_W) {1'b0}},
    out_key[VPN_W-1:0],
    12'd0,
    24'd0,
    {(8 - LOG_MSHRS) {1'b0}},
    out_id,
    out_info[39:32],
    2'b00,
    out_access,
    out_key[VPN_W+:20]
  };

endmodule

`default_nettype wire
