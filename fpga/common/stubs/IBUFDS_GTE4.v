`resetall
`timescale 1ns / 1ps
`default_nettype none

// Stub of the transceivers' reference clock buffer (UG578): O to the transceivers, ODIV2 to the fabric.
module IBUFDS_GTE4 #(
    parameter [1:0] REFCLK_HROW_CK_SEL = 2'b00
) (
    input wire I,
    input wire IB,
    input wire CEB,
    output wire O,
    output wire ODIV2
);

  assign O = I;
  assign ODIV2 = I;

  wire unused = &{1'b0, IB, CEB, REFCLK_HROW_CK_SEL};

endmodule

`default_nettype wire
