`resetall
`timescale 1ns / 1ps
`default_nettype none

// RK-XCKU5P-F (XCKU5P), gen3 x4. led[0]: link trained; led[1]: the user clock runs; the others are off.
module fpga #(
    parameter DATA_W = 128,
    parameter SETS = 256,
    parameter WAYS = 4,
    parameter PARK = 64,
    parameter MSHRS = 32,
    parameter TRACK = 64,
    parameter PASIDS = 16
) (
    output wire [3:0] led,

    input wire [3:0] pcie_rx_p,
    input wire [3:0] pcie_rx_n,
    output wire [3:0] pcie_tx_p,
    output wire [3:0] pcie_tx_n,
    input wire pcie_refclk_p,
    input wire pcie_refclk_n,
    input wire pcie_reset_n
);

  wire heartbeat;
  wire link_up;

  fpga_pcie #(
      .LANES(4),
      .DATA_W(DATA_W),
      .SETS(SETS),
      .WAYS(WAYS),
      .PARK(PARK),
      .MSHRS(MSHRS),
      .TRACK(TRACK),
      .PASIDS(PASIDS)
  ) u_pcie (
      .pcie_rx_p(pcie_rx_p),
      .pcie_rx_n(pcie_rx_n),
      .pcie_tx_p(pcie_tx_p),
      .pcie_tx_n(pcie_tx_n),
      .pcie_refclk_p(pcie_refclk_p),
      .pcie_refclk_n(pcie_refclk_n),
      .pcie_reset_n(pcie_reset_n),
      .heartbeat(heartbeat),
      .link_up(link_up)
  );

  assign led = {2'b00, heartbeat, link_up};

endmodule

`default_nettype wire
