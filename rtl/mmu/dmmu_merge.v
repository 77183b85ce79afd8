`resetall
`timescale 1ns / 1ps
`default_nettype none

// Responses of the bus side and of the MMU's own errors on one port. An error starts between two bursts of the bus side, or
// while the bus side has no beat, and is not interrupted. Latency 1, one beat per cycle.
// Invariant: responses of one ID leave in the order in which they are offered.
module dmmu_merge #(
    parameter W = 8
) (
    input wire clk,
    input wire rst,

    input wire m_valid,
    output wire m_ready,
    input wire m_last,
    input wire [W-1:0] m_data,

    input wire e_valid,
    output wire e_ready,
    input wire e_last,
    input wire [W-1:0] e_data,

    output wire s_valid,
    input wire s_ready,
    output wire [W-1:0] s_data
);

  reg m_inside;
  reg e_inside;
  wire room;
  wire pick_e = e_valid && (e_inside || !m_inside || !m_valid);

  assign e_ready = room && pick_e;
  assign m_ready = room && !pick_e && !e_inside;

  skid #(
      .W(W)
  ) out (
      .clk(clk),
      .rst(rst),
      .in_valid(pick_e || (m_valid && !e_inside)),
      .in_ready(room),
      .in_data(pick_e ? e_data : m_data),
      .out_valid(s_valid),
      .out_ready(s_ready),
      .out_data(s_data)
  );

  always @(posedge clk) begin
    if (rst) begin
      m_inside <= 1'b0;
      e_inside <= 1'b0;
    end else begin
      if (m_valid && m_ready) m_inside <= !m_last;
      if (e_valid && e_ready) e_inside <= !e_last;
    end
  end

endmodule

`default_nettype wire
