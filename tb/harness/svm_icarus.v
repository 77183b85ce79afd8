`resetall
`timescale 1ns / 1ps
`default_nettype none

// Top of the Icarus build: clock and signals here, memory and links in the VPI module.
// A cycle is 4 ns: sample, rising edge, drive, falling edge, as the Verilator loop does it.
module svm_icarus #(
    parameter DATA_W = 128,
    parameter ID_W = 6,
    parameter PA_W = 48,
    parameter VA_W = 48,
    parameter SETS = 256,
    parameter WAYS = 4,
    parameter PARK = 64,
    parameter MSHRS = 32,
    parameter TRACK = 64,
    parameter PASIDS = 16
);
  reg attention = 1'b0;
  reg clk = 1'b0;
  reg rst = 1'b1;
  reg [15:0] s_axil_awaddr = 0;
  reg [2:0] s_axil_awprot = 0;
  reg s_axil_awvalid = 1'b0;
  wire s_axil_awready;
  reg [31:0] s_axil_wdata = 0;
  reg [3:0] s_axil_wstrb = 0;
  reg s_axil_wvalid = 1'b0;
  wire s_axil_wready;
  wire [1:0] s_axil_bresp;
  wire s_axil_bvalid;
  reg s_axil_bready = 1'b0;
  reg [15:0] s_axil_araddr = 0;
  reg [2:0] s_axil_arprot = 0;
  reg s_axil_arvalid = 1'b0;
  wire s_axil_arready;
  wire [31:0] s_axil_rdata;
  wire [1:0] s_axil_rresp;
  wire s_axil_rvalid;
  reg s_axil_rready = 1'b0;
  wire [ID_W-1:0] m_axi_awid;
  wire [PA_W-1:0] m_axi_awaddr;
  wire [7:0] m_axi_awlen;
  wire [2:0] m_axi_awsize;
  wire [1:0] m_axi_awburst;
  wire m_axi_awlock;
  wire [3:0] m_axi_awcache;
  wire [2:0] m_axi_awprot;
  wire [3:0] m_axi_awqos;
  wire [27:0] m_axi_awuser;
  wire m_axi_awvalid;
  reg m_axi_awready = 1'b0;
  wire [DATA_W-1:0] m_axi_wdata;
  wire [DATA_W/8-1:0] m_axi_wstrb;
  wire m_axi_wlast;
  wire m_axi_wvalid;
  reg m_axi_wready = 1'b0;
  reg [ID_W-1:0] m_axi_bid = 0;
  reg [1:0] m_axi_bresp = 0;
  reg m_axi_bvalid = 1'b0;
  wire m_axi_bready;
  wire [ID_W-1:0] m_axi_arid;
  wire [PA_W-1:0] m_axi_araddr;
  wire [7:0] m_axi_arlen;
  wire [2:0] m_axi_arsize;
  wire [1:0] m_axi_arburst;
  wire m_axi_arlock;
  wire [3:0] m_axi_arcache;
  wire [2:0] m_axi_arprot;
  wire [3:0] m_axi_arqos;
  wire [27:0] m_axi_aruser;
  wire m_axi_arvalid;
  reg m_axi_arready = 1'b0;
  reg [ID_W-1:0] m_axi_rid = 0;
  reg [DATA_W-1:0] m_axi_rdata = 0;
  reg [1:0] m_axi_rresp = 0;
  reg m_axi_rlast = 1'b0;
  reg m_axi_rvalid = 1'b0;
  wire m_axi_rready;
  wire [1:0] m_axi_ring_awid;
  wire [63:0] m_axi_ring_awaddr;
  wire [7:0] m_axi_ring_awlen;
  wire [2:0] m_axi_ring_awsize;
  wire [1:0] m_axi_ring_awburst;
  wire m_axi_ring_awlock;
  wire [3:0] m_axi_ring_awcache;
  wire [2:0] m_axi_ring_awprot;
  wire [3:0] m_axi_ring_awqos;
  wire m_axi_ring_awvalid;
  reg m_axi_ring_awready = 1'b0;
  wire [255:0] m_axi_ring_wdata;
  wire [31:0] m_axi_ring_wstrb;
  wire m_axi_ring_wlast;
  wire m_axi_ring_wvalid;
  reg m_axi_ring_wready = 1'b0;
  reg [1:0] m_axi_ring_bid = 0;
  reg [1:0] m_axi_ring_bresp = 0;
  reg m_axi_ring_bvalid = 1'b0;
  wire m_axi_ring_bready;
  wire [1:0] m_axi_ring_arid;
  wire [63:0] m_axi_ring_araddr;
  wire [7:0] m_axi_ring_arlen;
  wire [2:0] m_axi_ring_arsize;
  wire [1:0] m_axi_ring_arburst;
  wire m_axi_ring_arlock;
  wire [3:0] m_axi_ring_arcache;
  wire [2:0] m_axi_ring_arprot;
  wire [3:0] m_axi_ring_arqos;
  wire m_axi_ring_arvalid;
  reg m_axi_ring_arready = 1'b0;
  reg [1:0] m_axi_ring_rid = 0;
  reg [255:0] m_axi_ring_rdata = 0;
  reg [1:0] m_axi_ring_rresp = 0;
  reg m_axi_ring_rlast = 1'b0;
  reg m_axi_ring_rvalid = 1'b0;
  wire m_axi_ring_rready;
  wire [3:0] irq;
  wire [ID_W-1:0] mon_axi_awid;
  wire [63:0] mon_axi_awaddr;
  wire [7:0] mon_axi_awlen;
  wire [27:0] mon_axi_awuser;
  wire mon_axi_awvalid;
  wire mon_axi_awready;
  wire [ID_W-1:0] mon_axi_bid;
  wire [1:0] mon_axi_bresp;
  wire mon_axi_bvalid;
  wire mon_axi_bready;
  wire [ID_W-1:0] mon_axi_arid;
  wire [63:0] mon_axi_araddr;
  wire [7:0] mon_axi_arlen;
  wire [27:0] mon_axi_aruser;
  wire mon_axi_arvalid;
  wire mon_axi_arready;
  wire [ID_W-1:0] mon_axi_rid;
  wire [1:0] mon_axi_rresp;
  wire mon_axi_rlast;
  wire mon_axi_rvalid;
  wire mon_axi_rready;

  reg [2047:0] wave_file;

  initial
    if ($value$plusargs("dump=%s", wave_file)) begin
      $dumpfile(wave_file);
      $dumpvars(0, svm_icarus);
    end

  always begin
    #1 $svm_sample;
    #1 clk = 1'b1;
    #1 $svm_drive;
    #1 clk = 1'b0;
  end

  svm_tb #(
      .DATA_W(DATA_W),
      .ID_W(ID_W),
      .PA_W(PA_W),
      .VA_W(VA_W),
      .SETS(SETS),
      .WAYS(WAYS),
      .PARK(PARK),
      .MSHRS(MSHRS),
      .TRACK(TRACK),
      .PASIDS(PASIDS)
  ) tb (
      .attention(attention),
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
      .m_axi_ring_awid(m_axi_ring_awid),
      .m_axi_ring_awaddr(m_axi_ring_awaddr),
      .m_axi_ring_awlen(m_axi_ring_awlen),
      .m_axi_ring_awsize(m_axi_ring_awsize),
      .m_axi_ring_awburst(m_axi_ring_awburst),
      .m_axi_ring_awlock(m_axi_ring_awlock),
      .m_axi_ring_awcache(m_axi_ring_awcache),
      .m_axi_ring_awprot(m_axi_ring_awprot),
      .m_axi_ring_awqos(m_axi_ring_awqos),
      .m_axi_ring_awvalid(m_axi_ring_awvalid),
      .m_axi_ring_awready(m_axi_ring_awready),
      .m_axi_ring_wdata(m_axi_ring_wdata),
      .m_axi_ring_wstrb(m_axi_ring_wstrb),
      .m_axi_ring_wlast(m_axi_ring_wlast),
      .m_axi_ring_wvalid(m_axi_ring_wvalid),
      .m_axi_ring_wready(m_axi_ring_wready),
      .m_axi_ring_bid(m_axi_ring_bid),
      .m_axi_ring_bresp(m_axi_ring_bresp),
      .m_axi_ring_bvalid(m_axi_ring_bvalid),
      .m_axi_ring_bready(m_axi_ring_bready),
      .m_axi_ring_arid(m_axi_ring_arid),
      .m_axi_ring_araddr(m_axi_ring_araddr),
      .m_axi_ring_arlen(m_axi_ring_arlen),
      .m_axi_ring_arsize(m_axi_ring_arsize),
      .m_axi_ring_arburst(m_axi_ring_arburst),
      .m_axi_ring_arlock(m_axi_ring_arlock),
      .m_axi_ring_arcache(m_axi_ring_arcache),
      .m_axi_ring_arprot(m_axi_ring_arprot),
      .m_axi_ring_arqos(m_axi_ring_arqos),
      .m_axi_ring_arvalid(m_axi_ring_arvalid),
      .m_axi_ring_arready(m_axi_ring_arready),
      .m_axi_ring_rid(m_axi_ring_rid),
      .m_axi_ring_rdata(m_axi_ring_rdata),
      .m_axi_ring_rresp(m_axi_ring_rresp),
      .m_axi_ring_rlast(m_axi_ring_rlast),
      .m_axi_ring_rvalid(m_axi_ring_rvalid),
      .m_axi_ring_rready(m_axi_ring_rready),
      .irq(irq),
      .mon_axi_awid(mon_axi_awid),
      .mon_axi_awaddr(mon_axi_awaddr),
      .mon_axi_awlen(mon_axi_awlen),
      .mon_axi_awuser(mon_axi_awuser),
      .mon_axi_awvalid(mon_axi_awvalid),
      .mon_axi_awready(mon_axi_awready),
      .mon_axi_bid(mon_axi_bid),
      .mon_axi_bresp(mon_axi_bresp),
      .mon_axi_bvalid(mon_axi_bvalid),
      .mon_axi_bready(mon_axi_bready),
      .mon_axi_arid(mon_axi_arid),
      .mon_axi_araddr(mon_axi_araddr),
      .mon_axi_arlen(mon_axi_arlen),
      .mon_axi_aruser(mon_axi_aruser),
      .mon_axi_arvalid(mon_axi_arvalid),
      .mon_axi_arready(mon_axi_arready),
      .mon_axi_rid(mon_axi_rid),
      .mon_axi_rresp(mon_axi_rresp),
      .mon_axi_rlast(mon_axi_rlast),
      .mon_axi_rvalid(mon_axi_rvalid),
      .mon_axi_rready(mon_axi_rready)
  );
endmodule

`default_nettype wire
