`resetall
`timescale 1ns / 1ps
`default_nettype none

// The device's ring master, 256 bits of whole 32-byte records, on a DMA writer and reader of the stream's width.
// A record is two beats at 128 bits, one at 256, half a beat at 512. AW and W of a record are taken together.
// Latency 0. Throughput: a record every two cycles at 128 bits, one a cycle otherwise.
// Invariant: a record is answered with an error when any part of it was.
module pcie_ring_port #(
    parameter DATA_W = 128
) (
    input wire clk,
    input wire rst,

    input wire [1:0] s_axi_awid,
    input wire [63:0] s_axi_awaddr,
    input wire s_axi_awvalid,
    output wire s_axi_awready,
    input wire [255:0] s_axi_wdata,
    input wire s_axi_wvalid,
    output wire s_axi_wready,
    input wire [7:0] s_axi_arlen,
    output wire [255:0] s_axi_rdata,
    output wire [1:0] s_axi_rresp,
    output wire s_axi_rvalid,
    input wire s_axi_rready,

    output wire [1:0] m_axi_awid,
    output wire [63:0] m_axi_awaddr,
    output wire [2:0] m_axi_size,
    output wire m_axi_awvalid,
    input wire m_axi_awready,
    output wire [DATA_W-1:0] m_axi_wdata,
    output wire [DATA_W/8-1:0] m_axi_wstrb,
    output wire m_axi_wlast,
    output wire m_axi_wvalid,
    input wire m_axi_wready,
    output wire [7:0] m_axi_arlen,
    input wire [DATA_W-1:0] m_axi_rdata,
    input wire [1:0] m_axi_rresp,
    input wire [5:0] m_axi_rlane,
    input wire m_axi_rvalid,
    output wire m_axi_rready
);

  initial begin
    if (DATA_W != 128 && DATA_W != 256 && DATA_W != 512) begin
      $display("pcie_ring_port: DATA_W must be 128, 256 or 512");
      $finish;
    end
  end

  wire final_beat;
  wire pair = s_axi_awvalid && s_axi_wvalid;
  reg aw_done;
  wire aw_ok = aw_done || m_axi_awready;
  wire w_take = m_axi_wvalid && m_axi_wready;
  wire done = w_take && final_beat;

  assign m_axi_awid = s_axi_awid;
  assign m_axi_awaddr = s_axi_awaddr;
  assign m_axi_awvalid = pair && !aw_done;
  assign m_axi_wvalid = pair && (!final_beat || aw_ok);
  assign m_axi_wlast = final_beat;
  assign s_axi_awready = done;
  assign s_axi_wready = done;

  always @(posedge clk) begin
    if (rst) aw_done <= 1'b0;
    else aw_done <= (aw_done || (m_axi_awvalid && m_axi_awready)) && !done;
  end

  generate
    if (DATA_W == 128) begin : gen_two_beats
      reg second;
      reg [127:0] low;
      reg [1:0] low_resp;
      wire high = m_axi_rlane[4];
      wire r_take = m_axi_rvalid && m_axi_rready;

      always @(posedge clk) begin
        if (rst) second <= 1'b0;
        else if (w_take) second <= !second;
      end

      always @(posedge clk) begin
        if (r_take && !high) begin
          low <= m_axi_rdata;
          low_resp <= m_axi_rresp;
        end
      end

      assign final_beat = second;
      assign m_axi_wdata = second ? s_axi_wdata[255:128] : s_axi_wdata[127:0];
      assign m_axi_wstrb = 16'hFFFF;
      assign m_axi_size = 3'd4;
      assign m_axi_arlen = {s_axi_arlen[6:0], 1'b1};
      assign s_axi_rdata = {m_axi_rdata, low};
      assign s_axi_rresp = m_axi_rresp | low_resp;
      assign s_axi_rvalid = m_axi_rvalid && high;
      assign m_axi_rready = !high || s_axi_rready;
      wire unused = &{1'b0, s_axi_arlen[7], m_axi_rlane};
    end else begin : gen_one_beat
      assign final_beat = 1'b1;
      assign m_axi_size = 3'd5;
      assign m_axi_arlen = s_axi_arlen;
      assign s_axi_rresp = m_axi_rresp;
      assign s_axi_rvalid = m_axi_rvalid;
      assign m_axi_rready = s_axi_rready;
      if (DATA_W == 256) begin : gen_whole
        assign m_axi_wdata = s_axi_wdata;
        assign m_axi_wstrb = {32{1'b1}};
        assign s_axi_rdata = m_axi_rdata;
        wire unused = &{1'b0, m_axi_rlane};
      end else begin : gen_half
        wire upper = s_axi_awaddr[5];
        assign m_axi_wdata = {2{s_axi_wdata}};
        assign m_axi_wstrb = {{32{upper}}, {32{!upper}}};
        assign s_axi_rdata = m_axi_rlane[5] ? m_axi_rdata[511:256] : m_axi_rdata[255:0];
        wire unused = &{1'b0, m_axi_rlane[4:0]};
      end
    end
  endgenerate

endmodule

`default_nettype wire
