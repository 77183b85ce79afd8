`resetall
`timescale 1ns / 1ps
`default_nettype none

// RAM with one write and one read port. The read is registered (1 cycle) and returns the old word on a collision;
// rd_data holds while rd_en is low. Contents are undefined until written: whoever needs rows cleared writes them.
module ram_1r1w #(
    parameter W = 8,
    parameter LOG_DEPTH = 4
) (
    input wire clk,

    input wire wr_en,
    input wire [LOG_DEPTH-1:0] wr_addr,
    input wire [W-1:0] wr_data,

    input wire rd_en,
    input wire [LOG_DEPTH-1:0] rd_addr,
    output reg [W-1:0] rd_data
);

  reg [W-1:0] mem[0:(1<<LOG_DEPTH)-1];

  always @(posedge clk) begin
    if (wr_en) mem[wr_addr] <= wr_data;
  end

  always @(posedge clk) begin
    if (rd_en) rd_data <= mem[rd_addr];
  end

endmodule

`default_nettype wire
