`resetall
`timescale 1ns / 1ps
`default_nettype none

// First-word fall-through FIFO in distributed RAM (asynchronous read).
// Latency 1 (empty FIFO: in beat to out_valid), one word per cycle each way. out_valid, in_ready and level are registers;
// out_ready reaches pointers only, whatever W is.
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

  // A wide word is stored in two halves; the second has inverted addresses, so that no address has to reach the whole width.
  localparam HALVES = (W > 36) ? 2 : 1;
  localparam HALF_W = (W + HALVES - 1) / HALVES;

  // Both pointers, one and two words further.
  reg [LOG_DEPTH-1:0] wr_next;
  reg [LOG_DEPTH-1:0] rd_next;
  reg [LOG_DEPTH-1:0] wr_after;
  reg [LOG_DEPTH-1:0] rd_after;
  reg [LOG_DEPTH:0] count;
  // From the pointers, so that count is there only for who asks for level.
  reg some;
  reg full;

  wire one = rd_after == wr_next;
  wire one_free = wr_after == rd_next;
  wire push = in_valid && !full;
  wire pop = some && out_ready;

  assign level = count;
  assign in_ready = !full;
  assign out_valid = some;

  genvar h;
  generate
    for (h = 0; h < HALVES; h = h + 1) begin : gen_half
      localparam LOW = h * HALF_W;
      localparam THIS_W = (h == 1) ? W - HALF_W : HALF_W;
      localparam [LOG_DEPTH-1:0] FLIP = {LOG_DEPTH{h == 1}};

      (* ram_style = "distributed" *)
      reg [THIS_W-1:0] mem[0:DEPTH-1];
      reg [LOG_DEPTH-1:0] wr_ptr;
      reg [LOG_DEPTH-1:0] rd_ptr;

      assign out_data[LOW+:THIS_W] = mem[rd_ptr];

      // The word at wr_ptr is free: in_valid need not reach the RAM.
      always @(posedge clk) begin
        if (!full) mem[wr_ptr] <= in_data[LOW+:THIS_W];
      end

      always @(posedge clk) begin
        if (rst) begin
          wr_ptr <= FLIP;
          rd_ptr <= FLIP;
        end else begin
          if (push) wr_ptr <= wr_next ^ FLIP;
          if (pop) rd_ptr <= rd_next ^ FLIP;
        end
      end
    end
  endgenerate

  always @(posedge clk) begin
    if (rst) begin
      wr_next <= ONE[LOG_DEPTH-1:0];
      rd_next <= ONE[LOG_DEPTH-1:0];
      wr_after <= ONE[LOG_DEPTH-1:0] + ONE[LOG_DEPTH-1:0];
      rd_after <= ONE[LOG_DEPTH-1:0] + ONE[LOG_DEPTH-1:0];
      count <= {(LOG_DEPTH + 1) {1'b0}};
      some <= 1'b0;
      full <= 1'b0;
    end else begin
      if (push) begin
        wr_next <= wr_after;
        wr_after <= wr_after + ONE[LOG_DEPTH-1:0];
      end
      if (pop) begin
        rd_next <= rd_after;
        rd_after <= rd_after + ONE[LOG_DEPTH-1:0];
      end
      // Plus or minus one.
      if (push != pop) count <= count + {{LOG_DEPTH{pop}}, 1'b1};
      some <= push || (some && !(out_ready && one));
      full <= full ? !pop : push && !pop && one_free;
    end
  end

endmodule

`default_nettype wire
