`resetall
`timescale 1ns / 1ps
`default_nettype none

// Responses of the bus side and of the MMU's own errors on one port. An error starts between two bursts of the bus side, or
// while the bus side has no beat, and is not interrupted; it waits one cycle for its turn, and gives the turn back with its last
// beat. Latency 1, one beat per cycle. m_ready and e_ready come from registers only.
// Invariants: responses of one ID leave in the order in which they are offered; neither side waits for more than one burst of
// the other.
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
  reg e_turn;
  wire room;
  wire [1:0] level;
  wire unused = &{1'b0, level};

  assign m_ready = room && !e_turn;
  assign e_ready = room && e_turn;

  // Two entries of distributed RAM: s_ready reaches no data register.
  fifo #(
      .W(W),
      .LOG_DEPTH(1)
  ) out (
      .clk(clk),
      .rst(rst),
      .in_valid(e_turn ? e_valid : m_valid),
      .in_ready(room),
      .in_data(e_turn ? e_data : m_data),
      .out_valid(s_valid),
      .out_ready(s_ready),
      .out_data(s_data),
      .level(level)
  );

  // The bus side has no beat, or is between two bursts after this cycle.
  wire m_pause = !m_valid || (room ? m_last : !m_inside);

  always @(posedge clk) begin
    if (rst) begin
      m_inside <= 1'b0;
      e_turn   <= 1'b0;
    end else begin
      if (m_valid && m_ready) m_inside <= !m_last;
      e_turn <= e_turn ? !(e_valid && room && e_last) : e_valid && m_pause;
    end
  end

endmodule

`default_nettype wire
