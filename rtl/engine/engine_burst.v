`resetall
`timescale 1ns / 1ps
`default_nettype none

// Cuts a run of bus words into bursts of at most 16 beats that never cross a 4-KiB page.
// Latency 1, one burst per cycle; a new run is taken in the cycle in which the last burst of the one before leaves.
// Invariant: at most STREAM bursts of the current run are unanswered, so a long run that faults leaves room for others.
module engine_burst #(
    parameter LB = 4,
    parameter PAY_W = 8,
    parameter STREAM = 8
) (
    input wire clk,
    input wire rst,

    input wire in_valid,
    output wire in_ready,
    input wire [63:0] in_addr,
    input wire [17:0] in_words_m1,
    input wire [PAY_W-1:0] in_pay,

    output wire out_valid,
    input wire out_ready,
    output wire [63:0] out_addr,
    output wire [3:0] out_len,
    output wire out_last,
    output wire [17:0] out_number,
    output wire [PAY_W-1:0] out_pay,

    // A burst of the current run has been answered.
    input wire answered
);

  localparam [7:0] STREAM_MAX = STREAM;

  reg full;
  reg [63:0] addr;
  reg [17:0] left_m1;
  reg [17:0] number;
  reg [PAY_W-1:0] pay;
  reg [7:0] unanswered;

  wire [17:0] page_m1 = {{(6 + LB) {1'b0}}, ~addr[11:LB]};
  wire [17:0] cap_m1 = (page_m1 < 18'd15) ? page_m1 : 18'd15;
  wire last = left_m1 <= cap_m1;
  wire [17:0] len = last ? left_m1 : cap_m1;
  wire taken = out_valid && out_ready;
  wire load = in_valid && in_ready;

  assign in_ready = !full || (taken && last);
  assign out_valid = full && unanswered < STREAM_MAX;
  assign out_addr = addr;
  assign out_len = len[3:0];
  assign out_last = last;
  assign out_number = number;
  assign out_pay = pay;

  always @(posedge clk) begin
    if (load) begin
      addr <= in_addr;
      left_m1 <= in_words_m1;
      number <= 18'd1;
      pay <= in_pay;
    end else if (taken) begin
      addr <= {addr[63:LB] + {{(46 - LB) {1'b0}}, len} + {{(63 - LB) {1'b0}}, 1'b1}, {LB{1'b0}}};
      left_m1 <= left_m1 - len - 18'd1;
      number <= number + 18'd1;
    end
  end

  always @(posedge clk) begin
    if (rst) full <= 1'b0;
    else if (load) full <= 1'b1;
    else if (taken && last) full <= 1'b0;
  end

  always @(posedge clk) begin
    if (rst || load) unanswered <= 8'd0;
    else unanswered <= unanswered + {7'd0, taken} - {7'd0, answered};
  end

endmodule

`default_nettype wire
