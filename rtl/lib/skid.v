`resetall
`timescale 1ns / 1ps
`default_nettype none

// Two-entry elastic buffer: out_valid, out_data and in_ready are all registers.
// Latency 1, one word per cycle.
// Invariant: in_ready is low only while both entries hold a word.
module skid #(
    parameter W = 8
) (
    input wire clk,
    input wire rst,

    input wire in_valid,
    output wire in_ready,
    input wire [W-1:0] in_data,

    output wire out_valid,
    input wire out_ready,
    output wire [W-1:0] out_data
);

  reg out_full;
  reg [W-1:0] out_word;
  reg spare_full;
  reg [W-1:0] spare_word;

  assign in_ready = !spare_full;
  assign out_valid = out_full;
  assign out_data = out_word;

  wire advance = !out_full || out_ready;

  always @(posedge clk) begin
    if (advance) out_word <= spare_full ? spare_word : in_data;
    if (!spare_full) spare_word <= in_data;
  end

  always @(posedge clk) begin
    if (rst) begin
      out_full   <= 1'b0;
      spare_full <= 1'b0;
    end else if (advance) begin
      out_full   <= spare_full || in_valid;
      spare_full <= 1'b0;
    end else if (in_valid && !spare_full) begin
      spare_full <= 1'b1;
    end
  end

endmodule

`default_nettype wire
