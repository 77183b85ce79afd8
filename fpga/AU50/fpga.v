`resetall
`timescale 1ns / 1ps
`default_nettype none

// Alveo U50, gen3 x16. The cage's green LED: link trained; its activity LED: the user clock runs. HBM is unused.
module fpga #(
    parameter DATA_W = 512,
    parameter SETS = 256,
    parameter WAYS = 4,
    parameter PARK = 64,
    parameter MSHRS = 32,
    parameter TRACK = 64,
    parameter PASIDS = 16
) (
    output wire qsfp_led_act,
    output wire qsfp_led_stat_g,
    output wire qsfp_led_stat_y,
    output wire hbm_cattrip,

    input wire [15:0] pcie_rx_p,
    input wire [15:0] pcie_rx_n,
    output wire [15:0] pcie_tx_p,
    output wire [15:0] pcie_tx_n,
    input wire pcie_refclk_p,
    input wire pcie_refclk_n,
    input wire pcie_reset_n
);

  wire heartbeat;
  wire link_up;

  fpga_pcie #(
      .LANES(16),
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

  assign qsfp_led_act = heartbeat;
  assign qsfp_led_stat_g = link_up;
  assign qsfp_led_stat_y = 1'b0;
  assign hbm_cattrip = 1'b0;

endmodule

`default_nettype wire
