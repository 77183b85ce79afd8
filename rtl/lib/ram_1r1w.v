`resetall
`timescale 1ns / 1ps
`default_nettype none

// RAM with one write and one read port. The read is registered (1 cycle) and returns the old word on a collision;
// rd_data holds while rd_en is low. With CLEAR = 1 every row is zeroed after rst, one a cycle, and ready rises after.
// Invariant: while ready is low the write port belongs to the clearing counter and wr_en is ignored.
module ram_1r1w #(
    parameter W = 8,
    parameter LOG_DEPTH = 4,
    parameter CLEAR = 0
) (
    input wire clk,
    input wire rst,
    output wire ready,

    input wire wr_en,
    input wire [LOG_DEPTH-1:0] wr_addr,
    input wire [W-1:0] wr_data,

    input wire rd_en,
    input wire [LOG_DEPTH-1:0] rd_addr,
    output reg [W-1:0] rd_data
);

  localparam DEPTH = 1 << LOG_DEPTH;

  reg [W-1:0] mem[0:DEPTH-1];

  wire mem_wr_en;
  wire [LOG_DEPTH-1:0] mem_wr_addr;
  wire [W-1:0] mem_wr_data;

  generate
    if (CLEAR != 0) begin : gen_clear
      // The top bit rises when the last row has been cleared.
      reg [LOG_DEPTH:0] clear_row;
      assign ready = clear_row[LOG_DEPTH];
      always @(posedge clk) begin
        if (rst) clear_row <= {(LOG_DEPTH + 1) {1'b0}};
        else if (!ready) clear_row <= clear_row + {{LOG_DEPTH{1'b0}}, 1'b1};
      end
      assign mem_wr_en   = wr_en || !ready;
      assign mem_wr_addr = ready ? wr_addr : clear_row[LOG_DEPTH-1:0];
      assign mem_wr_data = ready ? wr_data : {W{1'b0}};
    end else begin : gen_plain
      wire unused_rst = rst;
      assign ready = 1'b1;
      assign mem_wr_en = wr_en;
      assign mem_wr_addr = wr_addr;
      assign mem_wr_data = wr_data;
    end
  endgenerate

  always @(posedge clk) begin
    if (mem_wr_en) mem[mem_wr_addr] <= mem_wr_data;
  end

  always @(posedge clk) begin
    if (rd_en) rd_data <= mem[rd_addr];
  end

endmodule

`default_nettype wire
