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

    // faults
    output wire [7:0] rsp_id,
    output wire [31:0] rsp_seq,
    input wire rsp_match,
    output wire rsp_take,
    output wire rsp_error,
    output wire rsp_decerr,
    output wire det_step,
    output wire [LOG_MSHRS-1:0] det_id,
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

  // ------------------------------------------------------------------ command register
  reg c_valid;
  reg [255:0] c;
  reg [15:0] c_index;
  reg [2:0] state;
  wire c_last;

  assign cmd_ready = enable && (!c_valid || c_last);

  always @(posedge clk) begin
    if (cmd_ready && cmd_valid) begin
      c <= cmd_data;
      c_index <= cmd_index;
    end
  end

  always @(posedge clk) begin
    if (rst) c_valid <= 1'b0;
    else if (cmd_ready) c_valid <= cmd_valid;
  end

  wire [7:0] c_op = c[`SVM_CMD_OP_F];
  wire [7:0] c_flags = c[`SVM_CMD_FLAGS_F];
  wire [19:0] c_pasid = c[`SVM_CMD_PASID_F];
  wire [1:0] c_size = c[`SVM_CMD_SIZE_F];
  wire [1:0] c_perm = c[`SVM_CMD_PERM_F];
  wire [3:0] c_code = c[`SVM_CMD_CODE_F];
  wire [63:0] c_va = c[`SVM_CMD_VA_F];
  wire [63:0] c_pa = c[`SVM_CMD_PA_F];
  wire [51:0] c_npages = c[`SVM_CMD_NPAGES_F];

  wire is_fill = c_op == `SVM_OP_FILL;
  wire is_respond = c_op == `SVM_OP_RESPOND;
  wire is_range = c_op == `SVM_OP_INVALIDATE;
  wire is_pasid = c_op == `SVM_OP_INVALIDATE_PASID;
  wire is_all = c_op == `SVM_OP_INVALIDATE_ALL;
  wire is_attach = c_op == `SVM_OP_ATTACH;
  wire is_detach = c_op == `SVM_OP_DETACH;
  wire is_fence = c_op == `SVM_OP_FENCE;
  wire is_inv = is_range || is_pasid || is_all || is_detach;

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
  wire [1:0] c_shift = (is_fill && c_size != 2'd3) ? c_size : 2'd0;
  wire [17:0] low = (c_shift == 2'd2) ? 18'h3ffff : (c_shift == 2'd1) ? 18'h001ff : 18'h00000;
  wire misaligned = c_va[11:0] != 12'd0 || (c_va[29:12] & low) != 18'd0
      || (is_fill && (c_pa[11:0] != 12'd0 || (c_pa[29:12] & low) != 18'd0));
  // First and last page in units of the page size; a page beyond the address space shows in the bits above it.
  wire [51:0] va_first = (c_shift == 2'd2) ? {18'd0, c_va[63:30]}
      : (c_shift == 2'd1) ? {9'd0, c_va[63:21]} : c_va[63:12];
  wire [51:0] pa_first = (c_shift == 2'd2) ? {18'd0, c_pa[63:30]}
      : (c_shift == 2'd1) ? {9'd0, c_pa[63:21]} : c_pa[63:12];
  wire [51:0] c_more = c_npages - 52'd1;
  wire [52:0] va_last = {1'b0, va_first} + {1'b0, c_more};
  wire [52:0] pa_last = {1'b0, pa_first} + {1'b0, c_more};
  wire va_over = va_last[52:VPN_W] != 0 || (c_shift != 2'd0 && va_last[VPN_W-1-:9] != 9'd0)
      || (c_shift == 2'd2 && va_last[VPN_W-10-:9] != 9'd0);
  wire pa_over = pa_last[52:FN_W] != 0 || (c_shift != 2'd0 && pa_last[FN_W-1-:9] != 9'd0)
      || (c_shift == 2'd2 && pa_last[FN_W-10-:9] != 9'd0);
  wire unused_pa_last = &{1'b0, pa_last[FN_W-19:0]};
  wire bad_count = c_npages == 52'd0 || va_over || (is_fill && pa_over);
  wire reserved = c_flags[7:1] != 7'd0 || c[63:60] != 4'd0 || c[255:244] != 12'd0;
  wire bad_op = !(is_fill || is_respond || is_inv || is_attach || is_fence);
  wire bad_code = c_code != `SVM_CODE_SUCCESS && c_code != `SVM_CODE_INVALID && c_code != `SVM_CODE_FAILURE;

  wire [7:0] error = bad_op ? `SVM_CMD_ERROR_OPCODE
      : reserved ? `SVM_CMD_ERROR_RESERVED
      : ((is_fill || is_range) && misaligned) ? `SVM_CMD_ERROR_ALIGNMENT
      : ((is_fill || is_range) && bad_count) ? `SVM_CMD_ERROR_COUNT
      : (is_fill && c_size == 2'd3) ? `SVM_CMD_ERROR_SIZE
      : (is_fill && c_perm == 2'd0) ? `SVM_CMD_ERROR_PERM
      : (is_respond && bad_code) ? `SVM_CMD_ERROR_CODE
      : ((is_fill || is_detach) && !c_attached) ? `SVM_CMD_ERROR_NOT_ATTACHED
      : (is_attach && !c_attached && (&att_valid)) ? `SVM_CMD_ERROR_TABLE_FULL
      : 8'd0;
  wire ok = error == 8'd0;

  // A command that reports or drains is checked when there is room for that, so that nothing half done waits.
  wire check = c_valid && state == S_CHECK && (dq_ready || (ok && !is_inv && !c_flags[0]));
  wire start = check && ok;
  wire start_fill = start && is_fill;
  wire start_inv = start && is_inv;

  // ------------------------------------------------------------------ fill
  reg phase;
  reg [VPN_W-1:0] left;
  reg [VPN_W-1:0] fill_pn;
  reg [FN_W-1:0] fill_fn;
  wire [VPN_W-1:0] first_pn = va_first[VPN_W-1:0];
  wire [FN_W-1:0] first_fn = pa_first[FN_W-1:0];
  wire in_check = state == S_CHECK;
  wire fill_x0 = start_fill || (state == S_FILL && phase);
  wire [VPN_W-1:0] now_pn = in_check ? first_pn : fill_pn;

  // ------------------------------------------------------------------ invalidate
  wire [1:0] c_scope = is_range ? SCOPE_RANGE : is_all ? SCOPE_ALL : SCOPE_PASID;
  reg [K_W-1:0] step;
  wire [K_W-1:0] now_step = in_check ? {K_W{1'b0}} : step;
  wire [VPN_W-1:0] now_start = in_check ? (is_range ? c_va[VA_W-1:12] : {VPN_W{1'b0}}) : flt_start;
  wire [VPN_W-1:0] now_end = in_check ? (is_range ? va_last[VPN_W-1:0] : {VPN_W{1'b1}}) : flt_end;
  wire [VPN_W-1:0] span_4k = now_end - now_start;
  wire [VPN_W-10:0] span_2m = now_end[VPN_W-1:9] - now_start[VPN_W-1:9];
  wire [VPN_W-19:0] span_1g = now_end[VPN_W-1:18] - now_start[VPN_W-1:18];
  wire walks = start_inv || state == S_INV;
  // The last row to visit in each cache.
  wire [LOG_SETS_4K-1:0] end_4k =
      (span_4k[VPN_W-1:LOG_SETS_4K] != 0) ? {LOG_SETS_4K{1'b1}} : span_4k[LOG_SETS_4K-1:0];
  wire [LOG_SETS_2M-1:0] end_2m =
      (span_2m[VPN_W-10:LOG_SETS_2M] != 0) ? {LOG_SETS_2M{1'b1}} : span_2m[LOG_SETS_2M-1:0];
  wire [LOG_SETS_1G-1:0] end_1g =
      (span_1g[VPN_W-19:LOG_SETS_1G] != 0) ? {LOG_SETS_1G{1'b1}} : span_1g[LOG_SETS_1G-1:0];
  wire more_4k = now_step <= {{(K_W - LOG_SETS_4K) {1'b0}}, end_4k};
  wire more_2m = now_step <= {{(K_W - LOG_SETS_2M) {1'b0}}, end_2m};
  wire more_1g = now_step <= {{(K_W - LOG_SETS_1G) {1'b0}}, end_1g};
  // A detach visits the faults two cycles behind: by then no miss can open another one.
  wire [K_W-1:0] next_step = now_step + K_ONE;
  wire walk_ends = now_step >= {{(K_W - LOG_SETS_4K) {1'b0}}, end_4k}
      && now_step >= {{(K_W - LOG_SETS_2M) {1'b0}}, end_2m}
      && now_step >= {{(K_W - LOG_SETS_1G) {1'b0}}, end_1g} && !(is_detach && next_step < DET_END);

  reg [P-1:0] det_match;
  wire [K_W-1:0] det_k = step - DET_FIRST;
  assign det_step = state == S_INV && is_detach && step >= DET_FIRST && step < DET_END;
  wire unused_det_k = &{1'b0, det_k[K_W-1:LOG_MSHRS]};
  assign det_id = det_k[LOG_MSHRS-1:0];

  encode #(
      .LOG_N(LOG_PASIDS)
  ) detached (
      .onehot(det_match),
      .index(det_index)
  );

  assign op_fill = fill_x0 ? 3'b001 << c_size : 3'b000;
  assign op_inv = walks ? {more_1g, more_2m, more_4k} : 3'b000;
  assign op_pn_4k = is_fill ? now_pn : now_start + {{(VPN_W - K_W) {1'b0}}, now_step};
  assign op_pn_2m = is_fill ? now_pn[VPN_W-10:0] : now_start[VPN_W-1:9] + {{(VPN_W - 9 - K_W) {1'b0}}, now_step};
  assign op_pn_1g = is_fill ? now_pn[VPN_W-19:0] : now_start[VPN_W-1:18] + {{(VPN_W - 18 - K_W) {1'b0}}, now_step};
  assign op_pasid = c_pasid;
  assign op_fn = in_check ? first_fn : fill_fn;
  assign op_perm = c_perm;

  // ------------------------------------------------------------------ responses
  assign rsp_id = c[`SVM_CMD_FAULT_F];
  assign rsp_seq = c[`SVM_CMD_SEQ_F];
  assign rsp_take = start && is_respond && rsp_match;
  assign rsp_error = c_code != `SVM_CODE_SUCCESS;
  assign rsp_decerr = c_code == `SVM_CODE_FAILURE;
  assign ev_response = rsp_take;
  assign ev_stale = start && is_respond && !rsp_match;
  assign ev_invalidate = start_inv;
  assign ev_error = check && !ok;

  // ------------------------------------------------------------------ sequence
  wire end_fill = state == S_FILL_END && !phase;
  wire end_inv = state == S_INV_END && !phase;
  assign c_last = (check && !start_fill && !start_inv) || (end_fill && (dq_ready || !c_flags[0]))
      || (end_inv && (!is_detach || dq_ready));
  assign det_wake = end_inv && is_detach;

  assign dq_valid = (check && !ok) || (start && !is_fill && !is_detach && (is_inv || c_flags[0]))
      || ((end_inv && is_detach) || (end_fill && c_flags[0]));
  assign dq_wait = is_inv && (ok || !in_check);
  assign dq_detach = is_detach && (ok || !in_check);
  assign dq_scope = c_scope;
  assign dq_pasid = c_pasid;
  assign dq_start = now_start;
  assign dq_end = now_end;
  assign dq_complete = c_flags[0];
  assign dq_error = in_check ? error : 8'd0;
  assign dq_tag = c[`SVM_CMD_TAG_F];
  assign dq_index = c_index;
  assign dq_op = c_op;
  reg [31:0] effect;
  assign dq_effect = (in_check && ok && is_inv) ? cycle + 32'd2 : (!in_check && is_detach) ? effect : cycle;

  always @(posedge clk) begin
    if (start_fill) begin
      left <= c_more[VPN_W-1:0];
      fill_pn <= first_pn + {{(VPN_W - 1) {1'b0}}, 1'b1};
      fill_fn <= first_fn + {{(FN_W - 1) {1'b0}}, 1'b1};
    end else if (fill_x0) begin
      left <= left - {{(VPN_W - 1) {1'b0}}, 1'b1};
      fill_pn <= fill_pn + {{(VPN_W - 1) {1'b0}}, 1'b1};
      fill_fn <= fill_fn + {{(FN_W - 1) {1'b0}}, 1'b1};
    end
    if (start_inv) begin
      flt_scope <= c_scope;
      flt_pasid <= c_pasid;
      flt_start <= now_start;
      flt_end <= now_end;
      det_match <= c_match;
      effect <= cycle + 32'd2;
    end
    step <= next_step;
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
          phase <= 1'b0;
          if (start_fill) begin
            // x0 now; x1 and x2 follow.
            state <= (c_npages == 52'd1) ? S_FILL_END : S_FILL;
            phase <= c_npages == 52'd1;
          end else if (start_inv) begin
            state <= walk_ends ? S_INV_END : S_INV;
            phase <= walk_ends;
          end
        end
        S_FILL: begin
          phase <= !phase;
          if (phase && left == {{(VPN_W - 1) {1'b0}}, 1'b1}) begin
            state <= S_FILL_END;
            phase <= 1'b1;
          end
        end
        S_INV: begin
          if (walk_ends) begin
            state <= S_INV_END;
            phase <= 1'b1;
          end
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
