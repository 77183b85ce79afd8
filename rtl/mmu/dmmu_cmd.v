`resetall
`timescale 1ns / 1ps
`default_nettype none
`include "svm_defs.vh"

// Commands, one at a time and in ring order: check, run, and hand to dmmu_drain what has to be waited for or reported.
// A command accepted in cycle t is checked in t + 1. RESPOND, ATTACH and FENCE end there. FILL presents a page to the caches
// every second cycle from t + 1. An invalidation loads the filter in t + 1 (visible in t + 2, no lookup uses a covered
// translation from t + 3 on) and visits each covered row once, one a cycle, in all three caches side by side.
// Invariant: the filter stays until no lookup can still hold a row as it was before the visit; the next command is
// checked only after the last row of this one has been written.
module dmmu_cmd #(
    parameter VA_W = 48,
    parameter PA_W = 48,
    parameter LOG_SETS_4K = 8,
    parameter LOG_SETS_2M = 4,
    parameter LOG_SETS_1G = 1,
    parameter LOG_MSHRS = 5,
    parameter LOG_PASIDS = 4
) (
    input wire clk,
    input wire rst,
    input wire enable,
    input wire [31:0] cycle,

    input wire cmd_valid,
    output wire cmd_ready,
    input wire [255:0] cmd_data,
    input wire [15:0] cmd_index,

    // caches, x0
    output wire [2:0] op_fill,
    output wire [2:0] op_inv,
    output wire [VA_W-13:0] op_pn_4k,
    output wire [VA_W-22:0] op_pn_2m,
    output wire [VA_W-31:0] op_pn_1g,
    output wire [19:0] op_pasid,
    output wire [PA_W-13:0] op_fn,
    output wire [1:0] op_perm,

    output reg flt_on,
    output reg flt_load,
    output reg [1:0] flt_scope,
    output reg [19:0] flt_pasid,
    output reg [VA_W-13:0] flt_start,
    output reg [VA_W-13:0] flt_end,

    // faults: an answer is matched in decode and taken in check
    output wire [7:0] rsp_id,
    output wire [31:0] rsp_seq,
    input wire rsp_match,
    output wire rsp_take,
    output wire [LOG_MSHRS-1:0] rsp_take_id,
    output wire rsp_error,
    output wire rsp_decerr,
    output reg det_step,
    output reg [LOG_MSHRS-1:0] det_id,
    output wire [LOG_PASIDS-1:0] det_index,
    output wire det_wake,

    // attach table
    input wire [19:0] att_pasid,
    output wire [(1<<LOG_PASIDS)-1:0] att_match,
    output reg [(1<<LOG_PASIDS)-1:0] att_valid,

    // to dmmu_drain
    output wire dq_valid,
    input wire dq_ready,
    output wire dq_wait,
    output wire dq_detach,
    output wire [1:0] dq_scope,
    output wire [19:0] dq_pasid,
    output wire [VA_W-13:0] dq_start,
    output wire [VA_W-13:0] dq_end,
    output wire dq_complete,
    output wire [7:0] dq_error,
    output wire [15:0] dq_tag,
    output wire [15:0] dq_index,
    output wire [7:0] dq_op,
    output wire [31:0] dq_effect,

    output wire ev_response,
    output wire ev_stale,
    output wire ev_invalidate,
    output wire ev_error
);

  localparam VPN_W = VA_W - 12;
  localparam FN_W = PA_W - 12;
  localparam P = 1 << LOG_PASIDS;
  localparam [P-1:0] P_ONE = {{(P - 1) {1'b0}}, 1'b1};
  localparam MAX_A = (LOG_SETS_4K > LOG_MSHRS) ? LOG_SETS_4K : LOG_MSHRS;
  localparam MAX_B = (LOG_SETS_2M > LOG_SETS_1G) ? LOG_SETS_2M : LOG_SETS_1G;
  localparam K_W = ((MAX_A > MAX_B) ? MAX_A : MAX_B) + 2;

  localparam [K_W-1:0] K_ONE = {{(K_W - 1) {1'b0}}, 1'b1};
  localparam [K_W-1:0] DET_FIRST = K_ONE << 1;
  localparam [K_W-1:0] DET_END = (K_ONE << LOG_MSHRS) + DET_FIRST;

  localparam [1:0] SCOPE_RANGE = 2'd0;
  localparam [1:0] SCOPE_PASID = 2'd1;
  localparam [1:0] SCOPE_ALL = 2'd2;

  localparam [2:0] S_CHECK = 3'd0;
  localparam [2:0] S_FILL = 3'd1;
  localparam [2:0] S_FILL_END = 3'd2;
  localparam [2:0] S_INV = 3'd3;
  localparam [2:0] S_INV_END = 3'd4;

  // ------------------------------------------------------------------ decode
  reg d_valid;
  reg [255:0] d;
  // npages - 1, and npages = 0.
  reg [51:0] d_more;
  reg d_none;
  reg [15:0] d_index;
  reg c_valid;
  reg [2:0] state;
  wire c_last;
  wire d_move = !c_valid || c_last;

  // A command enters when it can be checked in the cycle after next: behind one that takes a single cycle, or when the one in
  // the command register is about to end.
  wire d_short;
  wire c_ends_next;
  assign cmd_ready = enable && (d_valid ? d_move && d_short : d_move || c_ends_next);

  always @(posedge clk) begin
    if (cmd_ready) begin
      d <= cmd_data;
      {d_none, d_more} <= {1'b0, cmd_data[`SVM_CMD_NPAGES_F]} - 53'd1;
      d_index <= cmd_index;
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      d_valid <= 1'b0;
      c_valid <= 1'b0;
    end else begin
      if (cmd_ready) d_valid <= cmd_valid;
      else if (d_move) d_valid <= 1'b0;
      if (d_move) c_valid <= d_valid;
    end
  end

  wire [7:0] d_op = d[`SVM_CMD_OP_F];
  wire [1:0] d_size = d[`SVM_CMD_SIZE_F];
  wire [3:0] d_code = d[`SVM_CMD_CODE_F];
  wire [63:0] d_va = d[`SVM_CMD_VA_F];
  wire [63:0] d_pa = d[`SVM_CMD_PA_F];
  wire d_fill = d_op == `SVM_OP_FILL;
  wire d_respond = d_op == `SVM_OP_RESPOND;
  wire d_range = d_op == `SVM_OP_INVALIDATE;
  wire d_all = d_op == `SVM_OP_INVALIDATE_ALL;
  wire d_attach = d_op == `SVM_OP_ATTACH;
  wire d_detach = d_op == `SVM_OP_DETACH;
  wire d_inv = d_range || d_all || d_detach || d_op == `SVM_OP_INVALIDATE_PASID;
  wire d_pages = d_fill || d_range;
  assign d_short = !d_fill && !d_inv;

  wire [1:0] d_shift = (d_fill && d_size != 2'd3) ? d_size : 2'd0;
  wire [17:0] low = (d_shift == 2'd2) ? 18'h3ffff : (d_shift == 2'd1) ? 18'h001ff : 18'h00000;
  wire misaligned = d_va[11:0] != 12'd0 || (d_va[29:12] & low) != 18'd0
      || (d_fill && (d_pa[11:0] != 12'd0 || (d_pa[29:12] & low) != 18'd0));
  // First and last page in units of the page size; a page beyond the address space shows in the bits above it.
  wire [51:0] va_first = (d_shift == 2'd2) ? {18'd0, d_va[63:30]}
      : (d_shift == 2'd1) ? {9'd0, d_va[63:21]} : d_va[63:12];
  wire [51:0] pa_first = (d_shift == 2'd2) ? {18'd0, d_pa[63:30]}
      : (d_shift == 2'd1) ? {9'd0, d_pa[63:21]} : d_pa[63:12];
  wire reserved = d[15:9] != 7'd0 || d[63:60] != 4'd0 || d[255:244] != 12'd0;
  wire bad_op = !(d_fill || d_respond || d_inv || d_attach || d_op == `SVM_OP_FENCE);
  // The upper part of npages is in d_more.
  wire unused_d = &{1'b0, d[243:232]};
  wire bad_code = d_code != `SVM_CODE_SUCCESS && d_code != `SVM_CODE_INVALID && d_code != `SVM_CODE_FAILURE;

  assign rsp_id  = d[`SVM_CMD_FAULT_F];
  assign rsp_seq = d[`SVM_CMD_SEQ_F];

  // ------------------------------------------------------------------ command register
  reg [15:0] c_index;
  reg [15:0] c_tag;
  reg [7:0] c_op;
  reg c_complete;
  reg [19:0] c_pasid;
  reg [1:0] c_size;
  reg [1:0] c_shift;
  reg [1:0] c_perm;
  reg is_fill;
  reg is_answer;
  reg is_range;
  reg is_all;
  reg is_attach;
  reg is_detach;
  reg is_inv;
  reg c_pages;
  reg c_none;
  reg [VPN_W-1:0] c_first;
  reg [FN_W-1:0] c_fn;
  reg [52:0] va_last;
  reg [52:0] pa_last;
  // Errors that come before and after those of the count in order of precedence.
  reg [7:0] c_early;
  reg [7:0] c_late;
  reg c_matched;
  reg c_error;
  reg c_decerr;
  reg [LOG_MSHRS-1:0] c_fault;

  always @(posedge clk) begin
    if (d_move) begin
      c_index <= d_index;
      c_tag <= d[`SVM_CMD_TAG_F];
      c_op <= d_op;
      c_complete <= d[8];
      c_pasid <= d[`SVM_CMD_PASID_F];
      c_size <= d_size;
      c_shift <= d_shift;
      c_perm <= d[`SVM_CMD_PERM_F];
      is_fill <= d_fill;
      // An answer that is well-formed: neither pages nor the attach table can make it wrong.
      is_answer <= d_respond && !reserved && !bad_code;
      is_range <= d_range;
      is_all <= d_all;
      is_attach <= d_attach;
      is_detach <= d_detach;
      is_inv <= d_inv;
      c_pages <= d_pages;
      c_none <= d_none;
      // An invalidation without a range covers every page.
      c_first <= d_pages ? va_first[VPN_W-1:0] : {VPN_W{1'b0}};
      c_fn <= pa_first[FN_W-1:0];
      va_last <= d_pages ? {1'b0, va_first} + {1'b0, d_more} : {53{1'b1}};
      pa_last <= {1'b0, pa_first} + {1'b0, d_more};
      c_early <= bad_op ? `SVM_CMD_ERROR_OPCODE
          : reserved ? `SVM_CMD_ERROR_RESERVED
          : (d_pages && misaligned) ? `SVM_CMD_ERROR_ALIGNMENT
          : 8'd0;
      c_late <= (d_fill && d_size == 2'd3) ? `SVM_CMD_ERROR_SIZE
          : (d_fill && d[`SVM_CMD_PERM_F] == 2'd0) ? `SVM_CMD_ERROR_PERM
          : (d_respond && bad_code) ? `SVM_CMD_ERROR_CODE
          : 8'd0;
      c_matched <= rsp_match;
      c_error <= d_code != `SVM_CODE_SUCCESS;
      c_decerr <= d_code == `SVM_CODE_FAILURE;
      c_fault <= rsp_id[LOG_MSHRS-1:0];
    end
  end

  // ------------------------------------------------------------------ attach table
  reg [19:0] att_pasids[0:P-1];
  reg [P-1:0] c_match;
  reg [P-1:0] q_match;
  integer p;
  always @* begin
    for (p = 0; p < P; p = p + 1) begin
      c_match[p] = att_valid[p] && att_pasids[p] == c_pasid;
      q_match[p] = att_valid[p] && att_pasids[p] == att_pasid;
    end
  end
  assign att_match = q_match;

  wire c_attached = c_match != {P{1'b0}};
  wire [P-1:0] att_free = ~att_valid;
  wire [P-1:0] att_pick = att_free & (~att_free + P_ONE);

  // ------------------------------------------------------------------ check
  wire va_over = va_last[52:VPN_W] != 0 || (c_shift != 2'd0 && va_last[VPN_W-1-:9] != 9'd0)
      || (c_shift == 2'd2 && va_last[VPN_W-10-:9] != 9'd0);
  wire pa_over = pa_last[52:FN_W] != 0 || (c_shift != 2'd0 && pa_last[FN_W-1-:9] != 9'd0)
      || (c_shift == 2'd2 && pa_last[FN_W-10-:9] != 9'd0);
  wire unused_pa_last = &{1'b0, pa_last[FN_W-19:0]};
  wire bad_count = c_pages && (c_none || va_over || (is_fill && pa_over));
  wire not_attached = (is_fill || is_detach) && !c_attached;
  wire table_full = is_attach && !c_attached && (&att_valid);

  wire [7:0] error = (c_early != 8'd0) ? c_early
      : bad_count ? `SVM_CMD_ERROR_COUNT
      : (c_late != 8'd0) ? c_late
      : not_attached ? `SVM_CMD_ERROR_NOT_ATTACHED
      : table_full ? `SVM_CMD_ERROR_TABLE_FULL
      : 8'd0;
  wire ok = c_early == 8'd0 && c_late == 8'd0 && !bad_count && !not_attached && !table_full;

  // A command that reports or drains is checked when there is room for that, so that nothing half done waits.
  wire in_check = state == S_CHECK;
  wire check = c_valid && in_check && (dq_ready || (ok && !is_inv && !c_complete));
  wire start = check && ok;
  wire start_fill = start && is_fill;
  wire start_inv = start && is_inv;
  wire start_answer = c_valid && in_check && is_answer && (dq_ready || !c_complete);

  // ------------------------------------------------------------------ pages: of a fill, or of an invalidation's walk
  reg phase;
  reg [VPN_W-1:0] pn_4k;
  reg [VPN_W-10:0] pn_2m;
  reg [VPN_W-19:0] pn_1g;
  reg [FN_W-1:0] fill_fn;
  wire fill_x0 = state == S_FILL && phase;
  wire fill_ends = pn_4k == va_last[VPN_W-1:0];

  // ------------------------------------------------------------------ invalidate
  wire [1:0] c_scope = is_range ? SCOPE_RANGE : is_all ? SCOPE_ALL : SCOPE_PASID;
  wire walks = state == S_INV;
  reg [K_W-1:0] step;
  reg [LOG_SETS_4K-1:0] end_4k;
  reg [LOG_SETS_2M-1:0] end_2m;
  reg [LOG_SETS_1G-1:0] end_1g;
  wire [VPN_W-1:0] span_4k = va_last[VPN_W-1:0] - c_first;
  wire [VPN_W-10:0] span_2m = va_last[VPN_W-1:9] - c_first[VPN_W-1:9];
  wire [VPN_W-19:0] span_1g = va_last[VPN_W-1:18] - c_first[VPN_W-1:18];
  wire more_4k = step <= {{(K_W - LOG_SETS_4K) {1'b0}}, end_4k};
  wire more_2m = step <= {{(K_W - LOG_SETS_2M) {1'b0}}, end_2m};
  wire more_1g = step <= {{(K_W - LOG_SETS_1G) {1'b0}}, end_1g};
  // A detach visits the faults two cycles behind: by then no miss can open another one.
  wire [K_W-1:0] next_step = step + K_ONE;
  wire walk_ends = step >= {{(K_W - LOG_SETS_4K) {1'b0}}, end_4k} && step >= {{(K_W - LOG_SETS_2M) {1'b0}}, end_2m}
      && step >= {{(K_W - LOG_SETS_1G) {1'b0}}, end_1g} && !(is_detach && next_step < DET_END);

  always @(posedge clk) begin
    if (in_check) begin
      // The last row to visit in each cache.
      end_4k <= (span_4k[VPN_W-1:LOG_SETS_4K] != 0) ? {LOG_SETS_4K{1'b1}} : span_4k[LOG_SETS_4K-1:0];
      end_2m <= (span_2m[VPN_W-10:LOG_SETS_2M] != 0) ? {LOG_SETS_2M{1'b1}} : span_2m[LOG_SETS_2M-1:0];
      end_1g <= (span_1g[VPN_W-19:LOG_SETS_1G] != 0) ? {LOG_SETS_1G{1'b1}} : span_1g[LOG_SETS_1G-1:0];
      pn_4k <= c_first;
      pn_2m <= is_fill ? c_first[VPN_W-10:0] : c_first[VPN_W-1:9];
      pn_1g <= is_fill ? c_first[VPN_W-19:0] : c_first[VPN_W-1:18];
      fill_fn <= c_fn;
      step <= {K_W{1'b0}};
    end else if (walks || fill_x0) begin
      pn_4k <= pn_4k + {{(VPN_W - 1) {1'b0}}, 1'b1};
      pn_2m <= pn_2m + {{(VPN_W - 10) {1'b0}}, 1'b1};
      pn_1g <= pn_1g + {{(VPN_W - 19) {1'b0}}, 1'b1};
      fill_fn <= fill_fn + {{(FN_W - 1) {1'b0}}, 1'b1};
      step <= next_step;
    end
  end

  reg [P-1:0] det_match;
  wire [K_W-1:0] det_k = next_step - DET_FIRST;
  wire unused_det_k = &{1'b0, det_k[K_W-1:LOG_MSHRS]};
  always @(posedge clk) begin
    det_id <= det_k[LOG_MSHRS-1:0];
    if (rst) det_step <= 1'b0;
    else det_step <= walks && is_detach && next_step >= DET_FIRST && next_step < DET_END;
  end

  encode #(
      .LOG_N(LOG_PASIDS)
  ) detached (
      .onehot(det_match),
      .index(det_index)
  );

  assign op_fill = fill_x0 ? 3'b001 << c_size : 3'b000;
  assign op_inv = walks ? {more_1g, more_2m, more_4k} : 3'b000;
  assign op_pn_4k = pn_4k;
  assign op_pn_2m = pn_2m;
  assign op_pn_1g = pn_1g;
  assign op_pasid = c_pasid;
  assign op_fn = fill_fn;
  assign op_perm = c_perm;

  // ------------------------------------------------------------------ responses
  assign rsp_take = start_answer && c_matched;
  assign rsp_take_id = c_fault;
  assign rsp_error = c_error;
  assign rsp_decerr = c_decerr;
  assign ev_response = rsp_take;
  assign ev_stale = start_answer && !c_matched;
  assign ev_invalidate = start_inv;
  assign ev_error = check && !ok;

  // ------------------------------------------------------------------ sequence
  assign c_ends_next = (fill_x0 && fill_ends) || (state == S_INV_END && phase);
  wire end_fill = state == S_FILL_END;
  wire end_inv = state == S_INV_END && !phase;
  assign c_last = (check && !start_fill && !start_inv) || (end_fill && (dq_ready || !c_complete))
      || (end_inv && (!is_detach || dq_ready));
  assign det_wake = end_inv && is_detach;

  assign dq_valid = (check && !ok) || (start && !is_fill && !is_detach && (is_inv || c_complete))
      || ((end_inv && is_detach) || (end_fill && c_complete));
  assign dq_wait = is_inv && (ok || !in_check);
  assign dq_detach = is_detach && (ok || !in_check);
  assign dq_scope = c_scope;
  assign dq_pasid = c_pasid;
  assign dq_start = c_first;
  assign dq_end = va_last[VPN_W-1:0];
  assign dq_complete = c_complete;
  assign dq_error = in_check ? error : 8'd0;
  assign dq_tag = c_tag;
  assign dq_index = c_index;
  assign dq_op = c_op;
  reg [31:0] effect;
  assign dq_effect = (in_check && ok && is_inv) ? cycle + 32'd2 : (!in_check && is_detach) ? effect : cycle;

  always @(posedge clk) begin
    if (start_inv) begin
      flt_scope <= c_scope;
      flt_pasid <= c_pasid;
      flt_start <= c_first;
      flt_end <= va_last[VPN_W-1:0];
      det_match <= c_match;
      effect <= cycle + 32'd2;
    end
  end

  reg flt_tail;

  always @(posedge clk) begin
    if (rst) begin
      state <= S_CHECK;
      phase <= 1'b0;
      flt_on <= 1'b0;
      flt_load <= 1'b0;
      flt_tail <= 1'b0;
    end else begin
      flt_load <= start_inv;
      flt_tail <= end_inv;
      if (start_inv) flt_on <= 1'b1;
      else if (flt_tail) flt_on <= 1'b0;
      case (state)
        S_CHECK: begin
          // x0 of a fill in the next cycle.
          phase <= 1'b1;
          if (start_fill) state <= S_FILL;
          else if (start_inv) state <= S_INV;
        end
        S_FILL: begin
          phase <= !phase;
          if (phase && fill_ends) state <= S_FILL_END;
        end
        S_INV: begin
          // x1 and x2 of the last row follow.
          if (walk_ends) state <= S_INV_END;
        end
        S_FILL_END, S_INV_END: begin
          phase <= 1'b0;
          if (c_last) state <= S_CHECK;
        end
        default: state <= S_CHECK;
      endcase
    end
  end

  // ------------------------------------------------------------------ attach and detach
  integer a;
  always @(posedge clk) begin
    if (start && is_attach && !c_attached) begin
      for (a = 0; a < P; a = a + 1) if (att_pick[a]) att_pasids[a] <= c_pasid;
    end
  end

  always @(posedge clk) begin
    if (rst) att_valid <= {P{1'b0}};
    else if (start && is_attach && !c_attached) att_valid <= att_valid | att_pick;
    else if (flt_load && is_detach && state != S_CHECK) att_valid <= att_valid & ~det_match;
  end

endmodule

`default_nettype wire
