`resetall
`timescale 1ns / 1ps
`default_nettype none

// Merges N packet streams onto RQ, whole packets, round robin. tinfo (requester, PASID) travels with each beat.
// Latency 1, one beat a cycle inside a packet and between packets.
// Invariant: packets leave in the order in which their first beats were taken; no packet is interleaved with another.
module pcie_rq_mux #(
    parameter DATA_W = 128,
    parameter N = 2,
    parameter INFO_W = 28,
    parameter RQ_USER_W = (DATA_W == 512) ? 137 : 62
) (
    input wire clk,
    input wire rst,

    input wire [N*DATA_W-1:0] s_axis_rq_tdata,
    input wire [N*DATA_W/32-1:0] s_axis_rq_tkeep,
    input wire [N-1:0] s_axis_rq_tlast,
    input wire [N*RQ_USER_W-1:0] s_axis_rq_tuser,
    input wire [N*INFO_W-1:0] s_axis_rq_info,
    input wire [N-1:0] s_axis_rq_tvalid,
    output wire [N-1:0] s_axis_rq_tready,

    output wire [DATA_W-1:0] m_axis_rq_tdata,
    output wire [DATA_W/32-1:0] m_axis_rq_tkeep,
    output wire m_axis_rq_tlast,
    output wire [RQ_USER_W-1:0] m_axis_rq_tuser,
    output wire [INFO_W-1:0] m_axis_rq_info,
    output wire m_axis_rq_tvalid,
    input wire m_axis_rq_tready
);

  localparam LANES = DATA_W / 32;
  localparam W = DATA_W + LANES + 1 + RQ_USER_W + INFO_W;

  wire ready;
  wire [N-1:0] turn;
  reg in_packet;
  reg [N-1:0] owner;
  wire [N-1:0] grant = in_packet ? owner : turn;
  wire valid = (s_axis_rq_tvalid & grant) != {N{1'b0}};
  wire last = (s_axis_rq_tlast & grant) != {N{1'b0}};

  arb_rr #(
      .N(N)
  ) arb (
      .clk(clk),
      .rst(rst),
      .req(s_axis_rq_tvalid),
      .grant(turn),
      .advance(!in_packet && valid && ready)
  );

  assign s_axis_rq_tready = grant & {N{ready}};

  always @(posedge clk) begin
    if (!in_packet) owner <= turn;
  end

  always @(posedge clk) begin
    if (rst) in_packet <= 1'b0;
    else if (valid && ready) in_packet <= !last;
  end

  reg [W-1:0] word;
  integer i;
  always @* begin
    word = {W{1'b0}};
    for (i = 0; i < N; i = i + 1)
    if (grant[i])
      word = word | {
        s_axis_rq_tdata[i*DATA_W+:DATA_W],
        s_axis_rq_tkeep[i*LANES+:LANES],
        s_axis_rq_tlast[i],
        s_axis_rq_tuser[i*RQ_USER_W+:RQ_USER_W],
        s_axis_rq_info[i*INFO_W+:INFO_W]
      };
  end

  skid #(
      .W(W)
  ) out_skid (
      .clk(clk),
      .rst(rst),
      .in_valid(valid),
      .in_ready(ready),
      .in_data(word),
      .out_valid(m_axis_rq_tvalid),
      .out_ready(m_axis_rq_tready),
      .out_data({m_axis_rq_tdata, m_axis_rq_tkeep, m_axis_rq_tlast, m_axis_rq_tuser, m_axis_rq_info})
  );

endmodule

`default_nettype wire
