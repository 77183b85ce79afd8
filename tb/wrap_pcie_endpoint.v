// Test wrapper of the endpoint's parts: BAR completer, MSI-X, DMA writer and reader behind the RQ multiplexer.
`resetall
`timescale 1ns/1ps
`default_nettype none

module wrap_pcie_endpoint #(
    parameter DATA_W   = 128,
    parameter ID_W     = 6,
    parameter LOG_TAGS = 5,
    parameter LOG_TICK = 16,
    parameter TIMEOUT  = 190,
    parameter LANES    = DATA_W / 32,
    parameter CQ_W     = (DATA_W == 512) ? 183 : 88,
    parameter CC_W     = (DATA_W == 512) ? 81 : 33,
    parameter RQ_W     = (DATA_W == 512) ? 137 : 62,
    parameter RC_W     = (DATA_W == 512) ? 161 : 75
) (
    input  wire                clk,
    input  wire                rst,

    input  wire [1:0]          cfg_max_payload,
    input  wire [2:0]          cfg_max_read_req,
    input  wire [15:0]         cfg_function_status,
    input  wire                extended_tag,
    input  wire [3:0]          cfg_interrupt_msix_enable,
    input  wire [3:0]          cfg_interrupt_msix_mask,
    input  wire [3:0]          irq,

    input  wire [DATA_W-1:0]   s_axis_cq_tdata,
    input  wire [LANES-1:0]    s_axis_cq_tkeep,
    input  wire                s_axis_cq_tlast,
    input  wire [CQ_W-1:0]     s_axis_cq_tuser,
    input  wire                s_axis_cq_tvalid,
    output wire                s_axis_cq_tready,
    output wire [DATA_W-1:0]   m_axis_cc_tdata,
    output wire [LANES-1:0]    m_axis_cc_tkeep,
    output wire                m_axis_cc_tlast,
    output wire [CC_W-1:0]     m_axis_cc_tuser,
    output wire                m_axis_cc_tvalid,
    input  wire                m_axis_cc_tready,
    output wire [DATA_W-1:0]   m_axis_rq_tdata,
    output wire [LANES-1:0]    m_axis_rq_tkeep,
    output wire                m_axis_rq_tlast,
    output wire [RQ_W-1:0]     m_axis_rq_tuser,
    output wire [27:0]         m_axis_rq_info,
    output wire                m_axis_rq_tvalid,
    input  wire                m_axis_rq_tready,
    input  wire [DATA_W-1:0]   s_axis_rc_tdata,
    input  wire [LANES-1:0]    s_axis_rc_tkeep,
    input  wire                s_axis_rc_tlast,
    input  wire [RC_W-1:0]     s_axis_rc_tuser,
    input  wire                s_axis_rc_tvalid,
    output wire                s_axis_rc_tready,

    output wire [15:0]         m_axil_awaddr,
    output wire [2:0]          m_axil_awprot,
    output wire                m_axil_awvalid,
    input  wire                m_axil_awready,
    output wire [31:0]         m_axil_wdata,
    output wire [3:0]          m_axil_wstrb,
    output wire                m_axil_wvalid,
    input  wire                m_axil_wready,
    input  wire [1:0]          m_axil_bresp,
    input  wire                m_axil_bvalid,
    output wire                m_axil_bready,
    output wire [15:0]         m_axil_araddr,
    output wire [2:0]          m_axil_arprot,
    output wire                m_axil_arvalid,
    input  wire                m_axil_arready,
    input  wire [31:0]         m_axil_rdata,
    input  wire [1:0]          m_axil_rresp,
    input  wire                m_axil_rvalid,
    output wire                m_axil_rready,

    input  wire [ID_W-1:0]     s_axi_awid,
    input  wire [63:0]         s_axi_awaddr,
    input  wire [7:0]          s_axi_awlen,
    input  wire [2:0]          s_axi_awsize,
    input  wire [1:0]          s_axi_awburst,
    input  wire [27:0]         s_axi_awuser,
    input  wire                s_axi_awvalid,
    output wire                s_axi_awready,
    input  wire [DATA_W-1:0]   s_axi_wdata,
    input  wire [DATA_W/8-1:0] s_axi_wstrb,
    input  wire                s_axi_wlast,
    input  wire                s_axi_wvalid,
    output wire                s_axi_wready,
    output wire [ID_W-1:0]     s_axi_bid,
    output wire [1:0]          s_axi_bresp,
    output wire                s_axi_bvalid,
    input  wire                s_axi_bready,
    input  wire [ID_W-1:0]     s_axi_arid,
    input  wire [63:0]         s_axi_araddr,
    input  wire [7:0]          s_axi_arlen,
    input  wire [2:0]          s_axi_arsize,
    input  wire [1:0]          s_axi_arburst,
    input  wire [27:0]         s_axi_aruser,
    input  wire                s_axi_arvalid,
    output wire                s_axi_arready,
    output wire [ID_W-1:0]     s_axi_rid,
    output wire [DATA_W-1:0]   s_axi_rdata,
    output wire [1:0]          s_axi_rresp,
    output wire                s_axi_rlast,
    output wire                s_axi_rvalid,
    input  wire                s_axi_rready,

    // {bar unsupported, reader timeout, unexpected, error}
    output wire [3:0]          events,
    output wire [27:0]         event_user,
    output wire [63:0]         event_addr,
    output wire [7:0]          event_reason,
    output wire                idle
);

  wire enable = cfg_function_status[2];

  wire [3*DATA_W-1:0] rq_tdata;
  wire [3*LANES-1:0] rq_tkeep;
  wire [2:0] rq_tlast;
  wire [3*RQ_W-1:0] rq_tuser;
  wire [83:0] rq_info;
  wire [2:0] rq_tvalid;
  wire [2:0] rq_tready;

  // One access at a time, address held to its end: the window of the MSI-X table needs no more than a select.
  wire wr_msix = m_axil_awaddr[15:12] == 4'h8;
  wire rd_msix = m_axil_araddr[15:12] == 4'h8;
  wire bar_awvalid, bar_wvalid, bar_bready, bar_arvalid, bar_rready;
  wire msix_awready, msix_wready, msix_bvalid, msix_arready, msix_rvalid;
  wire [1:0] msix_bresp, msix_rresp;
  wire [31:0] msix_rdata;
  assign m_axil_awvalid = bar_awvalid && !wr_msix;
  assign m_axil_wvalid = bar_wvalid && !wr_msix;
  assign m_axil_bready = bar_bready && !wr_msix;
  assign m_axil_arvalid = bar_arvalid && !rd_msix;
  assign m_axil_rready = bar_rready && !rd_msix;

  pcie_msix #(.DATA_W(DATA_W), .LOG_VECTORS(2)) msix (
      .clk(clk), .rst(rst), .enable(enable && cfg_interrupt_msix_enable[0]),
      .function_mask(cfg_interrupt_msix_mask[0]), .irq(irq),
      .s_axil_awaddr(m_axil_awaddr[11:0]), .s_axil_awvalid(bar_awvalid && wr_msix), .s_axil_awready(msix_awready),
      .s_axil_wdata(m_axil_wdata), .s_axil_wstrb(m_axil_wstrb), .s_axil_wvalid(bar_wvalid && wr_msix),
      .s_axil_wready(msix_wready), .s_axil_bresp(msix_bresp), .s_axil_bvalid(msix_bvalid),
      .s_axil_bready(bar_bready && wr_msix),
      .s_axil_araddr(m_axil_araddr[11:0]), .s_axil_arvalid(bar_arvalid && rd_msix), .s_axil_arready(msix_arready),
      .s_axil_rdata(msix_rdata), .s_axil_rresp(msix_rresp), .s_axil_rvalid(msix_rvalid),
      .s_axil_rready(bar_rready && rd_msix),
      .m_axis_rq_tdata(rq_tdata[2*DATA_W+:DATA_W]), .m_axis_rq_tkeep(rq_tkeep[2*LANES+:LANES]),
      .m_axis_rq_tlast(rq_tlast[2]), .m_axis_rq_tuser(rq_tuser[2*RQ_W+:RQ_W]), .m_axis_rq_info(rq_info[83:56]),
      .m_axis_rq_tvalid(rq_tvalid[2]), .m_axis_rq_tready(rq_tready[2])
  );

  pcie_bar #(.DATA_W(DATA_W), .ADDR_W(16)) bar (
      .clk(clk), .rst(rst),
      .s_axis_cq_tdata(s_axis_cq_tdata), .s_axis_cq_tkeep(s_axis_cq_tkeep), .s_axis_cq_tlast(s_axis_cq_tlast),
      .s_axis_cq_tuser(s_axis_cq_tuser), .s_axis_cq_tvalid(s_axis_cq_tvalid), .s_axis_cq_tready(s_axis_cq_tready),
      .m_axis_cc_tdata(m_axis_cc_tdata), .m_axis_cc_tkeep(m_axis_cc_tkeep), .m_axis_cc_tlast(m_axis_cc_tlast),
      .m_axis_cc_tuser(m_axis_cc_tuser), .m_axis_cc_tvalid(m_axis_cc_tvalid), .m_axis_cc_tready(m_axis_cc_tready),
      .m_axil_awaddr(m_axil_awaddr), .m_axil_awprot(m_axil_awprot), .m_axil_awvalid(bar_awvalid),
      .m_axil_awready(wr_msix ? msix_awready : m_axil_awready), .m_axil_wdata(m_axil_wdata),
      .m_axil_wstrb(m_axil_wstrb), .m_axil_wvalid(bar_wvalid),
      .m_axil_wready(wr_msix ? msix_wready : m_axil_wready), .m_axil_bresp(wr_msix ? msix_bresp : m_axil_bresp),
      .m_axil_bvalid(wr_msix ? msix_bvalid : m_axil_bvalid), .m_axil_bready(bar_bready),
      .m_axil_araddr(m_axil_araddr), .m_axil_arprot(m_axil_arprot), .m_axil_arvalid(bar_arvalid),
      .m_axil_arready(rd_msix ? msix_arready : m_axil_arready), .m_axil_rdata(rd_msix ? msix_rdata : m_axil_rdata),
      .m_axil_rresp(rd_msix ? msix_rresp : m_axil_rresp), .m_axil_rvalid(rd_msix ? msix_rvalid : m_axil_rvalid),
      .m_axil_rready(bar_rready),
      .unsupported(events[3])
  );

  pcie_dma_wr #(.DATA_W(DATA_W), .ID_W(ID_W)) wr (
      .clk(clk), .rst(rst), .enable(enable), .max_payload(cfg_max_payload),
      .s_axi_awid(s_axi_awid), .s_axi_awaddr(s_axi_awaddr), .s_axi_awsize(s_axi_awsize),
      .s_axi_awburst(s_axi_awburst), .s_axi_awat(2'd0), .s_axi_awuser(s_axi_awuser),
      .s_axi_awvalid(s_axi_awvalid), .s_axi_awready(s_axi_awready),
      .s_axi_wdata(s_axi_wdata), .s_axi_wstrb(s_axi_wstrb), .s_axi_wlast(s_axi_wlast),
      .s_axi_wvalid(s_axi_wvalid), .s_axi_wready(s_axi_wready),
      .s_axi_bid(s_axi_bid), .s_axi_bresp(s_axi_bresp), .s_axi_bvalid(s_axi_bvalid), .s_axi_bready(s_axi_bready),
      .m_axis_rq_tdata(rq_tdata[0+:DATA_W]), .m_axis_rq_tkeep(rq_tkeep[0+:LANES]), .m_axis_rq_tlast(rq_tlast[0]),
      .m_axis_rq_tuser(rq_tuser[0+:RQ_W]), .m_axis_rq_info(rq_info[27:0]),
      .m_axis_rq_tvalid(rq_tvalid[0]), .m_axis_rq_tready(rq_tready[0])
  );

  pcie_dma_rd #(.DATA_W(DATA_W), .ID_W(ID_W), .LOG_TAGS(LOG_TAGS), .LOG_TICK(LOG_TICK), .TIMEOUT(TIMEOUT)) rd (
      .clk(clk), .rst(rst), .enable(enable), .extended_tag(extended_tag), .max_read(cfg_max_read_req),
      .s_axi_arid(s_axi_arid), .s_axi_araddr(s_axi_araddr), .s_axi_arlen(s_axi_arlen),
      .s_axi_arsize(s_axi_arsize), .s_axi_arburst(s_axi_arburst), .s_axi_arat(2'd0), .s_axi_aruser(s_axi_aruser),
      .s_axi_arvalid(s_axi_arvalid), .s_axi_arready(s_axi_arready),
      .s_axi_rid(s_axi_rid), .s_axi_rdata(s_axi_rdata), .s_axi_rresp(s_axi_rresp), .s_axi_rlast(s_axi_rlast),
      .s_axi_rlane(), .s_axi_rvalid(s_axi_rvalid), .s_axi_rready(s_axi_rready), .idle(idle),
      .m_axis_rq_tdata(rq_tdata[DATA_W+:DATA_W]), .m_axis_rq_tkeep(rq_tkeep[LANES+:LANES]),
      .m_axis_rq_tlast(rq_tlast[1]), .m_axis_rq_tuser(rq_tuser[RQ_W+:RQ_W]), .m_axis_rq_info(rq_info[55:28]),
      .m_axis_rq_tvalid(rq_tvalid[1]), .m_axis_rq_tready(rq_tready[1]),
      .s_axis_rc_tdata(s_axis_rc_tdata), .s_axis_rc_tkeep(s_axis_rc_tkeep), .s_axis_rc_tlast(s_axis_rc_tlast),
      .s_axis_rc_tuser(s_axis_rc_tuser), .s_axis_rc_tvalid(s_axis_rc_tvalid), .s_axis_rc_tready(s_axis_rc_tready),
      .event_error(events[0]), .event_unexpected(events[1]), .event_timeout(events[2]),
      .event_user(event_user), .event_addr(event_addr), .event_reason(event_reason)
  );

  pcie_rq_mux #(.DATA_W(DATA_W), .N(3)) mux (
      .clk(clk), .rst(rst),
      .s_axis_rq_tdata(rq_tdata), .s_axis_rq_tkeep(rq_tkeep), .s_axis_rq_tlast(rq_tlast), .s_axis_rq_tuser(rq_tuser),
      .s_axis_rq_info(rq_info), .s_axis_rq_tvalid(rq_tvalid), .s_axis_rq_tready(rq_tready),
      .m_axis_rq_tdata(m_axis_rq_tdata), .m_axis_rq_tkeep(m_axis_rq_tkeep), .m_axis_rq_tlast(m_axis_rq_tlast),
      .m_axis_rq_tuser(m_axis_rq_tuser), .m_axis_rq_info(m_axis_rq_info),
      .m_axis_rq_tvalid(m_axis_rq_tvalid), .m_axis_rq_tready(m_axis_rq_tready)
  );

endmodule

`default_nettype wire
