`resetall
`timescale 1ns / 1ps
`default_nettype none

// FIFO whose out_valid and out_data are registers, for a writer that never stalls and counts the places itself.
// Latency 1 (empty FIFO: in beat to out_valid), one word per cycle each way. in_valid and in_data may come late in the cycle.
// Invariant: the writer keeps at most 2^LOG_DEPTH words in it; words leave in order.
module fifo_reg #(
    parameter W = 8,
    parameter LOG_DEPTH = 4
) (
    input wire clk,
    input wire rst,

    input wire in_valid,
    input wire [W-1:0] in_data,

    output reg out_valid,
    input wire out_ready,
    output reg [W-1:0] out_data
);

  localparam [LOG_DEPTH-1:0] ONE = {{(LOG_DEPTH - 1) {1'b0}}, 1'b1};

  initial begin
    if (W < 1 || LOG_DEPTH < 1) begin
      $display("fifo_reg: W and LOG_DEPTH must be at least 1");
      $finish;
    end
  end

  (* ram_style = "distributed" *) reg [W-1:0] mem[0:(1<<LOG_DEPTH)-1];
  reg [LOG_DEPTH-1:0] wr_ptr;
  reg [LOG_DEPTH-1:0] wr_next;
  reg [LOG_DEPTH-1:0] rd_ptr;
  reg [LOG_DEPTH-1:0] rd_next;
  // The word of the cycle before stays in mem; wr_ptr passes it a cycle late, so that in_valid reaches two registers only.
  reg pushed;
  // Words stood in mem before it.
  reg some;

  wire [LOG_DEPTH-1:0] wr_at = pushed ? wr_next : wr_ptr;
  wire waiting = some || pushed;
  wire load = !out_valid || out_ready;
  wire direct = load && !waiting;

  // The word at wr_at counts only when it is passed.
  always @(posedge clk) begin
    mem[wr_at] <= in_data;
    if (load) out_data <= waiting ? mem[rd_ptr] : in_data;
  end

  always @(posedge clk) begin
    if (rst) begin
      out_valid <= 1'b0;
      wr_ptr <= {LOG_DEPTH{1'b0}};
      wr_next <= ONE;
      rd_ptr <= {LOG_DEPTH{1'b0}};
      rd_next <= ONE;
      pushed <= 1'b0;
      some <= 1'b0;
    end else begin
      wr_ptr <= wr_at;
      wr_next <= wr_at + ONE;
      if (load && waiting) begin
        rd_ptr  <= rd_next;
        rd_next <= rd_next + ONE;
      end
      pushed <= in_valid && !direct;
      some <= waiting && !(load && (pushed ? wr_next == rd_next : wr_ptr == rd_next));
      if (load) out_valid <= waiting || in_valid;
    end
  end

endmodule

`default_nettype wire
