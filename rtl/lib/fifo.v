`resetall
`timescale 1ns / 1ps
`default_nettype none

// First-word fall-through FIFO in distributed RAM (asynchronous read).
// Latency 1 (empty FIFO: in beat to out_valid), one word per cycle each way.
// Invariant: level = words accepted - words taken; in_ready is low only when level = 2^LOG_DEPTH.
module fifo #(
    parameter W = 8,
    parameter LOG_DEPTH = 4
) (
    input wire clk,
    input wire rst,

    input wire in_valid,
    output wire in_ready,
    input wire [W-1:0] in_data,

    output wire out_valid,
    input wire out_ready,
    output wire [W-1:0] out_data,

    output wire [LOG_DEPTH:0] level
);

  localparam DEPTH = 1 << LOG_DEPTH;
  localparam [LOG_DEPTH:0] ONE = {{LOG_DEPTH{1'b0}}, 1'b1};

  initial begin
    if (W < 1 || LOG_DEPTH < 1) begin
      $display("fifo: W and LOG_DEPTH must be at least 1");
      $finish;
    end
  end

  reg [W-1:0] mem[0:DEPTH-1];
  reg [LOG_DEPTH-1:0] wr_ptr;
  reg [LOG_DEPTH-1:0] rd_ptr;
  reg [LOG_DEPTH:0] count;

  wire push = in_valid && in_ready;
  wire pop = out_valid && out_ready;

  assign level = count;
  assign in_ready = !count[LOG_DEPTH];
  assign out_valid = count != {(LOG_DEPTH + 1) {1'b0}};
  assign out_data = mem[rd_ptr];

  always @(posedge clk) begin
    if (push) mem[wr_ptr] <= in_data;
  end

  always @(posedge clk) begin
    if (rst) begin
      wr_ptr <= {LOG_DEPTH{1'b0}};
      rd_ptr <= {LOG_DEPTH{1'b0}};
      count  <= {(LOG_DEPTH + 1) {1'b0}};
    end else begin
      if (push) wr_ptr <= wr_ptr + ONE[LOG_DEPTH-1:0];
      if (pop) rd_ptr <= rd_ptr + ONE[LOG_DEPTH-1:0];
      if (push && !pop) count <= count + ONE;
      else if (pop && !push) count <= count - ONE;
    end
  end

endmodule

`default_nettype wire
