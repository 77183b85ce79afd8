`resetall
`timescale 1ns / 1ps
`default_nettype none

// The whole device: MMU and access engine behind one AXI4-Lite port, one bus-address master, one ring master.
// Register decode on address bit 12; the ring master merges both blocks' rings, two ID bits tell them apart.
// mon_axi_* copies the virtual-address port between engine and MMU; it is for observation only.
// Latency and throughput are those of dmmu and access_engine; this level adds no cycle on the data path.
// Invariant: every interrupt leaves through the mask in the MMU's registers.
module svm_device #(
    parameter DATA_W = 128,
    parameter ID_W = 6,
    parameter PA_W = 48,
    parameter VA_W = 48,
    parameter SETS = 256,
    parameter WAYS = 4,
    parameter SETS_2M = 32,
    parameter WAYS_2M = 2,
    parameter SETS_1G = 4,
    parameter WAYS_1G = 2,
    parameter PARK = 64,
    parameter MSHRS = 32,
    parameter TRACK = 64,
    parameter PASIDS = 16
) (
    input wire clk,
    input wire rst,

    input wire [15:0] s_axil_awaddr,
    input wire [2:0] s_axil_awprot,
    input wire s_axil_awvalid,
    output wire s_axil_awready,
    input wire [31:0] s_axil_wdata,
    input wire [3:0] s_axil_wstrb,
    input wire s_axil_wvalid,
    output wire s_axil_wready,
    output wire [1:0] s_axil_bresp,
    output wire s_axil_bvalid,
    input wire s_axil_bready,
    input wire [15:0] s_axil_araddr,
    input wire [2:0] s_axil_arprot,
    input wire s_axil_arvalid,
    output wire s_axil_arready,
    output wire [31:0] s_axil_rdata,
    output wire [1:0] s_axil_rresp,
    output wire s_axil_rvalid,
    input wire s_axil_rready,

    output wire [ID_W-1:0] m_axi_awid,
    output wire [PA_W-1:0] m_axi_awaddr,
    output wire [7:0] m_axi_awlen,
    output wire [2:0] m_axi_awsize,
    output wire [1:0] m_axi_awburst,
    output wire m_axi_awlock,
    output wire [3:0] m_axi_awcache,
    output wire [2:0] m_axi_awprot,
    output wire [3:0] m_axi_awqos,
    output wire [27:0] m_axi_awuser,
    output wire m_axi_awvalid,
    input wire m_axi_awready,

    output wire [DATA_W-1:0] m_axi_wdata,
    output wire [DATA_W/8-1:0] m_axi_wstrb,
    output wire m_axi_wlast,
    output wire m_axi_wvalid,
    input wire m_axi_wready,

    input wire [ID_W-1:0] m_axi_bid,
    input wire [1:0] m_axi_bresp,
    input wire m_axi_bvalid,
    output wire m_axi_bready,

    output wire [ID_W-1:0] m_axi_arid,
    output wire [PA_W-1:0] m_axi_araddr,
    output wire [7:0] m_axi_arlen,
    output wire [2:0] m_axi_arsize,
    output wire [1:0] m_axi_arburst,
    output wire m_axi_arlock,
    output wire [3:0] m_axi_arcache,
    output wire [2:0] m_axi_arprot,
    output wire [3:0] m_axi_arqos,
    output wire [27:0] m_axi_aruser,
    output wire m_axi_arvalid,
    input wire m_axi_arready,

    input wire [ID_W-1:0] m_axi_rid,
    input wire [DATA_W-1:0] m_axi_rdata,
    input wire [1:0] m_axi_rresp,
    input wire m_axi_rlast,
    input wire m_axi_rvalid,
    output wire m_axi_rready,

    output wire [1:0] m_axi_ring_awid,
    output wire [63:0] m_axi_ring_awaddr,
    output wire [7:0] m_axi_ring_awlen,
    output wire [2:0] m_axi_ring_awsize,
    output wire [1:0] m_axi_ring_awburst,
    output wire m_axi_ring_awlock,
    output wire [3:0] m_axi_ring_awcache,
    output wire [2:0] m_axi_ring_awprot,
    output wire [3:0] m_axi_ring_awqos,
    output wire m_axi_ring_awvalid,
    input wire m_axi_ring_awready,

    output wire [255:0] m_axi_ring_wdata,
    output wire [31:0] m_axi_ring_wstrb,
    output wire m_axi_ring_wlast,
    output wire m_axi_ring_wvalid,
    input wire m_axi_ring_wready,

    input wire [1:0] m_axi_ring_bid,
    input wire [1:0] m_axi_ring_bresp,
    input wire m_axi_ring_bvalid,
    output wire m_axi_ring_bready,

    output wire [1:0] m_axi_ring_arid,
    output wire [63:0] m_axi_ring_araddr,
    output wire [7:0] m_axi_ring_arlen,
    output wire [2:0] m_axi_ring_arsize,
    output wire [1:0] m_axi_ring_arburst,
    output wire m_axi_ring_arlock,
    output wire [3:0] m_axi_ring_arcache,
    output wire [2:0] m_axi_ring_arprot,
    output wire [3:0] m_axi_ring_arqos,
    output wire m_axi_ring_arvalid,
    input wire m_axi_ring_arready,

    input wire [1:0] m_axi_ring_rid,
    input wire [255:0] m_axi_ring_rdata,
    input wire [1:0] m_axi_ring_rresp,
    input wire m_axi_ring_rlast,
    input wire m_axi_ring_rvalid,
    output wire m_axi_ring_rready,

    // A link error for the EVENT ring: user, bus address, source, reason.
    input wire link_valid,
    output wire link_ready,
    input wire [107:0] link_data,

    output wire [3:0] irq,

    output wire [ID_W-1:0] mon_axi_awid,
    output wire [63:0] mon_axi_awaddr,
    output wire [7:0] mon_axi_awlen,
    output wire [27:0] mon_axi_awuser,
    output wire mon_axi_awvalid,
    output wire mon_axi_awready,
    output wire [ID_W-1:0] mon_axi_bid,
    output wire [1:0] mon_axi_bresp,
    output wire mon_axi_bvalid,
    output wire mon_axi_bready,
    output wire [ID_W-1:0] mon_axi_arid,
    output wire [63:0] mon_axi_araddr,
    output wire [7:0] mon_axi_arlen,
    output wire [27:0] mon_axi_aruser,
    output wire mon_axi_arvalid,
    output wire mon_axi_arready,
    output wire [ID_W-1:0] mon_axi_rid,
    output wire [1:0] mon_axi_rresp,
    output wire mon_axi_rlast,
    output wire mon_axi_rvalid,
    output wire mon_axi_rready
);

  // Virtual-address port, engine to MMU.
  wire [ID_W-1:0] va_awid;
  wire [63:0] va_awaddr;
  wire [7:0] va_awlen;
  wire [2:0] va_awsize;
  wire [1:0] va_awburst;
  wire va_awlock;
  wire [3:0] va_awcache;
  wire [2:0] va_awprot;
  wire [3:0] va_awqos;
  wire [27:0] va_awuser;
  wire va_awvalid;
  wire va_awready;
  wire [DATA_W-1:0] va_wdata;
  wire [DATA_W/8-1:0] va_wstrb;
  wire va_wlast;
  wire va_wvalid;
  wire va_wready;
  wire [ID_W-1:0] va_bid;
  wire [1:0] va_bresp;
  wire va_bvalid;
  wire va_bready;
  wire [ID_W-1:0] va_arid;
  wire [63:0] va_araddr;
  wire [7:0] va_arlen;
  wire [2:0] va_arsize;
  wire [1:0] va_arburst;
  wire va_arlock;
  wire [3:0] va_arcache;
  wire [2:0] va_arprot;
  wire [3:0] va_arqos;
  wire [27:0] va_aruser;
  wire va_arvalid;
  wire va_arready;
  wire [ID_W-1:0] va_rid;
  wire [DATA_W-1:0] va_rdata;
  wire [1:0] va_rresp;
  wire va_rlast;
  wire va_rvalid;
  wire va_rready;

  // Register ports of the two blocks.
  wire [15:0] mmu_awaddr;
  wire [2:0] mmu_awprot;
  wire mmu_awvalid;
  wire mmu_awready;
  wire [31:0] mmu_wdata;
  wire [3:0] mmu_wstrb;
  wire mmu_wvalid;
  wire mmu_wready;
  wire [1:0] mmu_bresp;
  wire mmu_bvalid;
  wire mmu_bready;
  wire [15:0] mmu_araddr;
  wire [2:0] mmu_arprot;
  wire mmu_arvalid;
  wire mmu_arready;
  wire [31:0] mmu_rdata;
  wire [1:0] mmu_rresp;
  wire mmu_rvalid;
  wire mmu_rready;
  wire [15:0] eng_awaddr;
  wire [2:0] eng_awprot;
  wire eng_awvalid;
  wire eng_awready;
  wire [31:0] eng_wdata;
  wire [3:0] eng_wstrb;
  wire eng_wvalid;
  wire eng_wready;
  wire [1:0] eng_bresp;
  wire eng_bvalid;
  wire eng_bready;
  wire [15:0] eng_araddr;
  wire [2:0] eng_arprot;
  wire eng_arvalid;
  wire eng_arready;
  wire [31:0] eng_rdata;
  wire [1:0] eng_rresp;
  wire eng_rvalid;
  wire eng_rready;

  // Ring masters of the two blocks.
  wire [1:0] mring_awid;
  wire [63:0] mring_awaddr;
  wire [7:0] mring_awlen;
  wire [2:0] mring_awsize;
  wire [1:0] mring_awburst;
  wire mring_awlock;
  wire [3:0] mring_awcache;
  wire [2:0] mring_awprot;
  wire [3:0] mring_awqos;
  wire mring_awvalid;
  wire mring_awready;
  wire [255:0] mring_wdata;
  wire [31:0] mring_wstrb;
  wire mring_wlast;
  wire mring_wvalid;
  wire mring_wready;
  wire [1:0] mring_bid;
  wire [1:0] mring_bresp;
  wire mring_bvalid;
  wire mring_bready;
  wire [1:0] mring_arid;
  wire [63:0] mring_araddr;
  wire [7:0] mring_arlen;
  wire [2:0] mring_arsize;
  wire [1:0] mring_arburst;
  wire mring_arlock;
  wire [3:0] mring_arcache;
  wire [2:0] mring_arprot;
  wire [3:0] mring_arqos;
  wire mring_arvalid;
  wire mring_arready;
  wire [1:0] mring_rid;
  wire [255:0] mring_rdata;
  wire [1:0] mring_rresp;
  wire mring_rlast;
  wire mring_rvalid;
  wire mring_rready;
  wire [1:0] ering_awid;
  wire [63:0] ering_awaddr;
  wire [7:0] ering_awlen;
  wire [2:0] ering_awsize;
  wire [1:0] ering_awburst;
  wire ering_awlock;
  wire [3:0] ering_awcache;
  wire [2:0] ering_awprot;
  wire [3:0] ering_awqos;
  wire ering_awvalid;
  wire ering_awready;
  wire [255:0] ering_wdata;
  wire [31:0] ering_wstrb;
  wire ering_wlast;
  wire ering_wvalid;
  wire ering_wready;
  wire [1:0] ering_bid;
  wire [1:0] ering_bresp;
  wire ering_bvalid;
  wire ering_bready;
  wire [1:0] ering_arid;
  wire [63:0] ering_araddr;
  wire [7:0] ering_arlen;
  wire [2:0] ering_arsize;
  wire [1:0] ering_arburst;
  wire ering_arlock;
  wire [3:0] ering_arcache;
  wire [2:0] ering_arprot;
  wire [3:0] ering_arqos;
  wire ering_arvalid;
  wire ering_arready;
  wire [1:0] ering_rid;
  wire [255:0] ering_rdata;
  wire [1:0] ering_rresp;
  wire ering_rlast;
  wire ering_rvalid;
  wire ering_rready;

  wire [63:0] cycle;
  wire [3:0] eng_irq;

  assign mon_axi_awid = va_awid;
  assign mon_axi_awaddr = va_awaddr;
  assign mon_axi_awlen = va_awlen;
  assign mon_axi_awuser = va_awuser;
  assign mon_axi_awvalid = va_awvalid;
  assign mon_axi_awready = va_awready;
  assign mon_axi_bid = va_bid;
  assign mon_axi_bresp = va_bresp;
  assign mon_axi_bvalid = va_bvalid;
  assign mon_axi_bready = va_bready;
  assign mon_axi_arid = va_arid;
  assign mon_axi_araddr = va_araddr;
  assign mon_axi_arlen = va_arlen;
  assign mon_axi_aruser = va_aruser;
  assign mon_axi_arvalid = va_arvalid;
  assign mon_axi_arready = va_arready;
  assign mon_axi_rid = va_rid;
  assign mon_axi_rresp = va_rresp;
  assign mon_axi_rlast = va_rlast;
  assign mon_axi_rvalid = va_rvalid;
  assign mon_axi_rready = va_rready;

  axil_split #(
      .SEL_BIT(12)
  ) u_split (
      .clk(clk),
      .rst(rst),
      .s_axil_awaddr(s_axil_awaddr),
      .s_axil_awprot(s_axil_awprot),
      .s_axil_awvalid(s_axil_awvalid),
      .s_axil_awready(s_axil_awready),
      .s_axil_wdata(s_axil_wdata),
      .s_axil_wstrb(s_axil_wstrb),
      .s_axil_wvalid(s_axil_wvalid),
      .s_axil_wready(s_axil_wready),
      .s_axil_bresp(s_axil_bresp),
      .s_axil_bvalid(s_axil_bvalid),
      .s_axil_bready(s_axil_bready),
      .s_axil_araddr(s_axil_araddr),
      .s_axil_arprot(s_axil_arprot),
      .s_axil_arvalid(s_axil_arvalid),
      .s_axil_arready(s_axil_arready),
      .s_axil_rdata(s_axil_rdata),
      .s_axil_rresp(s_axil_rresp),
      .s_axil_rvalid(s_axil_rvalid),
      .s_axil_rready(s_axil_rready),
      .m0_axil_awaddr(mmu_awaddr),
      .m0_axil_awprot(mmu_awprot),
      .m0_axil_awvalid(mmu_awvalid),
      .m0_axil_awready(mmu_awready),
      .m0_axil_wdata(mmu_wdata),
      .m0_axil_wstrb(mmu_wstrb),
      .m0_axil_wvalid(mmu_wvalid),
      .m0_axil_wready(mmu_wready),
      .m0_axil_bresp(mmu_bresp),
      .m0_axil_bvalid(mmu_bvalid),
      .m0_axil_bready(mmu_bready),
      .m0_axil_araddr(mmu_araddr),
      .m0_axil_arprot(mmu_arprot),
      .m0_axil_arvalid(mmu_arvalid),
      .m0_axil_arready(mmu_arready),
      .m0_axil_rdata(mmu_rdata),
      .m0_axil_rresp(mmu_rresp),
      .m0_axil_rvalid(mmu_rvalid),
      .m0_axil_rready(mmu_rready),
      .m1_axil_awaddr(eng_awaddr),
      .m1_axil_awprot(eng_awprot),
      .m1_axil_awvalid(eng_awvalid),
      .m1_axil_awready(eng_awready),
      .m1_axil_wdata(eng_wdata),
      .m1_axil_wstrb(eng_wstrb),
      .m1_axil_wvalid(eng_wvalid),
      .m1_axil_wready(eng_wready),
      .m1_axil_bresp(eng_bresp),
      .m1_axil_bvalid(eng_bvalid),
      .m1_axil_bready(eng_bready),
      .m1_axil_araddr(eng_araddr),
      .m1_axil_arprot(eng_arprot),
      .m1_axil_arvalid(eng_arvalid),
      .m1_axil_arready(eng_arready),
      .m1_axil_rdata(eng_rdata),
      .m1_axil_rresp(eng_rresp),
      .m1_axil_rvalid(eng_rvalid),
      .m1_axil_rready(eng_rready)
  );

  dmmu #(
      .DATA_W(DATA_W),
      .ID_W(ID_W),
      .PA_W(PA_W),
      .VA_W(VA_W),
      .SETS(SETS),
      .WAYS(WAYS),
      .SETS_2M(SETS_2M),
      .WAYS_2M(WAYS_2M),
      .SETS_1G(SETS_1G),
      .WAYS_1G(WAYS_1G),
      .PARK(PARK),
      .MSHRS(MSHRS),
      .TRACK(TRACK),
      .PASIDS(PASIDS)
  ) u_dmmu (
      .clk(clk),
      .rst(rst),
      .s_axil_awaddr(mmu_awaddr),
      .s_axil_awprot(mmu_awprot),
      .s_axil_awvalid(mmu_awvalid),
      .s_axil_awready(mmu_awready),
      .s_axil_wdata(mmu_wdata),
      .s_axil_wstrb(mmu_wstrb),
      .s_axil_wvalid(mmu_wvalid),
      .s_axil_wready(mmu_wready),
      .s_axil_bresp(mmu_bresp),
      .s_axil_bvalid(mmu_bvalid),
      .s_axil_bready(mmu_bready),
      .s_axil_araddr(mmu_araddr),
      .s_axil_arprot(mmu_arprot),
      .s_axil_arvalid(mmu_arvalid),
      .s_axil_arready(mmu_arready),
      .s_axil_rdata(mmu_rdata),
      .s_axil_rresp(mmu_rresp),
      .s_axil_rvalid(mmu_rvalid),
      .s_axil_rready(mmu_rready),
      .s_axi_awid(va_awid),
      .s_axi_awaddr(va_awaddr),
      .s_axi_awlen(va_awlen),
      .s_axi_awsize(va_awsize),
      .s_axi_awburst(va_awburst),
      .s_axi_awlock(va_awlock),
      .s_axi_awcache(va_awcache),
      .s_axi_awprot(va_awprot),
      .s_axi_awqos(va_awqos),
      .s_axi_awuser(va_awuser),
      .s_axi_awvalid(va_awvalid),
      .s_axi_awready(va_awready),
      .s_axi_wdata(va_wdata),
      .s_axi_wstrb(va_wstrb),
      .s_axi_wlast(va_wlast),
      .s_axi_wvalid(va_wvalid),
      .s_axi_wready(va_wready),
      .s_axi_bid(va_bid),
      .s_axi_bresp(va_bresp),
      .s_axi_bvalid(va_bvalid),
      .s_axi_bready(va_bready),
      .s_axi_arid(va_arid),
      .s_axi_araddr(va_araddr),
      .s_axi_arlen(va_arlen),
      .s_axi_arsize(va_arsize),
      .s_axi_arburst(va_arburst),
      .s_axi_arlock(va_arlock),
      .s_axi_arcache(va_arcache),
      .s_axi_arprot(va_arprot),
      .s_axi_arqos(va_arqos),
      .s_axi_aruser(va_aruser),
      .s_axi_arvalid(va_arvalid),
      .s_axi_arready(va_arready),
      .s_axi_rid(va_rid),
      .s_axi_rdata(va_rdata),
      .s_axi_rresp(va_rresp),
      .s_axi_rlast(va_rlast),
      .s_axi_rvalid(va_rvalid),
      .s_axi_rready(va_rready),
      .m_axi_awid(m_axi_awid),
      .m_axi_awaddr(m_axi_awaddr),
      .m_axi_awlen(m_axi_awlen),
      .m_axi_awsize(m_axi_awsize),
      .m_axi_awburst(m_axi_awburst),
      .m_axi_awlock(m_axi_awlock),
      .m_axi_awcache(m_axi_awcache),
      .m_axi_awprot(m_axi_awprot),
      .m_axi_awqos(m_axi_awqos),
      .m_axi_awuser(m_axi_awuser),
      .m_axi_awvalid(m_axi_awvalid),
      .m_axi_awready(m_axi_awready),
      .m_axi_wdata(m_axi_wdata),
      .m_axi_wstrb(m_axi_wstrb),
      .m_axi_wlast(m_axi_wlast),
      .m_axi_wvalid(m_axi_wvalid),
      .m_axi_wready(m_axi_wready),
      .m_axi_bid(m_axi_bid),
      .m_axi_bresp(m_axi_bresp),
      .m_axi_bvalid(m_axi_bvalid),
      .m_axi_bready(m_axi_bready),
      .m_axi_arid(m_axi_arid),
      .m_axi_araddr(m_axi_araddr),
      .m_axi_arlen(m_axi_arlen),
      .m_axi_arsize(m_axi_arsize),
      .m_axi_arburst(m_axi_arburst),
      .m_axi_arlock(m_axi_arlock),
      .m_axi_arcache(m_axi_arcache),
      .m_axi_arprot(m_axi_arprot),
      .m_axi_arqos(m_axi_arqos),
      .m_axi_aruser(m_axi_aruser),
      .m_axi_arvalid(m_axi_arvalid),
      .m_axi_arready(m_axi_arready),
      .m_axi_rid(m_axi_rid),
      .m_axi_rdata(m_axi_rdata),
      .m_axi_rresp(m_axi_rresp),
      .m_axi_rlast(m_axi_rlast),
      .m_axi_rvalid(m_axi_rvalid),
      .m_axi_rready(m_axi_rready),
      .m_axi_ring_awid(mring_awid),
      .m_axi_ring_awaddr(mring_awaddr),
      .m_axi_ring_awlen(mring_awlen),
      .m_axi_ring_awsize(mring_awsize),
      .m_axi_ring_awburst(mring_awburst),
      .m_axi_ring_awlock(mring_awlock),
      .m_axi_ring_awcache(mring_awcache),
      .m_axi_ring_awprot(mring_awprot),
      .m_axi_ring_awqos(mring_awqos),
      .m_axi_ring_awvalid(mring_awvalid),
      .m_axi_ring_awready(mring_awready),
      .m_axi_ring_wdata(mring_wdata),
      .m_axi_ring_wstrb(mring_wstrb),
      .m_axi_ring_wlast(mring_wlast),
      .m_axi_ring_wvalid(mring_wvalid),
      .m_axi_ring_wready(mring_wready),
      .m_axi_ring_bid(mring_bid),
      .m_axi_ring_bresp(mring_bresp),
      .m_axi_ring_bvalid(mring_bvalid),
      .m_axi_ring_bready(mring_bready),
      .m_axi_ring_arid(mring_arid),
      .m_axi_ring_araddr(mring_araddr),
      .m_axi_ring_arlen(mring_arlen),
      .m_axi_ring_arsize(mring_arsize),
      .m_axi_ring_arburst(mring_arburst),
      .m_axi_ring_arlock(mring_arlock),
      .m_axi_ring_arcache(mring_arcache),
      .m_axi_ring_arprot(mring_arprot),
      .m_axi_ring_arqos(mring_arqos),
      .m_axi_ring_arvalid(mring_arvalid),
      .m_axi_ring_arready(mring_arready),
      .m_axi_ring_rid(mring_rid),
      .m_axi_ring_rdata(mring_rdata),
      .m_axi_ring_rresp(mring_rresp),
      .m_axi_ring_rlast(mring_rlast),
      .m_axi_ring_rvalid(mring_rvalid),
      .m_axi_ring_rready(mring_rready),
      .link_valid(link_valid),
      .link_ready(link_ready),
      .link_data(link_data),
      .irq_in(eng_irq),
      .irq(irq),
      .cycle(cycle)
  );

  access_engine #(
      .DATA_W(DATA_W),
      .ID_W(ID_W),
      .VA_W(VA_W),
      .OUTSTANDING(PARK)
  ) u_engine (
      .clk(clk),
      .rst(rst),
      .cycle(cycle[31:0]),
      .s_axil_awaddr(eng_awaddr),
      .s_axil_awprot(eng_awprot),
      .s_axil_awvalid(eng_awvalid),
      .s_axil_awready(eng_awready),
      .s_axil_wdata(eng_wdata),
      .s_axil_wstrb(eng_wstrb),
      .s_axil_wvalid(eng_wvalid),
      .s_axil_wready(eng_wready),
      .s_axil_bresp(eng_bresp),
      .s_axil_bvalid(eng_bvalid),
      .s_axil_bready(eng_bready),
      .s_axil_araddr(eng_araddr),
      .s_axil_arprot(eng_arprot),
      .s_axil_arvalid(eng_arvalid),
      .s_axil_arready(eng_arready),
      .s_axil_rdata(eng_rdata),
      .s_axil_rresp(eng_rresp),
      .s_axil_rvalid(eng_rvalid),
      .s_axil_rready(eng_rready),
      .m_axi_awid(va_awid),
      .m_axi_awaddr(va_awaddr),
      .m_axi_awlen(va_awlen),
      .m_axi_awsize(va_awsize),
      .m_axi_awburst(va_awburst),
      .m_axi_awlock(va_awlock),
      .m_axi_awcache(va_awcache),
      .m_axi_awprot(va_awprot),
      .m_axi_awqos(va_awqos),
      .m_axi_awuser(va_awuser),
      .m_axi_awvalid(va_awvalid),
      .m_axi_awready(va_awready),
      .m_axi_wdata(va_wdata),
      .m_axi_wstrb(va_wstrb),
      .m_axi_wlast(va_wlast),
      .m_axi_wvalid(va_wvalid),
      .m_axi_wready(va_wready),
      .m_axi_bid(va_bid),
      .m_axi_bresp(va_bresp),
      .m_axi_bvalid(va_bvalid),
      .m_axi_bready(va_bready),
      .m_axi_arid(va_arid),
      .m_axi_araddr(va_araddr),
      .m_axi_arlen(va_arlen),
      .m_axi_arsize(va_arsize),
      .m_axi_arburst(va_arburst),
      .m_axi_arlock(va_arlock),
      .m_axi_arcache(va_arcache),
      .m_axi_arprot(va_arprot),
      .m_axi_arqos(va_arqos),
      .m_axi_aruser(va_aruser),
      .m_axi_arvalid(va_arvalid),
      .m_axi_arready(va_arready),
      .m_axi_rid(va_rid),
      .m_axi_rdata(va_rdata),
      .m_axi_rresp(va_rresp),
      .m_axi_rlast(va_rlast),
      .m_axi_rvalid(va_rvalid),
      .m_axi_rready(va_rready),
      .m_axi_ring_awid(ering_awid),
      .m_axi_ring_awaddr(ering_awaddr),
      .m_axi_ring_awlen(ering_awlen),
      .m_axi_ring_awsize(ering_awsize),
      .m_axi_ring_awburst(ering_awburst),
      .m_axi_ring_awlock(ering_awlock),
      .m_axi_ring_awcache(ering_awcache),
      .m_axi_ring_awprot(ering_awprot),
      .m_axi_ring_awqos(ering_awqos),
      .m_axi_ring_awvalid(ering_awvalid),
      .m_axi_ring_awready(ering_awready),
      .m_axi_ring_wdata(ering_wdata),
      .m_axi_ring_wstrb(ering_wstrb),
      .m_axi_ring_wlast(ering_wlast),
      .m_axi_ring_wvalid(ering_wvalid),
      .m_axi_ring_wready(ering_wready),
      .m_axi_ring_bid(ering_bid),
      .m_axi_ring_bresp(ering_bresp),
      .m_axi_ring_bvalid(ering_bvalid),
      .m_axi_ring_bready(ering_bready),
      .m_axi_ring_arid(ering_arid),
      .m_axi_ring_araddr(ering_araddr),
      .m_axi_ring_arlen(ering_arlen),
      .m_axi_ring_arsize(ering_arsize),
      .m_axi_ring_arburst(ering_arburst),
      .m_axi_ring_arlock(ering_arlock),
      .m_axi_ring_arcache(ering_arcache),
      .m_axi_ring_arprot(ering_arprot),
      .m_axi_ring_arqos(ering_arqos),
      .m_axi_ring_arvalid(ering_arvalid),
      .m_axi_ring_arready(ering_arready),
      .m_axi_ring_rid(ering_rid),
      .m_axi_ring_rdata(ering_rdata),
      .m_axi_ring_rresp(ering_rresp),
      .m_axi_ring_rlast(ering_rlast),
      .m_axi_ring_rvalid(ering_rvalid),
      .m_axi_ring_rready(ering_rready),
      .irq(eng_irq)
  );

  axi_ring_mux #(
      .SEL_BIT(1)
  ) u_ring_mux (
      .clk(clk),
      .rst(rst),
      .s0_axi_awid(mring_awid),
      .s0_axi_awaddr(mring_awaddr),
      .s0_axi_awlen(mring_awlen),
      .s0_axi_awsize(mring_awsize),
      .s0_axi_awburst(mring_awburst),
      .s0_axi_awlock(mring_awlock),
      .s0_axi_awcache(mring_awcache),
      .s0_axi_awprot(mring_awprot),
      .s0_axi_awqos(mring_awqos),
      .s0_axi_awvalid(mring_awvalid),
      .s0_axi_awready(mring_awready),
      .s0_axi_wdata(mring_wdata),
      .s0_axi_wstrb(mring_wstrb),
      .s0_axi_wlast(mring_wlast),
      .s0_axi_wvalid(mring_wvalid),
      .s0_axi_wready(mring_wready),
      .s0_axi_bid(mring_bid),
      .s0_axi_bresp(mring_bresp),
      .s0_axi_bvalid(mring_bvalid),
      .s0_axi_bready(mring_bready),
      .s0_axi_arid(mring_arid),
      .s0_axi_araddr(mring_araddr),
      .s0_axi_arlen(mring_arlen),
      .s0_axi_arsize(mring_arsize),
      .s0_axi_arburst(mring_arburst),
      .s0_axi_arlock(mring_arlock),
      .s0_axi_arcache(mring_arcache),
      .s0_axi_arprot(mring_arprot),
      .s0_axi_arqos(mring_arqos),
      .s0_axi_arvalid(mring_arvalid),
      .s0_axi_arready(mring_arready),
      .s0_axi_rid(mring_rid),
      .s0_axi_rdata(mring_rdata),
      .s0_axi_rresp(mring_rresp),
      .s0_axi_rlast(mring_rlast),
      .s0_axi_rvalid(mring_rvalid),
      .s0_axi_rready(mring_rready),
      .s1_axi_awid(ering_awid),
      .s1_axi_awaddr(ering_awaddr),
      .s1_axi_awlen(ering_awlen),
      .s1_axi_awsize(ering_awsize),
      .s1_axi_awburst(ering_awburst),
      .s1_axi_awlock(ering_awlock),
      .s1_axi_awcache(ering_awcache),
      .s1_axi_awprot(ering_awprot),
      .s1_axi_awqos(ering_awqos),
      .s1_axi_awvalid(ering_awvalid),
      .s1_axi_awready(ering_awready),
      .s1_axi_wdata(ering_wdata),
      .s1_axi_wstrb(ering_wstrb),
      .s1_axi_wlast(ering_wlast),
      .s1_axi_wvalid(ering_wvalid),
      .s1_axi_wready(ering_wready),
      .s1_axi_bid(ering_bid),
      .s1_axi_bresp(ering_bresp),
      .s1_axi_bvalid(ering_bvalid),
      .s1_axi_bready(ering_bready),
      .s1_axi_arid(ering_arid),
      .s1_axi_araddr(ering_araddr),
      .s1_axi_arlen(ering_arlen),
      .s1_axi_arsize(ering_arsize),
      .s1_axi_arburst(ering_arburst),
      .s1_axi_arlock(ering_arlock),
      .s1_axi_arcache(ering_arcache),
      .s1_axi_arprot(ering_arprot),
      .s1_axi_arqos(ering_arqos),
      .s1_axi_arvalid(ering_arvalid),
      .s1_axi_arready(ering_arready),
      .s1_axi_rid(ering_rid),
      .s1_axi_rdata(ering_rdata),
      .s1_axi_rresp(ering_rresp),
      .s1_axi_rlast(ering_rlast),
      .s1_axi_rvalid(ering_rvalid),
      .s1_axi_rready(ering_rready),
      .m_axi_awid(m_axi_ring_awid),
      .m_axi_awaddr(m_axi_ring_awaddr),
      .m_axi_awlen(m_axi_ring_awlen),
      .m_axi_awsize(m_axi_ring_awsize),
      .m_axi_awburst(m_axi_ring_awburst),
      .m_axi_awlock(m_axi_ring_awlock),
      .m_axi_awcache(m_axi_ring_awcache),
      .m_axi_awprot(m_axi_ring_awprot),
      .m_axi_awqos(m_axi_ring_awqos),
      .m_axi_awvalid(m_axi_ring_awvalid),
      .m_axi_awready(m_axi_ring_awready),
      .m_axi_wdata(m_axi_ring_wdata),
      .m_axi_wstrb(m_axi_ring_wstrb),
      .m_axi_wlast(m_axi_ring_wlast),
      .m_axi_wvalid(m_axi_ring_wvalid),
      .m_axi_wready(m_axi_ring_wready),
      .m_axi_bid(m_axi_ring_bid),
      .m_axi_bresp(m_axi_ring_bresp),
      .m_axi_bvalid(m_axi_ring_bvalid),
      .m_axi_bready(m_axi_ring_bready),
      .m_axi_arid(m_axi_ring_arid),
      .m_axi_araddr(m_axi_ring_araddr),
      .m_axi_arlen(m_axi_ring_arlen),
      .m_axi_arsize(m_axi_ring_arsize),
      .m_axi_arburst(m_axi_ring_arburst),
      .m_axi_arlock(m_axi_ring_arlock),
      .m_axi_arcache(m_axi_ring_arcache),
      .m_axi_arprot(m_axi_ring_arprot),
      .m_axi_arqos(m_axi_ring_arqos),
      .m_axi_arvalid(m_axi_ring_arvalid),
      .m_axi_arready(m_axi_ring_arready),
      .m_axi_rid(m_axi_ring_rid),
      .m_axi_rdata(m_axi_ring_rdata),
      .m_axi_rresp(m_axi_ring_rresp),
      .m_axi_rlast(m_axi_ring_rlast),
      .m_axi_rvalid(m_axi_ring_rvalid),
      .m_axi_rready(m_axi_ring_rready)
  );

  wire unused_cycle = |cycle[63:32];
endmodule

`default_nettype wire
