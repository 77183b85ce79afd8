`resetall
`timescale 1ns / 1ps
`default_nettype none

// 2:1 multiplexer of ring masters: AXI4 reads of any length, writes of one beat.
// Bit SEL_BIT of the ID says which side an access belongs to; both sides leave that bit zero.
// Latency 0 in every direction, one access per cycle each way.
// Invariants: an address once offered is not changed before it is taken; AW and W of a write are offered together and the
// next write starts only when both have been taken, so W order is AW order.
module axi_ring_mux #(
    parameter ID_W = 2,
    parameter SEL_BIT = 0
) (
    input wire clk,
    input wire rst,

    input wire [ID_W-1:0] s0_axi_awid,
    input wire [63:0] s0_axi_awaddr,
    input wire [7:0] s0_axi_awlen,
    input wire [2:0] s0_axi_awsize,
    input wire [1:0] s0_axi_awburst,
    input wire s0_axi_awlock,
    input wire [3:0] s0_axi_awcache,
    input wire [2:0] s0_axi_awprot,
    input wire [3:0] s0_axi_awqos,
    input wire s0_axi_awvalid,
    output wire s0_axi_awready,

    input wire [255:0] s0_axi_wdata,
    input wire [31:0] s0_axi_wstrb,
    input wire s0_axi_wlast,
    input wire s0_axi_wvalid,
    output wire s0_axi_wready,

    output wire [ID_W-1:0] s0_axi_bid,
    output wire [1:0] s0_axi_bresp,
    output wire s0_axi_bvalid,
    input wire s0_axi_bready,

    input wire [ID_W-1:0] s0_axi_arid,
    input wire [63:0] s0_axi_araddr,
    input wire [7:0] s0_axi_arlen,
    input wire [2:0] s0_axi_arsize,
    input wire [1:0] s0_axi_arburst,
    input wire s0_axi_arlock,
    input wire [3:0] s0_axi_arcache,
    input wire [2:0] s0_axi_arprot,
    input wire [3:0] s0_axi_arqos,
    input wire s0_axi_arvalid,
    output wire s0_axi_arready,

    output wire [ID_W-1:0] s0_axi_rid,
    output wire [255:0] s0_axi_rdata,
    output wire [1:0] s0_axi_rresp,
    output wire s0_axi_rlast,
    output wire s0_axi_rvalid,
    input wire s0_axi_rready,

    input wire [ID_W-1:0] s1_axi_awid,
    input wire [63:0] s1_axi_awaddr,
    input wire [7:0] s1_axi_awlen,
    input wire [2:0] s1_axi_awsize,
    input wire [1:0] s1_axi_awburst,
    input wire s1_axi_awlock,
    input wire [3:0] s1_axi_awcache,
    input wire [2:0] s1_axi_awprot,
    input wire [3:0] s1_axi_awqos,
    input wire s1_axi_awvalid,
    output wire s1_axi_awready,

    input wire [255:0] s1_axi_wdata,
    input wire [31:0] s1_axi_wstrb,
    input wire s1_axi_wlast,
    input wire s1_axi_wvalid,
    output wire s1_axi_wready,

    output wire [ID_W-1:0] s1_axi_bid,
    output wire [1:0] s1_axi_bresp,
    output wire s1_axi_bvalid,
    input wire s1_axi_bready,

    input wire [ID_W-1:0] s1_axi_arid,
    input wire [63:0] s1_axi_araddr,
    input wire [7:0] s1_axi_arlen,
    input wire [2:0] s1_axi_arsize,
    input wire [1:0] s1_axi_arburst,
    input wire s1_axi_arlock,
    input wire [3:0] s1_axi_arcache,
    input wire [2:0] s1_axi_arprot,
    input wire [3:0] s1_axi_arqos,
    input wire s1_axi_arvalid,
    output wire s1_axi_arready,

    output wire [ID_W-1:0] s1_axi_rid,
    output wire [255:0] s1_axi_rdata,
    output wire [1:0] s1_axi_rresp,
    output wire s1_axi_rlast,
    output wire s1_axi_rvalid,
    input wire s1_axi_rready,

    output wire [ID_W-1:0] m_axi_awid,
    output wire [63:0] m_axi_awaddr,
    output wire [7:0] m_axi_awlen,
    output wire [2:0] m_axi_awsize,
    output wire [1:0] m_axi_awburst,
    output wire m_axi_awlock,
    output wire [3:0] m_axi_awcache,
    output wire [2:0] m_axi_awprot,
    output wire [3:0] m_axi_awqos,
    output wire m_axi_awvalid,
    input wire m_axi_awready,

    output wire [255:0] m_axi_wdata,
    output wire [31:0] m_axi_wstrb,
    output wire m_axi_wlast,
    output wire m_axi_wvalid,
    input wire m_axi_wready,

    input wire [ID_W-1:0] m_axi_bid,
    input wire [1:0] m_axi_bresp,
    input wire m_axi_bvalid,
    output wire m_axi_bready,

    output wire [ID_W-1:0] m_axi_arid,
    output wire [63:0] m_axi_araddr,
    output wire [7:0] m_axi_arlen,
    output wire [2:0] m_axi_arsize,
    output wire [1:0] m_axi_arburst,
    output wire m_axi_arlock,
    output wire [3:0] m_axi_arcache,
    output wire [2:0] m_axi_arprot,
    output wire [3:0] m_axi_arqos,
    output wire m_axi_arvalid,
    input wire m_axi_arready,

    input wire [ID_W-1:0] m_axi_rid,
    input wire [255:0] m_axi_rdata,
    input wire [1:0] m_axi_rresp,
    input wire m_axi_rlast,
    input wire m_axi_rvalid,
    output wire m_axi_rready
);

  // Write: the side is held while its AW or its W has not been taken.
  reg wr_held;
  reg wr_held_side;
  reg aw_done;
  reg w_done;

  wire [1:0] wr_req = {s1_axi_awvalid || s1_axi_wvalid, s0_axi_awvalid || s0_axi_wvalid};
  wire [1:0] wr_grant;
  wire wr_side = wr_held ? wr_held_side : wr_grant[1];
  wire aw_taken = m_axi_awvalid && m_axi_awready;
  wire w_taken = m_axi_wvalid && m_axi_wready;
  wire wr_end = (aw_done || aw_taken) && (w_done || w_taken);

  arb_rr #(
      .N(2)
  ) u_wr_arb (
      .clk(clk),
      .rst(rst),
      .req(wr_req),
      .grant(wr_grant),
      .advance(!wr_held)
  );

  always @(posedge clk) begin
    if (rst) begin
      wr_held <= 1'b0;
      wr_held_side <= 1'b0;
      aw_done <= 1'b0;
      w_done <= 1'b0;
    end else begin
      wr_held <= (wr_held || wr_grant != 2'd0) && !wr_end;
      wr_held_side <= wr_side;
      aw_done <= (aw_done || aw_taken) && !wr_end;
      w_done <= (w_done || w_taken) && !wr_end;
    end
  end

  // Read: the side is held while its AR has not been taken.
  reg rd_held;
  reg rd_held_side;

  wire [1:0] rd_req = {s1_axi_arvalid, s0_axi_arvalid};
  wire [1:0] rd_grant;
  wire rd_side = rd_held ? rd_held_side : rd_grant[1];

  arb_rr #(
      .N(2)
  ) u_rd_arb (
      .clk(clk),
      .rst(rst),
      .req(rd_req),
      .grant(rd_grant),
      .advance(!rd_held)
  );

  always @(posedge clk) begin
    if (rst) begin
      rd_held <= 1'b0;
      rd_held_side <= 1'b0;
    end else begin
      rd_held <= (rd_held || rd_grant != 2'd0) && !m_axi_arready;
      rd_held_side <= rd_side;
    end
  end

  localparam [ID_W-1:0] SEL = {{(ID_W - 1) {1'b0}}, 1'b1} << SEL_BIT;

  assign m_axi_awid = wr_side ? (s1_axi_awid | SEL) : s0_axi_awid;
  assign m_axi_awaddr = wr_side ? s1_axi_awaddr : s0_axi_awaddr;
  assign m_axi_awlen = wr_side ? s1_axi_awlen : s0_axi_awlen;
  assign m_axi_awsize = wr_side ? s1_axi_awsize : s0_axi_awsize;
  assign m_axi_awburst = wr_side ? s1_axi_awburst : s0_axi_awburst;
  assign m_axi_awlock = wr_side ? s1_axi_awlock : s0_axi_awlock;
  assign m_axi_awcache = wr_side ? s1_axi_awcache : s0_axi_awcache;
  assign m_axi_awprot = wr_side ? s1_axi_awprot : s0_axi_awprot;
  assign m_axi_awqos = wr_side ? s1_axi_awqos : s0_axi_awqos;
  assign m_axi_awvalid = (wr_side ? s1_axi_awvalid : s0_axi_awvalid) && !aw_done;
  assign s0_axi_awready = m_axi_awready && !wr_side && !aw_done;
  assign s1_axi_awready = m_axi_awready && wr_side && !aw_done;

  assign m_axi_wdata = wr_side ? s1_axi_wdata : s0_axi_wdata;
  assign m_axi_wstrb = wr_side ? s1_axi_wstrb : s0_axi_wstrb;
  assign m_axi_wlast = wr_side ? s1_axi_wlast : s0_axi_wlast;
  assign m_axi_wvalid = (wr_side ? s1_axi_wvalid : s0_axi_wvalid) && !w_done;
  assign s0_axi_wready = m_axi_wready && !wr_side && !w_done;
  assign s1_axi_wready = m_axi_wready && wr_side && !w_done;

  assign m_axi_arid = rd_side ? (s1_axi_arid | SEL) : s0_axi_arid;
  assign m_axi_araddr = rd_side ? s1_axi_araddr : s0_axi_araddr;
  assign m_axi_arlen = rd_side ? s1_axi_arlen : s0_axi_arlen;
  assign m_axi_arsize = rd_side ? s1_axi_arsize : s0_axi_arsize;
  assign m_axi_arburst = rd_side ? s1_axi_arburst : s0_axi_arburst;
  assign m_axi_arlock = rd_side ? s1_axi_arlock : s0_axi_arlock;
  assign m_axi_arcache = rd_side ? s1_axi_arcache : s0_axi_arcache;
  assign m_axi_arprot = rd_side ? s1_axi_arprot : s0_axi_arprot;
  assign m_axi_arqos = rd_side ? s1_axi_arqos : s0_axi_arqos;
  assign m_axi_arvalid = (rd_side ? s1_axi_arvalid : s0_axi_arvalid);
  assign s0_axi_arready = m_axi_arready && !rd_side;
  assign s1_axi_arready = m_axi_arready && rd_side;

  wire b_side = m_axi_bid[SEL_BIT];
  assign s0_axi_bid = m_axi_bid;
  assign s1_axi_bid = m_axi_bid & ~SEL;
  assign s0_axi_bresp = m_axi_bresp;
  assign s1_axi_bresp = m_axi_bresp;
  assign s0_axi_bvalid = m_axi_bvalid && !b_side;
  assign s1_axi_bvalid = m_axi_bvalid && b_side;
  assign m_axi_bready = b_side ? s1_axi_bready : s0_axi_bready;

  wire r_side = m_axi_rid[SEL_BIT];
  assign s0_axi_rid = m_axi_rid;
  assign s1_axi_rid = m_axi_rid & ~SEL;
  assign s0_axi_rdata = m_axi_rdata;
  assign s1_axi_rdata = m_axi_rdata;
  assign s0_axi_rresp = m_axi_rresp;
  assign s1_axi_rresp = m_axi_rresp;
  assign s0_axi_rlast = m_axi_rlast;
  assign s1_axi_rlast = m_axi_rlast;
  assign s0_axi_rvalid = m_axi_rvalid && !r_side;
  assign s1_axi_rvalid = m_axi_rvalid && r_side;
  assign m_axi_rready = r_side ? s1_axi_rready : s0_axi_rready;
endmodule

`default_nettype wire
