`resetall
`timescale 1ns / 1ps
`default_nettype none

// RAM of small words with one write and one read port, in banks of 64 rows: every bank is read (1 cycle), and the word wanted is
// selected behind their registers, so that a deep one in distributed RAM is as fast as a shallow one.
// A read of the row that is written in the same cycle means nothing (ram_1r1w with OLD = 0). Contents are undefined until
// written.
module ram_banks #(
    parameter W = 4,
    parameter LOG_DEPTH = 8
) (
    input wire clk,

    input wire wr_en,
    input wire [LOG_DEPTH-1:0] wr_addr,
    input wire [W-1:0] wr_data,

    input wire rd_en,
    input wire [LOG_DEPTH-1:0] rd_addr,
    output wire [W-1:0] rd_data
);

  localparam LOG_ROWS = 6;

  generate
    if (LOG_DEPTH <= LOG_ROWS) begin : gen_one
      ram_1r1w #(
          .W(W),
          .LOG_DEPTH(LOG_DEPTH),
          .OLD(0)
      ) bank (
          .clk(clk),
          .wr_en(wr_en),
          .wr_addr(wr_addr),
          .wr_data(wr_data),
          .rd_en(rd_en),
          .rd_addr(rd_addr),
          .rd_data(rd_data)
      );
    end else begin : gen_banks
      localparam BANK_W = LOG_DEPTH - LOG_ROWS;
      wire [(W<<BANK_W)-1:0] words;
      reg [BANK_W-1:0] sel;
      genvar b;
      for (b = 0; b < (1 << BANK_W); b = b + 1) begin : gen_bank
        ram_1r1w #(
            .W(W),
            .LOG_DEPTH(LOG_ROWS),
            .OLD(0)
        ) bank (
            .clk(clk),
            .wr_en(wr_en && wr_addr[LOG_DEPTH-1:LOG_ROWS] == b),
            .wr_addr(wr_addr[LOG_ROWS-1:0]),
            .wr_data(wr_data),
            .rd_en(rd_en),
            .rd_addr(rd_addr[LOG_ROWS-1:0]),
            .rd_data(words[b*W+:W])
        );
      end
      always @(posedge clk) if (rd_en) sel <= rd_addr[LOG_DEPTH-1:LOG_ROWS];
      assign rd_data = words[sel*W+:W];
    end
  endgenerate

endmodule

`default_nettype wire
