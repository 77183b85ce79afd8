`resetall
`timescale 1ns / 1ps
`default_nettype none
`include "svm_defs.vh"

// Counters. Events gather in small registers; one counter a cycle, in turn, adds what has gathered to its 64-bit total in a
// RAM, so a total is at most 36 cycles behind its events. A read takes one cycle. cycle and the maxima are exact.
// Latencies are 32-bit cycle counts; sums are 64 bits and wrap.
// Invariant: a register never overflows between two turns of its counter. Totals are cleared by the first round after rst.
module dmmu_stats (
    input wire clk,
    input wire rst,

    input wire [4:0] addr,
    output reg [63:0] data,
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

  localparam N = `SVM_NUM_COUNTERS;
  // 32 turns of at most 31 dropped entries, or of a latency.
  localparam SMALL_W = 10;
  localparam SUM_W = 37;

  reg [63:0] now;
  reg [4:0] turn;
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
  reg [31:0] f_max;
  reg [31:0] i_max;
  reg [SUM_W-1:0] f_sum;
  reg [SUM_W-1:0] i_sum;

  always @(posedge clk) begin
    ev_invalidated <= invalidated;
    f_latency <= fault_latency;
    i_latency <= inv_latency;
  end

  // 16 bits a counter.
  wire [16*32-1:0] gathered;

  genvar g;
  generate
    for (g = 0; g < 32; g = g + 1) begin : gen_small
      if (g == `SVM_CNT_INVALIDATED) begin : gen_wide
        reg [SMALL_W-1:0] sum;
        assign gathered[g*16+:16] = {{(16 - SMALL_W) {1'b0}}, sum};
        always @(posedge clk) begin
          if (rst) sum <= {SMALL_W{1'b0}};
          else sum <= ((turn == g) ? {SMALL_W{1'b0}} : sum) + {{(SMALL_W - 5) {1'b0}}, ev_invalidated};
        end
      end else if (g == `SVM_CNT_ERRORS || g == `SVM_CNT_STALL_PARK || g == `SVM_CNT_STALL_BUS) begin : gen_two
        reg [6:0] sum;
        wire [1:0] two = (g == `SVM_CNT_ERRORS) ? ev_errors : (g == `SVM_CNT_STALL_PARK) ? ev_park : ev_bus;
        assign gathered[g*16+:16] = {9'd0, sum};
        always @(posedge clk) begin
          if (rst) sum <= 7'd0;
          else sum <= ((turn == g) ? 7'd0 : sum) + {5'd0, two[1] && two[0], two[1] ^ two[0]};
        end
      end else if (g < 21) begin : gen_one
        reg [5:0] sum;
        assign gathered[g*16+:16] = {10'd0, sum};
        always @(posedge clk) begin
          if (rst) sum <= 6'd0;
          else sum <= ((turn == g) ? 6'd0 : sum) + {5'd0, ev[g]};
        end
      end else begin : gen_none
        assign gathered[g*16+:16] = 16'd0;
      end
    end
  endgenerate

  // These four count by more than one.
  wire unused_ev = &{1'b0, ev};

  wire f_turn = turn == `SVM_CNT_FAULT_LATENCY_SUM;
  wire i_turn = turn == `SVM_CNT_INV_LATENCY_SUM;
  wire [31:0] f_add = f_done ? f_latency : 32'd0;
  wire [31:0] i_add = i_done ? i_latency : 32'd0;

  always @(posedge clk) begin
    if (rst) begin
      now <= 64'd0;
      turn <= 5'd0;
      ev <= 21'd0;
      ev_errors <= 2'd0;
      ev_park <= 2'd0;
      ev_bus <= 2'd0;
      f_done <= 1'b0;
      i_done <= 1'b0;
      f_sum <= {SUM_W{1'b0}};
      i_sum <= {SUM_W{1'b0}};
      f_max <= 32'd0;
      i_max <= 32'd0;
    end else begin
      now <= now + 64'd1;
      turn <= turn + 5'd1;
      ev <= event_in;
      ev_errors <= errors;
      ev_park <= stall_park;
      ev_bus <= stall_bus;
      f_done <= fault_done;
      i_done <= inv_done;
      f_sum <= (f_turn ? {SUM_W{1'b0}} : f_sum) + {{(SUM_W - 32) {1'b0}}, f_add};
      i_sum <= (i_turn ? {SUM_W{1'b0}} : i_sum) + {{(SUM_W - 32) {1'b0}}, i_add};
      if (f_done && f_latency > f_max) f_max <= f_latency;
      if (i_done && i_latency > i_max) i_max <= i_latency;
    end
  end

  // ------------------------------------------------------------------ totals: read, add, write
  reg [63:0] total[0:31];
  reg [4:0] t1_turn;
  reg [SUM_W-1:0] t1_add;
  reg [63:0] t1_old;
  reg [4:0] t2_turn;
  reg [63:0] t2_new;
  reg first_round;
  reg t1_first;

  wire [SUM_W-1:0] of_turn = {{(SUM_W - 16) {1'b0}}, gathered[{turn, 4'd0}+:16]};

  always @(posedge clk) begin
    t1_turn <= turn;
    t1_first <= first_round;
    t1_old <= total[turn];
    t1_add <= f_turn ? f_sum : i_turn ? i_sum : of_turn;
    t2_turn <= t1_turn;
    t2_new <= (t1_first ? 64'd0 : t1_old) + {{(64 - SUM_W) {1'b0}}, t1_add};
    total[t2_turn] <= t2_new;
  end

  always @(posedge clk) begin
    if (rst) first_round <= 1'b1;
    else if (&turn) first_round <= 1'b0;
  end

  always @(posedge clk) begin
    case (addr)
      `SVM_CNT_CYCLES: data <= now;
      `SVM_CNT_FAULT_LATENCY_MAX: data <= {32'd0, f_max};
      `SVM_CNT_INV_LATENCY_MAX: data <= {32'd0, i_max};
      default: data <= (addr < N) ? total[addr] : 64'd0;
    endcase
  end

endmodule

`default_nettype wire
