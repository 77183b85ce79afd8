`resetall
`timescale 1ns / 1ps
`default_nettype none

// A copy of the attach table: the entry that a PASID has, one-hot, or none. For each of the five digits of a PASID, and each value
// of it, the table has a row with one bit an entry; an entry matches when all five rows say so.
// pasid in t, match in t + 1. Rows are written by dmmu_cmd, one of each digit at once.
// Invariant: at most one entry matches.
module dmmu_attach #(
    parameter LOG_PASIDS = 4
) (
    input wire clk,

    input wire wr,
    input wire [19:0] wr_at,
    input wire [5*(1<<LOG_PASIDS)-1:0] wr_rows,

    input wire [19:0] pasid,
    output reg [(1<<LOG_PASIDS)-1:0] match
);

  localparam P = 1 << LOG_PASIDS;

  wire [5*P-1:0] found;

  genvar g;
  generate
    for (g = 0; g < 5; g = g + 1) begin : gen_digit
      (* ram_style = "distributed" *) reg [P-1:0] rows[0:15];
      assign found[g*P+:P] = rows[pasid[g*4+:4]];
      always @(posedge clk) if (wr) rows[wr_at[g*4+:4]] <= wr_rows[g*P+:P];
    end
  endgenerate

  always @(posedge clk) begin
    match <= found[0+:P] & found[P+:P] & found[2*P+:P] & found[3*P+:P] & found[4*P+:P];
  end

endmodule

`default_nettype wire
