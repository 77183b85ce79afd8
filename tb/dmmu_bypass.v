// A stand-in for dmmu_core without translation, for measuring what translation costs: a virtual address is a bus
// address, commands are taken and forgotten.
`resetall
`timescale 1ns / 1ps
`default_nettype none

module dmmu_core #(
    parameter DATA_W = 128,
    parameter ID_W = 6,
    parameter VA_W = 48,
    parameter PA_W = 48,
    parameter REQ_W = 8,
    parameter PARK = 64,
    parameter MSHRS = 32,
    parameter TRACK = 64,
    parameter PASIDS = 16,
    parameter SETS_4K = 256,
    parameter WAYS_4K = 4,
    parameter SETS_2M = 16,
    parameter WAYS_2M = 4,
    parameter SETS_1G = 2,
    parameter WAYS_1G = 4,
    parameter USER_W = REQ_W + 20
) (
    input wire clk,
    input wire rst,

    input wire [ID_W-1:0] s_axi_awid,
    input wire [63:0] s_axi_awaddr,
    input wire [7:0] s_axi_awlen,
    input wire [2:0] s_axi_awsize,
    input wire [1:0] s_axi_awburst,
    input wire s_axi_awlock,
    input wire [3:0] s_axi_awcache,
    input wire [2:0] s_axi_awprot,
    input wire [3:0] s_axi_awqos,
    input wire [USER_W-1:0] s_axi_awuser,
    input wire s_axi_awvalid,
    output wire s_axi_awready,
    input wire [DATA_W-1:0] s_axi_wdata,
    input wire [DATA_W/8-1:0] s_axi_wstrb,
    input wire s_axi_wlast,
    input wire s_axi_wvalid,
    output wire s_axi_wready,
    output wire [ID_W-1:0] s_axi_bid,
    output wire [1:0] s_axi_bresp,
    output wire s_axi_bvalid,
    input wire s_axi_bready,
    input wire [ID_W-1:0] s_axi_arid,
    input wire [63:0] s_axi_araddr,
    input wire [7:0] s_axi_arlen,
    input wire [2:0] s_axi_arsize,
    input wire [1:0] s_axi_arburst,
    input wire s_axi_arlock,
    input wire [3:0] s_axi_arcache,
    input wire [2:0] s_axi_arprot,
    input wire [3:0] s_axi_arqos,
    input wire [USER_W-1:0] s_axi_aruser,
    input wire s_axi_arvalid,
    output wire s_axi_arready,
    output wire [ID_W-1:0] s_axi_rid,
    output wire [DATA_W-1:0] s_axi_rdata,
    output wire [1:0] s_axi_rresp,
    output wire s_axi_rlast,
    output wire s_axi_rvalid,
    input wire s_axi_rready,
    output wire [ID_W-1:0] m_axi_awid,
    output wire [PA_W-1:0] m_axi_awaddr,
    output wire [7:0] m_axi_awlen,
    output wire [2:0] m_axi_awsize,
    output wire [1:0] m_axi_awburst,
    output wire m_axi_awlock,
    output wire [3:0] m_axi_awcache,
    output wire [2:0] m_axi_awprot,
    output wire [3:0] m_axi_awqos,
    output wire [USER_W-1:0] m_axi_awuser,
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
    output wire [USER_W-1:0] m_axi_aruser,
    output wire m_axi_arvalid,
    input wire m_axi_arready,
    input wire [ID_W-1:0] m_axi_rid,
    input wire [DATA_W-1:0] m_axi_rdata,
    input wire [1:0] m_axi_rresp,
    input wire m_axi_rlast,
    input wire m_axi_rvalid,
    output wire m_axi_rready,

    input wire cmd_valid,
    output wire cmd_ready,
    input wire [255:0] cmd_data,
    input wire [15:0] cmd_index,

    output wire fault_valid,
    input wire fault_ready,
    output wire [255:0] fault_data,

    output wire event_valid,
    input wire event_ready,
    output wire [255:0] event_data,

    input wire fault_ring_full,
    input wire cfg_enable,
    output wire ready,

    input wire [4:0] stat_addr,
    output wire [63:0] stat_data,
    output wire [63:0] cycle
);

  assign s_axi_awready = m_axi_awready;
  assign s_axi_wready = m_axi_wready;
  assign s_axi_bid = m_axi_bid;
  assign s_axi_bresp = m_axi_bresp;
  assign s_axi_bvalid = m_axi_bvalid;
  assign s_axi_arready = m_axi_arready;
  assign s_axi_rid = m_axi_rid;
  assign s_axi_rdata = m_axi_rdata;
  assign s_axi_rresp = m_axi_rresp;
  assign s_axi_rlast = m_axi_rlast;
  assign s_axi_rvalid = m_axi_rvalid;
  assign m_axi_awid = s_axi_awid;
  assign m_axi_awaddr = s_axi_awaddr[PA_W-1:0];
  assign m_axi_awlen = s_axi_awlen;
  assign m_axi_awsize = s_axi_awsize;
  assign m_axi_awburst = s_axi_awburst;
  assign m_axi_awlock = s_axi_awlock;
  assign m_axi_awcache = s_axi_awcache;
  assign m_axi_awprot = s_axi_awprot;
  assign m_axi_awqos = s_axi_awqos;
  assign m_axi_awuser = s_axi_awuser;
  assign m_axi_awvalid = s_axi_awvalid;
  assign m_axi_wdata = s_axi_wdata;
  assign m_axi_wstrb = s_axi_wstrb;
  assign m_axi_wlast = s_axi_wlast;
  assign m_axi_wvalid = s_axi_wvalid;
  assign m_axi_bready = s_axi_bready;
  assign m_axi_arid = s_axi_arid;
  assign m_axi_araddr = s_axi_araddr[PA_W-1:0];
  assign m_axi_arlen = s_axi_arlen;
  assign m_axi_arsize = s_axi_arsize;
  assign m_axi_arburst = s_axi_arburst;
  assign m_axi_arlock = s_axi_arlock;
  assign m_axi_arcache = s_axi_arcache;
  assign m_axi_arprot = s_axi_arprot;
  assign m_axi_arqos = s_axi_arqos;
  assign m_axi_aruser = s_axi_aruser;
  assign m_axi_arvalid = s_axi_arvalid;
  assign m_axi_rready = s_axi_rready;

  reg [63:0] count;
  always @(posedge clk) begin
    if (rst) count <= 64'd0;
    else count <= count + 64'd1;
  end

  assign cmd_ready = 1'b1;
  assign fault_valid = 1'b0;
  assign fault_data = 256'd0;
  assign event_valid = 1'b0;
  assign event_data = 256'd0;
  assign ready = 1'b1;
  assign stat_data = 64'd0;
  assign cycle = count;

  wire unused = &{
    1'b0, cmd_valid, cmd_data, cmd_index, fault_ready, event_ready, fault_ring_full, cfg_enable, stat_addr,
    s_axi_awaddr, s_axi_araddr
  };
endmodule

`default_nettype wire
