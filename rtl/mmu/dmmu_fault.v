`resetall
`timescale 1ns / 1ps
`default_nettype none

// Outstanding faults of both directions: one identifier for each {PASID, 4-KiB page}; later misses merge into it.
// c1 takes a miss and compares it with every fault, c2 decides: wait, wait for a free identifier, look up again, or end
// (PASID not attached). A record leaves in c2 + 2. SEQ is given when the record is taken.
// The keys stand in RAMs by their digits: a row has a bit for each fault with that digit, and a fault matches where all its
// digits do. A fault that opens sets its bits in the cycle after, and an identifier loses its old ones before it is given
// out; both take the lookup's turn. One miss in two cycles, one that opens a fault in four.
// Invariants: an access that waits for a fault has its bit in the fault's row of waiters; a merge in the cycle of the
// answer looks up again; access bits are frozen when the record is loaded.
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

    input wire r_valid,
    output wire r_ready,
    input wire [LOG_PARK-1:0] r_slot,
    input wire [19:0] r_pasid,
    input wire [VPN_W-1:0] r_vpn,
    input wire [7:0] r_requester,
    input wire r_dirty,

    input wire w_valid,
    output wire w_ready,
    input wire [LOG_PARK-1:0] w_slot,
    input wire [19:0] w_pasid,
    input wire [VPN_W-1:0] w_vpn,
    input wire [7:0] w_requester,
    input wire w_dirty,

    // rows that a fill writes in this cycle
    input wire fill_4k,
    input wire [LOG_SETS-1:0] fill_row,
    input wire fill_big,

    // attach table: c1 query, c2 state
    output wire [19:0] att_pasid,
    input wire [(1<<LOG_PASIDS)-1:0] att_match,
    input wire [(1<<LOG_PASIDS)-1:0] att_valid,

    // verdicts on the access in rs_slot
    output wire r_rs_ready,
    output wire r_rs_wait,
    output wire r_rs_wfree,
    output wire r_rs_err,
    output wire w_rs_ready,
    output wire w_rs_wait,
    output wire w_rs_wfree,
    output wire w_rs_err,
    output wire [LOG_PARK-1:0] rs_slot,
    // answers
    output wire [(1<<LOG_PARK)-1:0] r_an_wake,
    output wire [(1<<LOG_PARK)-1:0] r_an_end,
    output wire [(1<<LOG_PARK)-1:0] w_an_wake,
    output wire [(1<<LOG_PARK)-1:0] w_an_end,
    output wire wfree_wake,

    // from the command unit: an answer (matched, then taken), or one step of a detach
    input wire [7:0] rsp_id,
    input wire [31:0] rsp_seq,
    output wire rsp_match,
    input wire rsp_take,
    input wire [LOG_MSHRS-1:0] rsp_take_id,
    input wire rsp_error,
    input wire det_step,
    input wire [LOG_MSHRS-1:0] det_id,
    input wire [LOG_PASIDS-1:0] det_index,
    input wire det_wake,

    output reg fault_valid,
    input wire fault_ready,
    output wire [255:0] fault_data,

    output wire ev_coalesced,
    output wire ev_fault,
    output wire ev_no_mshr,
    output wire [31:0] ev_latency
);

  localparam N = 1 << LOG_MSHRS;
  localparam PARK = 1 << LOG_PARK;
  localparam P = 1 << LOG_PASIDS;
  localparam KEY_W = 20 + VPN_W;
  localparam DIGIT = 4;
  localparam DIGITS = (KEY_W + DIGIT - 1) / DIGIT;
  localparam [N-1:0] ONE = {{(N - 1) {1'b0}}, 1'b1};
  localparam [N-1:0] NONE = {N{1'b0}};
  localparam [PARK-1:0] PARK_ONE = {{(PARK - 1) {1'b0}}, 1'b1};
  localparam [PARK-1:0] PARK_NONE = {PARK{1'b0}};

  reg [N-1:0] valid;
  reg [N-1:0] loaded;
  reg [N-1:0] posted;
  reg [N-1:0] wants_read;
  reg [N-1:0] wants_write;
  reg [KEY_W-1:0] keys[0:N-1];
  reg [39:0] info[0:N-1];
  reg [LOG_PASIDS-1:0] index[0:N-1];
  reg [31:0] seqs[0:N-1];
  reg [PARK-1:0] waiters_r[0:N-1];
  reg [PARK-1:0] waiters_w[0:N-1];

  // ------------------------------------------------------------------ answers
  wire [LOG_MSHRS-1:0] rsp_index = rsp_id[LOG_MSHRS-1:0];
  // The answer ahead, taken in this cycle, may free the same fault.
  assign rsp_match = {24'd0, rsp_id} < N && valid[rsp_index] && posted[rsp_index] && seqs[rsp_index] == rsp_seq
      && !(rsp_take && rsp_take_id == rsp_index);

  wire det_take = det_step && valid[det_id] && index[det_id] == det_index;
  wire an_valid = rsp_take || det_take;
  wire [LOG_MSHRS-1:0] an_id = det_step ? det_id : rsp_take_id;
  wire an_error = rsp_take && rsp_error;
  wire [N-1:0] an_oh = an_valid ? ONE << an_id : NONE;
  // The strongest access of the record ends; a weaker one looks up again.
  wire end_w = an_error && wants_write[an_id];
  wire end_r = an_error && !wants_write[an_id];
  wire [PARK-1:0] an_r = an_valid ? waiters_r[an_id] : PARK_NONE;
  wire [PARK-1:0] an_w = an_valid ? waiters_w[an_id] : PARK_NONE;
  assign r_an_wake = end_r ? PARK_NONE : an_r;
  assign r_an_end = end_r ? an_r : PARK_NONE;
  assign w_an_wake = end_w ? PARK_NONE : an_w;
  assign w_an_end = end_w ? an_w : PARK_NONE;
  wire [39:0] an_info = info[an_id];
  wire unused_info = &{1'b0, an_info[39:32]};
  assign ev_latency = cycle - an_info[31:0];

  // ------------------------------------------------------------------ c1: arbitrate, compare
  reg c2_valid;
  wire busy;
  wire [1:0] grant;
  arb_rr #(
      .N(2)
  ) turn (
      .clk(clk),
      .rst(rst),
      .req((c2_valid || busy) ? 2'b00 : {w_valid, r_valid}),
      .grant(grant),
      .advance(1'b1)
  );
  assign r_ready = grant[0];
  assign w_ready = grant[1];

  wire c1_valid = grant != 2'b00;
  wire [KEY_W-1:0] c1_key = grant[1] ? {w_pasid, w_vpn} : {r_pasid, r_vpn};
  assign att_pasid = c1_key[VPN_W+:20];

  reg c2_write;
  reg [KEY_W-1:0] c2_key;
  reg [N-1:0] c2_match;
  reg [P-1:0] c2_att;
  reg [LOG_PARK-1:0] c2_slot;
  reg [7:0] c2_requester;
  reg c2_dirty;

  wire c2_alloc;
  wire id_valid;
  wire [LOG_MSHRS-1:0] nf;
  wire [N-1:0] alloc_oh = c2_alloc ? ONE << nf : NONE;

  // Upkeep of the rows: all are emptied after rst, then set for a fault that opened, then cleared for the next identifier.
  reg [DIGIT:0] empty_row;
  reg set;
  reg [LOG_MSHRS-1:0] set_id;
  reg clean;
  wire emptying = !empty_row[DIGIT];
  wire clear = !set && id_valid && !clean;
  wire nf_valid = id_valid && clean;
  assign busy = emptying || set || clear;
  wire [KEY_W-1:0] row_key = set ? c2_key : clear ? keys[nf] : c1_key;
  wire [DIGITS*DIGIT-1:0] digits = {{(DIGITS * DIGIT - KEY_W) {1'b0}}, row_key};
  wire [N-1:0] row_oh = ONE << (set ? set_id : nf);
  wire [DIGITS*N-1:0] rows;

  genvar t;
  generate
    for (t = 0; t < DIGITS; t = t + 1) begin : gen_digit
      reg [N-1:0] row[0:(1<<DIGIT)-1];
      wire [DIGIT-1:0] digit = digits[t*DIGIT+:DIGIT];
      wire [N-1:0] now = row[digit];
      assign rows[t*N+:N] = now;
      always @(posedge clk) begin
        if (busy) row[emptying ? empty_row[DIGIT-1:0] : digit] <= emptying ? NONE : set ? now | row_oh : now & ~row_oh;
      end
    end
  endgenerate

  reg [N-1:0] c1_match;
  integer k;
  always @* begin
    c1_match = valid;
    for (k = 0; k < DIGITS; k = k + 1) c1_match = c1_match & rows[k*N+:N];
  end

  always @(posedge clk) begin
    if (c1_valid) begin
      c2_write <= grant[1];
      c2_key <= c1_key;
      c2_match <= c1_match;
      c2_att <= att_match;
      c2_slot <= grant[1] ? w_slot : r_slot;
      c2_requester <= grant[1] ? w_requester : r_requester;
      c2_dirty <= grant[1] ? w_dirty : r_dirty;
    end
    set_id <= nf;
  end

  always @(posedge clk) begin
    if (rst) begin
      empty_row <= {(DIGIT + 1) {1'b0}};
      set <= 1'b0;
      clean <= 1'b0;
    end else begin
      if (emptying) empty_row <= empty_row + {{DIGIT{1'b0}}, 1'b1};
      set <= c2_alloc;
      if (c2_alloc) clean <= 1'b0;
      else if (clear && !emptying) clean <= 1'b1;
    end
  end

  always @(posedge clk) begin
    if (rst) c2_valid <= 1'b0;
    else c2_valid <= c1_valid;
  end

  // ------------------------------------------------------------------ c2: decide
  wire [N-1:0] c2_live = c2_match & valid;
  wire c2_attached = (c2_att & att_valid) != {P{1'b0}};
  wire c2_hit = c2_live != NONE;
  wire c2_answered = (c2_live & an_oh) != NONE;
  // A fill may have come between the lookup and the decision.
  wire c2_filled = fill_big || (fill_4k && fill_row == (c2_key[LOG_SETS-1:0] ^ c2_key[VPN_W+:LOG_SETS]));
  wire c2_again = c2_answered || (!c2_hit && (c2_dirty || c2_filled));

  wire go_err = c2_valid && !c2_attached;
  wire go_ready = c2_valid && c2_attached && c2_again;
  wire go_merge = c2_valid && c2_attached && !c2_again && c2_hit;
  wire go_wfree = c2_valid && c2_attached && !c2_again && !c2_hit && !nf_valid;
  assign c2_alloc = c2_valid && c2_attached && !c2_again && !c2_hit && nf_valid;
  wire go_wait = go_merge || c2_alloc;

  wire [PARK-1:0] c2_oh = PARK_ONE << c2_slot;
  wire [PARK-1:0] c2_r_oh = c2_write ? PARK_NONE : c2_oh;
  wire [PARK-1:0] c2_w_oh = c2_write ? c2_oh : PARK_NONE;
  assign r_rs_ready = go_ready && !c2_write;
  assign r_rs_wait = go_wait && !c2_write;
  assign r_rs_wfree = go_wfree && !c2_write;
  assign r_rs_err = go_err && !c2_write;
  assign w_rs_ready = go_ready && c2_write;
  assign w_rs_wait = go_wait && c2_write;
  assign w_rs_wfree = go_wfree && c2_write;
  assign w_rs_err = go_err && c2_write;
  assign rs_slot = c2_slot;
  // A level, so that no free identifier goes unnoticed.
  assign wfree_wake = nf_valid || det_wake;

  assign ev_coalesced = go_merge;
  assign ev_no_mshr = go_wfree;

  wire [LOG_MSHRS-1:0] c2_live_id;
  wire [LOG_MSHRS-1:0] c2_id = c2_alloc ? nf : c2_live_id;
  wire [LOG_PASIDS-1:0] c2_att_index;

  encode #(
      .LOG_N(LOG_MSHRS)
  ) merged (
      .onehot(c2_live),
      .index(c2_live_id)
  );

  encode #(
      .LOG_N(LOG_PASIDS)
  ) attached (
      .onehot(c2_att),
      .index(c2_att_index)
  );

  always @(posedge clk) begin
    if (go_wait) begin
      waiters_r[c2_id] <= (c2_alloc ? PARK_NONE : waiters_r[c2_id]) | c2_r_oh;
      waiters_w[c2_id] <= (c2_alloc ? PARK_NONE : waiters_w[c2_id]) | c2_w_oh;
    end
    if (c2_alloc) begin
      keys[nf] <= c2_key;
      info[nf]  <= {c2_requester, cycle};
      index[nf] <= c2_att_index;
    end
  end

  // ------------------------------------------------------------------ records
  // Only a detach takes a fault whose record has not been loaded.
  wire [N-1:0] unsent = valid & ~loaded & ~(det_take ? an_oh : NONE);
  wire [N-1:0] send_oh;
  wire load = !fault_valid || fault_ready;
  reg [LOG_MSHRS-1:0] out_id;
  reg [1:0] out_access;
  reg [31:0] seq;
  wire [KEY_W-1:0] out_key = keys[out_id];
  wire [39:0] out_info = info[out_id];
  wire posts = fault_valid && fault_ready;

  arb_rr #(
      .N(N)
  ) order (
      .clk(clk),
      .rst(rst),
      .req(unsent),
      .grant(send_oh),
      .advance(load)
  );

  wire [LOG_MSHRS-1:0] send_id;

  encode #(
      .LOG_N(LOG_MSHRS)
  ) sent (
      .onehot(send_oh),
      .index(send_id)
  );

  assign ev_fault = posts;
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

  wire [N-1:0] load_oh = load ? send_oh : NONE;
  wire [N-1:0] open_oh = (go_merge ? c2_live & ~loaded & ~load_oh : NONE);

  always @(posedge clk) begin
    if (load) begin
      out_id <= send_id;
      out_access <= {(send_oh & wants_write) != NONE, (send_oh & wants_read) != NONE};
    end
    if (posts) seqs[out_id] <= seq;
    wants_read <= (wants_read & ~alloc_oh) | (c2_write ? NONE : alloc_oh | open_oh);
    wants_write <= (wants_write & ~alloc_oh) | (c2_write ? alloc_oh | open_oh : NONE);
  end

  // ------------------------------------------------------------------ control
  wire [N-1:0] out_oh = ONE << out_id;

  pool #(
      .LOG_N(LOG_MSHRS)
  ) ids (
      .clk(clk),
      .rst(rst),
      .valid(id_valid),
      .index(nf),
      .take(c2_alloc),
      .give(an_valid),
      .give_index(an_id)
  );

  always @(posedge clk) begin
    if (rst) begin
      valid <= NONE;
      loaded <= NONE;
      posted <= NONE;
      fault_valid <= 1'b0;
      seq <= 32'd0;
    end else begin
      valid <= (valid | alloc_oh) & ~an_oh;
      loaded <= (loaded | load_oh) & ~alloc_oh;
      posted <= (posted | (posts ? out_oh : NONE)) & ~alloc_oh;
      if (load) fault_valid <= unsent != NONE;
      else if ((an_oh & out_oh) != NONE) fault_valid <= 1'b0;
      if (posts) seq <= seq + 32'd1;
    end
  end

endmodule

`default_nettype wire
