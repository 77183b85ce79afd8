`resetall
`timescale 1ns / 1ps
`default_nettype none
`include "svm_defs.vh"

// Commands, one at a time and in ring order: check, run, and hand to dmmu_drain what has to be waited for or reported.
// Accepted in t: t + 1 offers an answer (RESPOND) to dmmu_fault, t + 2 adds first page and count (a cycle later for a fill of 2M
// pages, two for 1G), t + 3 decides, t + 4 is x0 of the first row in the caches (op_start). The caches walk side by side, each at
// its own pace; a fill presents a page every second cycle, the last page first.
// An answer without an event takes two cycles; a command that visits one row at most four; the next command after another
// invalidation or a fill is accepted when the caches have presented their last row: a page that is filled is seen by the
// accesses of the answer behind it. dq_valid comes two cycles after the last x0.
// Invariant: op_* and dq_* hold until the caches are done and the entry is taken.
module dmmu_cmd #(
    parameter VA_W = 48,
    parameter PA_W = 48,
    parameter LOG_SETS_4K = 8,
    parameter LOG_SETS_2M = 5,
    parameter LOG_SETS_1G = 2,
    parameter LOG_PASIDS = 4
) (
    input wire clk,
    input wire rst,
    input wire enable,

    input wire cmd_valid,
    output wire cmd_ready,
    input wire [255:0] cmd_data,
    input wire [15:0] cmd_index,

    // caches: 4K, 2M, 1G
    output reg [2:0] op_start,
    input wire [2:0] op_busy,
    output reg op_fill,
    output wire op_every,
    output reg op_many,
    output reg [VA_W-13:0] op_lo,
    output reg [VA_W-13:0] op_hi,
    output reg [19:0] op_pasid,
    output reg [LOG_PASIDS-1:0] op_index,
    output reg [PA_W-13:0] op_fn,
    output reg [1:0] op_perm,

    // faults: answers
    output wire [7:0] rsp_rd_id,
    output wire [31:0] rsp_rd_seq,
    output reg rsp_valid,
    input wire rsp_ready,
    output wire rsp_error,
    output wire rsp_decerr,

    // a detached PASID: its faults, then its parked accesses
    output reg det_start,
    output wire [LOG_PASIDS-1:0] det_index,
    input wire det_busy,
    output reg kill_start,
    output reg [19:0] kill_pasid,
    input wire kill_marked_r,
    input wire kill_marked_w,
    input wire kill_clear_r,
    input wire kill_clear_w,

    // attach table: entries in use, and what is written to its copies
    output reg [(1<<LOG_PASIDS)-1:0] att_valid,
    output wire att_wr,
    output wire [19:0] att_wr_at,
    output wire [5*(1<<LOG_PASIDS)-1:0] att_wr_rows,

    // to dmmu_drain
    output reg dq_valid,
    input wire dq_ready,
    output reg dq_wait,
    output reg dq_detach,
    output reg [1:0] dq_scope,
    output reg [19:0] dq_pasid,
    output reg [VA_W-13:0] dq_start,
    output reg [VA_W-13:0] dq_end,
    output reg dq_complete,
    output wire [7:0] dq_error,
    output reg [15:0] dq_tag,
    output reg [15:0] dq_index,
    output reg [7:0] dq_op,

    output reg ev_invalidate,
    output reg ev_error
);

  localparam VPN_W = VA_W - 12;
  localparam FN_W = PA_W - 12;
  localparam P = 1 << LOG_PASIDS;
  localparam [P-1:0] P_ONE = {{(P - 1) {1'b0}}, 1'b1};
  // With two rows the cache holds back the next page.
  localparam FAST = LOG_SETS_4K > 1;
  // A range of more pages may have more than one page in a row of some cache: its walk visits every row.
  localparam MAX_A = (LOG_SETS_4K < LOG_SETS_2M + 8) ? LOG_SETS_4K : LOG_SETS_2M + 8;
  localparam LOG_ONCE = (MAX_A < LOG_SETS_1G + 17) ? MAX_A : LOG_SETS_1G + 17;

  // ------------------------------------------------------------------ accept
  reg up;
  reg ready;
  assign cmd_ready = ready && up;
  wire accept = cmd_valid && cmd_ready;

  // d_count is zero again in the second cycle.
  reg [191:0] d;
  reg [51:0] d_count;
  reg [15:0] d_index;
  // Parts of the words that are not zero: reserved ones, and the digits of the addresses below and above them.
  reg d_upper;
  reg d_va_low;
  reg d_pa_low;
  reg d_mid;
  reg d_high;
  reg d_va_beyond;
  reg d_pa_beyond;
  reg d_quick;
  reg d_fill;
  reg d_range;
  reg d_all;
  reg d_pasids;
  reg d_attach;
  reg d_detach;
  reg d_respond;
  reg d_fence;
  reg d_2m;
  reg d_1g;

  wire [7:0] cmd_op = cmd_data[`SVM_CMD_OP_F];
  wire [7:0] cmd_flags = cmd_data[`SVM_CMD_FLAGS_F];
  wire [63:0] cmd_va = cmd_data[`SVM_CMD_VA_F];
  wire [63:0] cmd_pa = cmd_data[`SVM_CMD_PA_F];
  wire [3:0] cmd_code = cmd_data[`SVM_CMD_CODE_F];
  wire cmd_answer = cmd_flags[7:1] == 7'd0 && cmd_op == `SVM_OP_RESPOND && cmd_data[63:60] == 4'd0
      && cmd_data[255:244] == 12'd0
      && (cmd_code == `SVM_CODE_SUCCESS || cmd_code == `SVM_CODE_INVALID || cmd_code == `SVM_CODE_FAILURE);

  always @(posedge clk) begin
    if (ready) begin
      d <= cmd_data[191:0];
      d_index <= cmd_index;
      d_upper <= cmd_data[255:244] != 12'd0;
      d_va_low <= cmd_va[11:0] != 12'd0;
      d_pa_low <= cmd_pa[11:0] != 12'd0;
      d_mid <= cmd_va[20:12] != 9'd0 || cmd_pa[20:12] != 9'd0;
      d_high <= cmd_va[29:21] != 9'd0 || cmd_pa[29:21] != 9'd0;
      d_va_beyond <= cmd_va[63:VA_W] != {(64 - VA_W) {1'b0}};
      d_pa_beyond <= (cmd_pa >> PA_W) != 64'd0;
      d_quick <= cmd_answer && !cmd_flags[0];
      d_fill <= cmd_op == `SVM_OP_FILL;
      d_range <= cmd_op == `SVM_OP_INVALIDATE;
      d_all <= cmd_op == `SVM_OP_INVALIDATE_ALL;
      d_pasids <= cmd_op == `SVM_OP_INVALIDATE_PASID;
      d_attach <= cmd_op == `SVM_OP_ATTACH;
      d_detach <= cmd_op == `SVM_OP_DETACH;
      d_respond <= cmd_op == `SVM_OP_RESPOND;
      d_fence <= cmd_op == `SVM_OP_FENCE;
      d_2m <= cmd_op == `SVM_OP_FILL && cmd_data[`SVM_CMD_SIZE_F] == 2'd1;
      d_1g <= cmd_op == `SVM_OP_FILL && cmd_data[`SVM_CMD_SIZE_F] == 2'd2;
    end
    d_count <= ready ? cmd_data[`SVM_CMD_NPAGES_F] : 52'd0;
  end

  assign rsp_rd_id = cmd_data[`SVM_CMD_FAULT_F];
  assign rsp_rd_seq = cmd_data[`SVM_CMD_SEQ_F];
  assign rsp_error = d[59:56] != `SVM_CODE_SUCCESS;
  assign rsp_decerr = d[59];

  wire [7:0] d_op = d[`SVM_CMD_OP_F];
  wire [1:0] d_size = d[`SVM_CMD_SIZE_F];
  wire [3:0] d_code = d[`SVM_CMD_CODE_F];
  wire [63:0] d_va = d[`SVM_CMD_VA_F];
  wire [63:0] d_pa = d[`SVM_CMD_PA_F];
  wire [19:0] d_pasid = d[`SVM_CMD_PASID_F];
  wire unused_address = &{1'b0, cmd_va, cmd_pa, d_va, d_pa};
  wire d_inv = d_range || d_all || d_detach || d_pasids;

  // ------------------------------------------------------------------ phases
  // p1: decode; p_shift: count in 4K pages; p2: add; p3: decide.
  reg p1;
  reg p1_was;
  reg [1:0] p_shift;
  reg shift;
  reg p2;
  reg p3;
  reg p3_fill;
  wire p1_ends = p1 && !(rsp_valid && !rsp_ready);
  wire leave;
  reg step;

  always @(posedge clk) begin
    if (rst) begin
      p1 <= 1'b0;
      p1_was <= 1'b0;
      p_shift <= 2'b00;
      shift <= 1'b0;
      p3_fill <= 1'b0;
      p2 <= 1'b0;
      p3 <= 1'b0;
      rsp_valid <= 1'b0;
    end else begin
      p1 <= accept || (p1 && !p1_ends);
      p1_was <= p1;
      // A fill does not wait in p1.
      p_shift <= {p1 && d_1g, (p1 && d_2m) || p_shift[1]};
      shift <= (p1 && (d_1g || d_2m)) || p_shift[1];
      p2 <= (p1_ends && !d_quick && !d_2m && !d_1g) || p_shift[0];
      p3 <= p2 || (p3 && !leave);
      p3_fill <= d_fill && (p2 || (p3 && !leave));
      rsp_valid <= (accept && cmd_answer) || (rsp_valid && !rsp_ready);
    end
  end

  // ------------------------------------------------------------------ decode (from the end of p1 on)
  reg e_fill;
  reg e_range;
  reg e_all;
  reg e_attach;
  reg e_detach;
  reg e_inv;
  reg e_pages;
  reg e_bad_op;
  reg e_reserved;
  reg e_misaligned;
  reg e_size;
  reg e_perm;
  reg e_code;
  reg e_beyond;
  reg [2:0] e_caches;
  wire d_pages = d_fill || d_range;

  always @(posedge clk) begin
    e_fill <= d_fill;
    e_range <= d_range;
    e_all <= d_all;
    e_attach <= d_attach;
    e_detach <= d_detach;
    e_inv <= d_inv;
    e_pages <= d_pages;
    e_bad_op <= !(d_fill || d_respond || d_inv || d_attach || d_fence);
    e_reserved <= d[15:9] != 7'd0 || d[63:60] != 4'd0 || d_upper;
    e_misaligned <= (d_pages && d_va_low) || (d_fill && d_pa_low) || ((d_2m || d_1g) && d_mid) || (d_1g && d_high);
    e_size <= d_fill && d_size == 2'd3;
    e_perm <= d_fill && d[`SVM_CMD_PERM_F] == 2'd0;
    e_code <= d_respond && d_code != `SVM_CODE_SUCCESS && d_code != `SVM_CODE_INVALID
        && d_code != `SVM_CODE_FAILURE;
    e_beyond <= d_va_beyond || (d_fill && d_pa_beyond);
    e_caches <= d_fill ? 3'b001 << d_size : 3'b111;
  end

  // ------------------------------------------------------------------ pages
  // more: pages behind the first, in 4K pages; a fill counts it down to zero. unit: a page of the command.
  reg [51:0] more;
  reg [2:0] unit;
  reg more_none;
  reg more_over;
  wire [51:0] count = more | d_count;
  wire [51:0] count_unit = {33'd0, unit[2], 8'd0, unit[1], 8'd0, unit[0]};
  wire [52:0] less = {1'b0, count} - {1'b0, count_unit};

  always @(posedge clk) begin
    if (ready) begin
      unit <= 3'b001;
    end else if (p1) begin
      unit <= d_1g ? 3'b100 : d_2m ? 3'b010 : 3'b001;
    end
    if (ready) more[VPN_W-1:0] <= {VPN_W{1'b0}};
    else if (shift) more[VPN_W-1:0] <= {more[VPN_W-10:0], 9'd0};
    else if (p1 || step || (p3_fill && !x_wait && !run)) more[VPN_W-1:0] <= less[VPN_W-1:0];
    if (ready) more[51:VPN_W] <= {(52 - VPN_W) {1'b0}};
    else if (p1) more[51:VPN_W] <= less[51:VPN_W];
    more_none <= less[52];
    if (ready) more_over <= 1'b0;
    else if (shift) more_over <= more_over || more[VPN_W-1-:9] != 9'd0;
  end

  wire [VPN_W:0] va_page = {1'b0, d_va[12+:VPN_W]} + {1'b0, more[VPN_W-1:0]};
  wire [FN_W:0] pa_page;
  wire pa_beyond;
  generate
    if (FN_W < VPN_W) begin : gen_narrow
      assign pa_page = {1'b0, d_pa[12+:FN_W]} + {1'b0, more[FN_W-1:0]};
      assign pa_beyond = more[VPN_W-1:FN_W] != {(VPN_W - FN_W) {1'b0}};
    end else begin : gen_wide
      assign pa_page = {1'b0, d_pa[12+:FN_W]} + {{(FN_W + 1 - VPN_W) {1'b0}}, more[VPN_W-1:0]};
      assign pa_beyond = 1'b0;
    end
  endgenerate

  reg [VPN_W-1:0] s_lo;
  reg [VPN_W-1:0] s_hi;
  reg [FN_W-1:0] s_fn;
  reg page_over;

  always @(posedge clk) begin
    // In p1, with nothing added, the first page. Without a range every page.
    if (p2 && !e_pages) s_lo <= {VPN_W{1'b0}};
    else if (p1 || e_fill) s_lo <= va_page[VPN_W-1:0];
    s_hi <= e_pages ? va_page[VPN_W-1:0] : {VPN_W{1'b1}};
    s_fn <= pa_page[FN_W-1:0];
    page_over <= (e_pages && va_page[VPN_W]) || (e_fill && pa_page[FN_W]);
  end

  // ------------------------------------------------------------------ attach table: its rows are changed by adding bits
  reg [4:0] wiped;
  wire wiping = !wiped[4];
  wire [P-1:0] own_match;
  reg [P-1:0] e_match;
  reg [P-1:0] pick;
  reg att_full;
  reg att_flip;
  reg att_write;
  wire [P-1:0] flip = e_match | pick;
  wire [5*P-1:0] own_rows;
  assign att_wr = wiping || att_write;
  assign att_wr_at = wiping ? {5{wiped[3:0]}} : d_pasid;

  genvar g;
  generate
    for (g = 0; g < 5; g = g + 1) begin : gen_digit
      (* ram_style = "distributed" *) reg [P-1:0] rows[0:15];
      reg [P-1:0] row;
      assign own_rows[g*P+:P] = rows[d_pasid[g*4+:4]];
      assign att_wr_rows[g*P+:P] = row;
      always @(posedge clk) begin
        row <= wiping ? {P{1'b0}} : own_rows[g*P+:P] ^ flip;
        if (att_wr) rows[att_wr_at[g*4+:4]] <= row;
      end
    end
  endgenerate

  assign own_match = own_rows[0+:P] & own_rows[P+:P] & own_rows[2*P+:P] & own_rows[3*P+:P] & own_rows[4*P+:P];

  wire attached = e_match != {P{1'b0}};
  wire [LOG_PASIDS-1:0] e_position;
  encode #(
      .LOG_N(LOG_PASIDS)
  ) position (
      .onehot(e_match),
      .index(e_position)
  );

  always @(posedge clk) begin
    e_match <= own_match & att_valid;
    att_full <= &att_valid;
    // The first free entry, for a PASID that has none.
    pick <= (e_attach && !attached) ? ~att_valid & (att_valid + P_ONE) : {P{1'b0}};
  end

  always @(posedge clk) begin
    if (rst) begin
      wiped <= 5'd0;
      up <= 1'b0;
      att_valid <= {P{1'b0}};
      att_write <= 1'b0;
    end else begin
      if (wiping) wiped <= wiped + 5'd1;
      up <= enable && !wiping;
      if (att_flip) att_valid <= att_valid ^ flip;
      att_write <= att_flip;
    end
  end

  // ------------------------------------------------------------------ check
  reg x_attached;
  reg [LOG_PASIDS-1:0] x_position;
  reg x_none;
  reg x_many;
  reg x_first;
  reg x_any;
  reg x_bad;
  reg x_walks;
  reg [2:0] x_code;
  reg x_needs;
  reg x_count;
  reg x_wait;
  reg x_late;
  wire over = x_count || x_none || page_over;
  wire missing = x_needs && !x_attached;
  wire bad = x_bad || missing || x_none || page_over;
  wire [3:0] error = (over && !x_first) ? 4'd4 : (missing && !x_any) ? {3'b100, e_attach} : {1'b0, x_code};
  wire [2:0] form_code = e_bad_op ? 3'd1 : e_reserved ? 3'd2 : e_misaligned ? 3'd3
      : e_size ? 3'd5 : e_perm ? 3'd6 : e_code ? 3'd7 : 3'd0;

  wire more_high = more_over || more[51:VPN_W] != {(52 - VPN_W) {1'b0}};
  wire too_many = e_pages && (e_beyond || more_high || (e_fill && pa_beyond));

  reg run;
  reg run_was;

  always @(posedge clk) begin
    x_attached <= attached;
    x_position <= e_position;
    if (p1_was) x_none <= e_pages && more_none;
    x_many <= !e_fill && (!e_range || more[51:LOG_ONCE] != {(52 - LOG_ONCE) {1'b0}});
    x_late <= e_fill || e_attach || e_detach;
    x_first <= e_bad_op || e_reserved || e_misaligned;
    x_code <= form_code;
    x_any <= form_code != 3'd0;
    // An entry of the attach table, when none is left its own.
    x_needs <= e_fill || e_detach || (e_attach && att_full);
    x_count <= too_many;
    x_bad <= form_code != 3'd0 || too_many;
    x_walks <= e_fill || e_all || (e_inv && attached);
    // A fill reads its row behind the writes of an invalidation; a detach waits for the end of the one before.
    x_wait <= (e_fill && (run || run_was)) || (e_detach && !(kill_clear_r && kill_clear_w));
    run_was <= run;
  end

  // ------------------------------------------------------------------ run
  // Behind this step: pages to fill (c_more), or the accesses of a detached PASID (c_ended).
  reg c_more;
  reg c_ended;
  reg c_next;
  reg c_push;
  reg c_late;
  reg c_wait;
  reg c_detach;
  reg c_complete;
  reg [2:0] c_caches;
  reg [1:0] c_scope;
  reg [3:0] c_error;
  reg [15:0] c_tag;
  reg [15:0] c_index;
  reg [7:0] c_op;
  reg det_wait;
  reg kill_wait;
  reg late_ready;
  reg [3:0] dq_code;
  wire idle = op_busy == 3'b000;
  wire room = !dq_valid;
  assign leave = p3 && !x_wait && !run;
  wire ran = run && !c_more && !c_ended && op_start == 3'b000 && idle && (!c_push || room);
  // The next command may come while one row is visited.
  wire early = bad || !(x_late || (e_inv && (x_many || !more_none)));
  wire killed = kill_wait && kill_marked_r && kill_marked_w && room;
  wire detached = det_wait && !det_busy;

  assign op_every = c_scope[1];
  assign det_index = op_index;
  assign dq_error = {4'd0, dq_code};

  always @(posedge clk) begin
    if (!run) begin
      op_fill <= e_fill;
      op_perm <= d[`SVM_CMD_PERM_F];
      op_index <= x_position;
      c_caches <= e_caches;
      c_scope <= {e_all, e_inv && !e_range && !e_all};
      c_error <= error;
      c_wait <= e_inv && !bad;
      c_complete <= d[8];
      c_tag <= d[`SVM_CMD_TAG_F];
      c_index <= d_index;
      c_op <= d_op;
    end
    if (!run || step) begin
      op_fn <= s_fn;
      op_hi <= s_hi;
    end
    if (room) begin
      dq_wait <= c_wait;
      dq_detach <= c_detach;
      dq_scope <= c_scope;
      dq_pasid <= op_pasid;
      dq_start <= op_lo;
      dq_end <= op_hi;
      dq_complete <= c_complete;
      dq_code <= c_error;
      dq_tag <= c_tag;
      dq_index <= c_index;
      dq_op <= c_op;
    end
    if (detached) kill_pasid <= op_pasid;
  end

  // The caches are cleared with these.
  always @(posedge clk) begin
    if (rst) begin
      op_pasid <= 20'd0;
      op_many  <= 1'b1;
    end else if (!run) begin
      op_pasid <= d_pasid;
      op_many  <= x_many;
    end
    if (rst) op_lo <= {VPN_W{1'b0}};
    else if (!run || step) op_lo <= s_lo;
  end

  always @(posedge clk) begin
    if (rst) begin
      ready <= 1'b1;
      late_ready <= 1'b0;
      op_start <= 3'b000;
      run <= 1'b1;
      c_more <= 1'b0;
      c_ended <= 1'b0;
      c_next <= 1'b0;
      step <= 1'b0;
      c_late <= 1'b0;
      c_push <= 1'b0;
      c_detach <= 1'b0;
      det_start <= 1'b0;
      det_wait <= 1'b0;
      kill_start <= 1'b0;
      kill_wait <= 1'b0;
      dq_valid <= 1'b0;
      ev_invalidate <= 1'b0;
      ev_error <= 1'b0;
      att_flip <= 1'b0;
    end else begin
      late_ready <= (ran && c_late) || killed;
      ready <= (ready && !accept) || (rsp_valid && rsp_ready && d_quick) || (leave && early) || late_ready;
      op_start <= (leave && x_walks && !bad) ? e_caches : step ? c_caches : 3'b000;
      run <= leave || (run && !(ran && !c_detach) && !killed);
      if (!run) begin
        c_more  <= leave && e_fill && !bad && !more_none;
        c_late   <= !early && !e_detach;
        c_detach <= e_detach && !bad;
        c_push   <= bad || d[8] || e_inv;
      end else if (step) begin
        c_more <= !more_none;
      end
      c_ended <= run && (c_ended || (ran && c_detach));
      // A page of 4K in the cycle after the last but one, otherwise when the cache is done.
      step <= (c_more && FAST && op_start[0]) || (c_next && idle);
      c_next <= (c_more && ((op_start[0] && !FAST) || op_start[1] || op_start[2])) || (c_next && !idle);
      det_start <= ran && c_detach;
      det_wait <= det_start || (det_wait && det_busy);
      kill_start <= detached;
      kill_wait <= kill_start || (kill_wait && !killed);
      dq_valid <= (dq_valid && !dq_ready) || (ran && c_push && !c_detach) || killed;
      ev_invalidate <= leave && e_inv && !bad;
      ev_error <= leave && bad;
      att_flip <= leave && !bad && (e_detach || (e_attach && !x_attached));
    end
  end

endmodule

`default_nettype wire
