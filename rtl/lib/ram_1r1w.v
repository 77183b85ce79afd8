`resetall
`timescale 1ns / 1ps
`default_nettype none

// RAM with one write and one read port. The read is registered (1 cycle); rd_data holds while rd_en is low.
// A read of the row that is written in the same cycle returns the old word with OLD = 1. With OLD = 0 it means nothing: it costs
// no logic on any RAM, the user throws it away, and in simulation it is the wrong word.
// Contents are undefined until written: whoever needs rows cleared writes them.
module ram_1r1w #(
    parameter W = 8,
    parameter LOG_DEPTH = 4,
    parameter OLD = 1
) (
    input wire clk,

    input wire wr_en,
    input wire [LOG_DEPTH-1:0] wr_addr,
    input wire [W-1:0] wr_data,

    input wire rd_en,
    input wire [LOG_DEPTH-1:0] rd_addr,
    output reg [W-1:0] rd_data
);

  generate
    if (OLD != 0) begin : gen_old
      reg [W-1:0] mem[0:(1<<LOG_DEPTH)-1];

      always @(posedge clk) begin
        if (wr_en) mem[wr_addr] <= wr_data;
      end

      always @(posedge clk) begin
        if (rd_en) rd_data <= mem[rd_addr];
      end
    end else begin : gen_any
      (* no_rw_check *) reg [W-1:0] mem[0:(1<<LOG_DEPTH)-1];

      always @(posedge clk) begin
        if (wr_en) mem[wr_addr] <= wr_data;
      end

      always @(posedge clk) begin
`ifdef SYNTHESIS
        if (rd_en) rd_data <= mem[rd_addr];
`else
        if (rd_en) rd_data <= (wr_en && wr_addr == rd_addr) ? ~mem[rd_addr] : mem[rd_addr];
`endif
      end
    end
  endgenerate

endmodule

`default_nettype wire
