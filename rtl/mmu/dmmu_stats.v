`resetall
`timescale 1ns / 1ps
`default_nettype none
`include "svm_defs.vh"

// Counters. Events gather in small registers; one counter a cycle, in turn, adds what has gathered to its 64-bit total in a
// RAM: select, collect, add, write, so a total is at most 32 cycles behind its events. A read takes one cycle. cycle and the
// maxima are exact.
// Latencies are 32-bit cycle counts; sums are 64 bits and wrap.
// Invariant: a register never overflows between two turns of its counter. Totals are cleared by the first round after rst.
module dmmu_stats (
    input wire clk,
    input wire rst,

    input wire [4:0] addr,
    output wire [63:0] data,
    output wire [63:0] cycle,

    // one bit a counter, for those that count by one
    input wire [20:0] event_in,
    input wire [1:0] errors,
    input wire [4:0] invalidated,
    input wire [1:0] stall_park,
    input wire [1:0] stall_bus,
    input wire fault_done,
    input wire [31:0] fault_latency,
    input wire inv_done,
    input wire [31:0] inv_latency
);

  // The counters that gather; a turn comes every TURNS cycles.
  localparam TURNS = `SVM_CNT_INV_LATENCY_SUM + 1;
  // TURNS times at most 31 dropped entries, or a latency.
  localparam SMALL_W = 10;
  localparam SUM_W = 37;
  localparam LOW_W = 16;

  reg [63:0] now;
  reg [4:0] turn;
  // Whose turn it is, one cycle later.
  reg [TURNS-1:0] sel;
  assign cycle = now;

  // ------------------------------------------------------------------ what has gathered
  reg [20:0] ev;
  reg [1:0] ev_errors;
  reg [4:0] ev_invalidated;
  reg [1:0] ev_park;
  reg [1:0] ev_bus;
  reg f_done;
  reg [31:0] f_latency;
  reg i_done;
  reg [31:0] i_latency;
  reg [31:0] f_add;
  reg [31:0] i_add;
  reg [31:0] f_max;
  reg [31:0] i_max;
  // Sums in two parts, the upper one a cycle later: a carry is never long.
  reg [LOW_W:0] f_low;
  reg [LOW_W:0] i_low;
  reg [SUM_W-LOW_W-1:0] f_high;
  reg [SUM_W-LOW_W-1:0] i_high;
  reg f_turn_high;
  reg i_turn_high;

  always @(posedge clk) begin
    ev_invalidated <= invalidated;
    f_latency <= fault_latency;
    i_latency <= inv_latency;
  end

  // What the selected counter has gathered, zero for the others.
  wire [SMALL_W*24-1:0] taken;

  genvar g;
  generate
    for (g = 0; g < 24; g = g + 1) begin : gen_small
      if (g == `SVM_CNT_INVALIDATED) begin : gen_wide
        reg [SMALL_W-1:0] sum;
        assign taken[g*SMALL_W+:SMALL_W] = sum & {SMALL_W{sel[g]}};
        always @(posedge clk) begin
          if (rst) sum <= {SMALL_W{1'b0}};
          else sum <= (sum & {SMALL_W{!sel[g]}}) + {{(SMALL_W - 5) {1'b0}}, ev_invalidated};
        end
      end else if (g == `SVM_CNT_ERRORS || g == `SVM_CNT_STALL_PARK || g == `SVM_CNT_STALL_BUS) begin : gen_two
        reg [6:0] sum;
        wire [1:0] two = (g == `SVM_CNT_ERRORS) ? ev_errors : (g == `SVM_CNT_STALL_PARK) ? ev_park : ev_bus;
        assign taken[g*SMALL_W+:SMALL_W] = {{(SMALL_W - 7) {1'b0}}, sum & {7{sel[g]}}};
        always @(posedge clk) begin
          if (rst) sum <= 7'd0;
          else sum <= (sum & {7{!sel[g]}}) + {5'd0, two[1] && two[0], two[1] ^ two[0]};
        end
      end else if (g < 21) begin : gen_one
        reg [5:0] sum;
        assign taken[g*SMALL_W+:SMALL_W] = {{(SMALL_W - 6) {1'b0}}, sum & {6{sel[g]}}};
        always @(posedge clk) begin
          if (rst) sum <= 6'd0;
          else sum <= (sum & {6{!sel[g]}}) + {5'd0, ev[g]};
        end
      end else begin : gen_none
        assign taken[g*SMALL_W+:SMALL_W] = {SMALL_W{1'b0}};
      end
    end
  endgenerate

  // Some count by more than one, and a maximum has no turn.
  wire unused = &{1'b0, ev, sel};

  // A maximum is compared with in one cycle and changed in the next; what changed it in between counts too.
  reg [31:0] f_last;
  reg [31:0] i_last;
  reg f_gt;
  reg i_gt;
  reg f_grows;
  reg i_grows;
  reg f_did;
  reg i_did;
  wire f_new = f_gt && (!f_did || f_grows);
  wire i_new = i_gt && (!i_did || i_grows);

  always @(posedge clk) begin
    f_last <= f_add;
    i_last <= i_add;
  end

  wire f_turn = sel[`SVM_CNT_FAULT_LATENCY_SUM];
  wire i_turn = sel[`SVM_CNT_INV_LATENCY_SUM];
  // The carry of the lower part comes in below.
  wire [SUM_W-LOW_W:0] f_up = {f_high & {(SUM_W - LOW_W) {!f_turn_high}}, 1'b1}
      + {{(SUM_W - 32) {1'b0}}, f_last[31:LOW_W], f_low[LOW_W]};
  wire [SUM_W-LOW_W:0] i_up = {i_high & {(SUM_W - LOW_W) {!i_turn_high}}, 1'b1}
      + {{(SUM_W - 32) {1'b0}}, i_last[31:LOW_W], i_low[LOW_W]};
  wire unused_up = &{1'b0, f_up[0], i_up[0]};

  always @(posedge clk) begin
    if (rst) begin
      now <= 64'd0;
      turn <= 5'd0;
      sel <= {TURNS{1'b0}};
      f_add <= 32'd0;
      i_add <= 32'd0;
      ev <= 21'd0;
      ev_errors <= 2'd0;
      ev_park <= 2'd0;
      ev_bus <= 2'd0;
      f_done <= 1'b0;
      i_done <= 1'b0;
      f_low <= {(LOW_W + 1) {1'b0}};
      i_low <= {(LOW_W + 1) {1'b0}};
      f_high <= {(SUM_W - LOW_W) {1'b0}};
      i_high <= {(SUM_W - LOW_W) {1'b0}};
      f_max <= 32'd0;
      f_gt <= 1'b0;
      i_gt <= 1'b0;
      f_grows <= 1'b0;
      i_grows <= 1'b0;
      f_did <= 1'b0;
      i_did <= 1'b0;
      i_max <= 32'd0;
    end else begin
      now <= now + 64'd1;
      turn <= (turn == TURNS - 1) ? 5'd0 : turn + 5'd1;
      sel <= {{(TURNS - 1) {1'b0}}, 1'b1} << turn;
      f_add <= f_latency & {32{f_done}};
      i_add <= i_latency & {32{i_done}};
      ev <= event_in;
      ev_errors <= errors;
      ev_park <= stall_park;
      ev_bus <= stall_bus;
      f_done <= fault_done;
      i_done <= inv_done;
      f_low <= {1'b0, f_low[LOW_W-1:0] & {LOW_W{!f_turn}}} + {1'b0, f_add[LOW_W-1:0]};
      i_low <= {1'b0, i_low[LOW_W-1:0] & {LOW_W{!i_turn}}} + {1'b0, i_add[LOW_W-1:0]};
      f_high <= f_up[SUM_W-LOW_W:1];
      i_high <= i_up[SUM_W-LOW_W:1];
      f_gt <= f_add > f_max;
      i_gt <= i_add > i_max;
      f_grows <= f_add > f_last;
      i_grows <= i_add > i_last;
      f_did <= f_new;
      i_did <= i_new;
      if (f_new) f_max <= f_last;
      if (i_new) i_max <= i_last;
    end
  end

  // ------------------------------------------------------------------ totals: select, collect, read, add, write
  reg [63:0] total[0:31];
  reg first_round;
  reg t1_first;
  reg t2_first;
  reg [4:0] t1_turn;
  reg [4:0] t2_turn;
  reg [4:0] t3_turn;
  reg [4:0] t4_turn;
  reg [SMALL_W*6-1:0] t2_some;
  reg [LOW_W-1:0] t2_low;
  reg [SUM_W-1:0] t3_add;
  reg [63:0] t3_old;
  reg [63:0] t4_new;

  integer q;
  integer u;
  reg [SMALL_W-1:0] all;
  always @* begin
    all = {SMALL_W{1'b0}};
    for (q = 0; q < 6; q = q + 1) all = all | t2_some[q*SMALL_W+:SMALL_W];
  end

  always @(posedge clk) begin
    // sel belongs to t1.
    t1_turn <= turn;
    t1_first <= first_round;
    t2_turn <= t1_turn;
    t2_first <= t1_first;
    for (u = 0; u < 6; u = u + 1) begin
      t2_some[u*SMALL_W+:SMALL_W] <= taken[u*4*SMALL_W+:SMALL_W] | taken[(u*4+1)*SMALL_W+:SMALL_W]
          | taken[(u*4+2)*SMALL_W+:SMALL_W] | taken[(u*4+3)*SMALL_W+:SMALL_W];
    end
    t2_low <= (f_low[LOW_W-1:0] & {LOW_W{f_turn}}) | (i_low[LOW_W-1:0] & {LOW_W{i_turn}});
    f_turn_high <= f_turn;
    i_turn_high <= i_turn;
    t3_turn <= t2_turn;
    t3_add[LOW_W-1:0] <= t2_low | {{(LOW_W - SMALL_W) {1'b0}}, all};
    t3_add[SUM_W-1:LOW_W] <= (f_high & {(SUM_W - LOW_W) {f_turn_high}}) | (i_high & {(SUM_W - LOW_W) {i_turn_high}});
    t3_old <= total[t2_turn] & {64{!t2_first}};
    t4_turn <= t3_turn;
    t4_new <= t3_old + {{(64 - SUM_W) {1'b0}}, t3_add};
    total[t4_turn] <= t4_new;
  end

  always @(posedge clk) begin
    if (rst) first_round <= 1'b1;
    else if (turn == TURNS - 1) first_round <= 1'b0;
  end

  // ------------------------------------------------------------------ read
  reg is_total;
  reg [63:0] data_total;
  reg [63:0] data_other;
  assign data = is_total ? data_total : data_other;

  always @(posedge clk) begin
    is_total   <= addr < TURNS && addr != `SVM_CNT_FAULT_LATENCY_MAX;
    data_total <= total[addr];
    case (addr)
      `SVM_CNT_CYCLES: data_other <= now;
      `SVM_CNT_FAULT_LATENCY_MAX: data_other <= {32'd0, f_max};
      `SVM_CNT_INV_LATENCY_MAX: data_other <= {32'd0, i_max};
      default: data_other <= 64'd0;
    endcase
  end

endmodule

`default_nettype wire
