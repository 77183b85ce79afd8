`resetall
`timescale 1ns / 1ps
`default_nettype none
`include "svm_defs.vh"

// The device as a PCIe endpoint on the user side of a pcie4_uscale_plus hard block (client tags, dword alignment, no
// straddle): BAR0 with the device's registers, the link's and the MSI-X table; data and rings by TLPs; FLR.
// The requester and PASID of an access, and its address type, reach rq_info and the AT field of the RQ descriptor with
// it; the PASID TLP prefix and translated requests would be added there. Every request is untranslated.
// Data and rings have a reader and a writer each, so ring traffic waits for data traffic on the link only.
// Latency: bus address to RQ 5 cycles, RC to R 4; throughput: one RQ and one RC beat a cycle.
// Invariant: a record, a completion or an interrupt leaves on RQ after the writes it announces.
module fpga_core #(
    parameter DATA_W = 256,
    parameter SETS = 256,
    parameter WAYS = 4,
    parameter PARK = 64,
    parameter MSHRS = 32,
    parameter TRACK = 64,
    parameter PASIDS = 16,
    parameter LOG_TAGS = 6,
    parameter LOG_SLOT = 9,
    parameter LOG_TICK = 16,
    parameter TIMEOUT = 190,
    parameter CQ_USER_W = (DATA_W == 512) ? 183 : 88,
    parameter CC_USER_W = (DATA_W == 512) ? 81 : 33,
    parameter RQ_USER_W = (DATA_W == 512) ? 137 : 62,
    parameter RC_USER_W = (DATA_W == 512) ? 161 : 75
) (
    input wire clk,
    input wire rst,

    input wire [DATA_W-1:0] s_axis_cq_tdata,
    input wire [DATA_W/32-1:0] s_axis_cq_tkeep,
    input wire s_axis_cq_tlast,
    input wire [CQ_USER_W-1:0] s_axis_cq_tuser,
    input wire s_axis_cq_tvalid,
    output wire s_axis_cq_tready,

    output wire [DATA_W-1:0] m_axis_cc_tdata,
    output wire [DATA_W/32-1:0] m_axis_cc_tkeep,
    output wire m_axis_cc_tlast,
    output wire [CC_USER_W-1:0] m_axis_cc_tuser,
    output wire m_axis_cc_tvalid,
    input wire m_axis_cc_tready,

    output wire [DATA_W-1:0] m_axis_rq_tdata,
    output wire [DATA_W/32-1:0] m_axis_rq_tkeep,
    output wire m_axis_rq_tlast,
    output wire [RQ_USER_W-1:0] m_axis_rq_tuser,
    output wire m_axis_rq_tvalid,
    input wire m_axis_rq_tready,

    input wire [DATA_W-1:0] s_axis_rc_tdata,
    input wire [DATA_W/32-1:0] s_axis_rc_tkeep,
    input wire s_axis_rc_tlast,
    input wire [RC_USER_W-1:0] s_axis_rc_tuser,
    input wire s_axis_rc_tvalid,
    output wire s_axis_rc_tready,

    output wire [1:0] pcie_cq_np_req,
    input wire [3:0] pcie_tfc_nph_av,

    output wire [9:0] cfg_mgmt_addr,
    output wire [7:0] cfg_mgmt_function_number,
    output wire cfg_mgmt_write,
    output wire [31:0] cfg_mgmt_write_data,
    output wire [3:0] cfg_mgmt_byte_enable,
    output wire cfg_mgmt_read,
    input wire [31:0] cfg_mgmt_read_data,
    input wire cfg_mgmt_read_write_done,

    input wire [1:0] cfg_max_payload,
    input wire [2:0] cfg_max_read_req,
    input wire [15:0] cfg_function_status,
    input wire [3:0] cfg_flr_in_process,
    output wire [3:0] cfg_flr_done,
    input wire [3:0] cfg_interrupt_msix_enable,
    input wire [3:0] cfg_interrupt_msix_mask
);

  initial begin
    if (DATA_W != 128 && DATA_W != 256 && DATA_W != 512) begin
      $display("fpga_core: DATA_W must be 128, 256 or 512");
      $finish;
    end
  end

  localparam KEEP_W = DATA_W / 32;
  localparam STRB_W = DATA_W / 8;
  localparam ID_W = 6;
  localparam PA_W = 48;
  localparam USER_W = 28;
  localparam BAR_W = 14;
  localparam [7:0] LOG_BYTES = (DATA_W == 128) ? 8'd4 : (DATA_W == 256) ? 8'd5 : 8'd6;

  // Tags: rings, the AtomicOp, data.
  localparam LOG_RING_TAGS = 2;
  localparam [7:0] CAS_TAG = 8'd4;
  localparam DATA_TAG = 5;

  // Sources of errors: LINK_SOURCE codes.
  localparam integer BY_DATA = {24'd0, `SVM_LINK_SOURCE_DATA};
  localparam integer BY_RING = {24'd0, `SVM_LINK_SOURCE_RING};
  localparam integer BY_ATOMIC = {24'd0, `SVM_LINK_SOURCE_ATOMIC};

  // Requesters on RQ.
  localparam RQ_N = 6;
  localparam DATA_WR = 0;
  localparam DATA_RD = 1;
  localparam RING_WR = 2;
  localparam RING_RD = 3;
  localparam CAS = 4;
  localparam MSIX = 5;

  // ---- Function state and function-level reset
  wire stop;
  wire flush;
  wire flr_done;
  wire core_rst = rst || flush;
  wire bus_master = cfg_function_status[2];
  wire enable = bus_master && !stop;
  wire msix_on = cfg_interrupt_msix_enable[0];
  wire extended_tag;

  wire [RQ_N*DATA_W-1:0] rq_tdata;
  wire [RQ_N*KEEP_W-1:0] rq_tkeep;
  wire [RQ_N-1:0] rq_tlast;
  wire [RQ_N*RQ_USER_W-1:0] rq_tuser;
  wire [RQ_N*USER_W-1:0] rq_info;
  wire [RQ_N-1:0] rq_tvalid;
  wire [RQ_N-1:0] rq_tready;
  wire [USER_W-1:0] out_info;
  // Non-posted requests that have not begun: a reset need not wait for them.
  wire [RQ_N-1:0] waits;

  wire data_rd_idle;
  wire ring_rd_idle;
  wire cas_idle;
  wire cq_drop;
  wire bar_cq_ready;

  pcie_flr u_flr (
      .clk(clk),
      .rst(rst),
      .flr_in_process(cfg_flr_in_process[0]),
      .flr_done(flr_done),
      .sending((rq_tvalid & ~waits) != {RQ_N{1'b0}} || m_axis_cc_tvalid),
      .waiting(!data_rd_idle || !ring_rd_idle || !cas_idle),
      .stop(stop),
      .flush(flush),
      .cq_valid(s_axis_cq_tvalid),
      .cq_last(s_axis_cq_tlast),
      .cq_ready(s_axis_cq_tready),
      .cq_drop(cq_drop)
  );

  assign cfg_flr_done = {3'd0, flr_done};
  assign pcie_cq_np_req = 2'b01;
  assign s_axis_cq_tready = cq_drop || bar_cq_ready;

  pcie_ext_tag u_ext_tag (
      .clk(clk),
      .rst(rst),
      .cfg_mgmt_addr(cfg_mgmt_addr),
      .cfg_mgmt_function_number(cfg_mgmt_function_number),
      .cfg_mgmt_write(cfg_mgmt_write),
      .cfg_mgmt_write_data(cfg_mgmt_write_data),
      .cfg_mgmt_byte_enable(cfg_mgmt_byte_enable),
      .cfg_mgmt_read(cfg_mgmt_read),
      .cfg_mgmt_read_data(cfg_mgmt_read_data),
      .cfg_mgmt_read_write_done(cfg_mgmt_read_write_done),
      .extended_tag(extended_tag)
  );

  // ---- BAR0: device, link registers, MSI-X. One access at a time, its address held: a select is enough.
  wire [BAR_W-1:0] bar_awaddr;
  wire [2:0] bar_awprot;
  wire bar_awvalid;
  wire bar_awready;
  wire [31:0] bar_wdata;
  wire [3:0] bar_wstrb;
  wire bar_wvalid;
  wire bar_wready;
  wire [1:0] bar_bresp;
  wire bar_bvalid;
  wire bar_bready;
  wire [BAR_W-1:0] bar_araddr;
  wire [2:0] bar_arprot;
  wire bar_arvalid;
  wire bar_arready;
  wire [31:0] bar_rdata;
  wire [1:0] bar_rresp;
  wire bar_rvalid;
  wire bar_rready;
  wire unsupported;

  pcie_bar #(
      .DATA_W(DATA_W),
      .ADDR_W(BAR_W)
  ) u_bar (
      .clk(clk),
      .rst(core_rst),
      .s_axis_cq_tdata(s_axis_cq_tdata),
      .s_axis_cq_tkeep(s_axis_cq_tkeep),
      .s_axis_cq_tlast(s_axis_cq_tlast),
      .s_axis_cq_tuser(s_axis_cq_tuser),
      .s_axis_cq_tvalid(s_axis_cq_tvalid && !cq_drop),
      .s_axis_cq_tready(bar_cq_ready),
      .m_axis_cc_tdata(m_axis_cc_tdata),
      .m_axis_cc_tkeep(m_axis_cc_tkeep),
      .m_axis_cc_tlast(m_axis_cc_tlast),
      .m_axis_cc_tuser(m_axis_cc_tuser),
      .m_axis_cc_tvalid(m_axis_cc_tvalid),
      .m_axis_cc_tready(m_axis_cc_tready),
      .m_axil_awaddr(bar_awaddr),
      .m_axil_awprot(bar_awprot),
      .m_axil_awvalid(bar_awvalid),
      .m_axil_awready(bar_awready),
      .m_axil_wdata(bar_wdata),
      .m_axil_wstrb(bar_wstrb),
      .m_axil_wvalid(bar_wvalid),
      .m_axil_wready(bar_wready),
      .m_axil_bresp(bar_bresp),
      .m_axil_bvalid(bar_bvalid),
      .m_axil_bready(bar_bready),
      .m_axil_araddr(bar_araddr),
      .m_axil_arprot(bar_arprot),
      .m_axil_arvalid(bar_arvalid),
      .m_axil_arready(bar_arready),
      .m_axil_rdata(bar_rdata),
      .m_axil_rresp(bar_rresp),
      .m_axil_rvalid(bar_rvalid),
      .m_axil_rready(bar_rready),
      .unsupported(unsupported)
  );

  // Windows of 4 KiB: 0 and 1 device, 2 link, 3 MSI-X.
  localparam DEV = 0;
  localparam LINK = 1;
  localparam TABLE = 2;

  wire [2:0] wr_sel = !bar_awaddr[13] ? 3'b001 : bar_awaddr[12] ? 3'b100 : 3'b010;
  wire [2:0] rd_sel = !bar_araddr[13] ? 3'b001 : bar_araddr[12] ? 3'b100 : 3'b010;
  wire [2:0] w_awready;
  wire [2:0] w_wready;
  wire [2:0] w_bvalid;
  wire [5:0] w_bresp;
  wire [2:0] w_arready;
  wire [2:0] w_rvalid;
  wire [5:0] w_rresp;
  wire [95:0] w_rdata;
  wire [15:0] win_awaddr = {{(16 - BAR_W) {1'b0}}, bar_awaddr};
  wire [15:0] win_araddr = {{(16 - BAR_W) {1'b0}}, bar_araddr};

  assign bar_awready = (w_awready & wr_sel) != 3'd0;
  assign bar_wready = (w_wready & wr_sel) != 3'd0;
  assign bar_bvalid = (w_bvalid & wr_sel) != 3'd0;
  assign bar_bresp = wr_sel[2] ? w_bresp[5:4] : wr_sel[1] ? w_bresp[3:2] : w_bresp[1:0];
  assign bar_arready = (w_arready & rd_sel) != 3'd0;
  assign bar_rvalid = (w_rvalid & rd_sel) != 3'd0;
  assign bar_rresp = rd_sel[2] ? w_rresp[5:4] : rd_sel[1] ? w_rresp[3:2] : w_rresp[1:0];
  assign bar_rdata = rd_sel[2] ? w_rdata[95:64] : rd_sel[1] ? w_rdata[63:32] : w_rdata[31:0];

  // ---- The device
  wire [ID_W-1:0] d_awid;
  wire [PA_W-1:0] d_awaddr;
  wire [7:0] d_awlen;
  wire [2:0] d_awsize;
  wire [1:0] d_awburst;
  wire d_awlock;
  wire [USER_W-1:0] d_awuser;
  wire d_awvalid;
  wire d_awready;
  wire [DATA_W-1:0] d_wdata;
  wire [STRB_W-1:0] d_wstrb;
  wire d_wlast;
  wire d_wvalid;
  wire d_wready;
  wire [ID_W-1:0] d_bid;
  wire [1:0] d_bresp;
  wire d_bvalid;
  wire d_bready;
  wire [ID_W-1:0] d_arid;
  wire [PA_W-1:0] d_araddr;
  wire [7:0] d_arlen;
  wire [2:0] d_arsize;
  wire [1:0] d_arburst;
  wire d_arlock;
  wire [USER_W-1:0] d_aruser;
  wire d_arvalid;
  wire d_arready;
  wire [ID_W-1:0] d_rid;
  wire [DATA_W-1:0] d_rdata;
  wire [1:0] d_rresp;
  wire d_rlast;
  wire d_rvalid;
  wire d_rready;

  wire [1:0] r_awid;
  wire [63:0] r_awaddr;
  wire r_awvalid;
  wire r_awready;
  wire [255:0] r_wdata;
  wire r_wvalid;
  wire r_wready;
  wire [1:0] r_bid;
  wire [1:0] r_bresp;
  wire r_bvalid;
  wire r_bready;
  wire [1:0] r_arid;
  wire [63:0] r_araddr;
  wire [7:0] r_arlen;
  wire r_arvalid;
  wire r_arready;
  wire [1:0] r_rid;
  wire [255:0] r_rdata;
  wire [1:0] r_rresp;
  wire r_rlast;
  wire r_rvalid;
  wire r_rready;

  wire [3:0] irq;
  wire link_valid;
  wire link_ready;
  wire [107:0] link_data;

  // Constant, or not used by PCIe: order, caching and protection have no place in a memory request here.
  wire [3:0] n_awcache, n_awqos, n_arcache, n_arqos, n_rawcache, n_rawqos, n_rarcache, n_rarqos;
  wire [2:0] n_awprot, n_arprot, n_rawprot, n_rarprot, n_rawsize, n_rarsize;
  wire [1:0] n_rawburst, n_rarburst;
  wire [7:0] n_rawlen;
  wire [31:0] n_rwstrb;
  wire n_rawlock, n_rarlock, n_rwlast;
  // The virtual-address side, for a monitor.
  wire [ID_W-1:0] mon_awid, mon_bid, mon_arid, mon_rid;
  wire [63:0] mon_awaddr, mon_araddr;
  wire [7:0] mon_awlen, mon_arlen;
  wire [USER_W-1:0] mon_awuser, mon_aruser;
  wire [1:0] mon_bresp, mon_rresp;
  wire mon_awvalid, mon_awready, mon_bvalid, mon_bready;
  wire mon_arvalid, mon_arready, mon_rlast, mon_rvalid, mon_rready;

  svm_device #(
      .DATA_W(DATA_W),
      .ID_W(ID_W),
      .PA_W(PA_W),
      .SETS(SETS),
      .WAYS(WAYS),
      .PARK(PARK),
      .MSHRS(MSHRS),
      .TRACK(TRACK),
      .PASIDS(PASIDS)
  ) u_device (
      .clk(clk),
      .rst(core_rst),
      .s_axil_awaddr(win_awaddr),
      .s_axil_awprot(bar_awprot),
      .s_axil_awvalid(bar_awvalid && wr_sel[DEV]),
      .s_axil_awready(w_awready[DEV]),
      .s_axil_wdata(bar_wdata),
      .s_axil_wstrb(bar_wstrb),
      .s_axil_wvalid(bar_wvalid && wr_sel[DEV]),
      .s_axil_wready(w_wready[DEV]),
      .s_axil_bresp(w_bresp[2*DEV+:2]),
      .s_axil_bvalid(w_bvalid[DEV]),
      .s_axil_bready(bar_bready && wr_sel[DEV]),
      .s_axil_araddr(win_araddr),
      .s_axil_arprot(bar_arprot),
      .s_axil_arvalid(bar_arvalid && rd_sel[DEV]),
      .s_axil_arready(w_arready[DEV]),
      .s_axil_rdata(w_rdata[32*DEV+:32]),
      .s_axil_rresp(w_rresp[2*DEV+:2]),
      .s_axil_rvalid(w_rvalid[DEV]),
      .s_axil_rready(bar_rready && rd_sel[DEV]),
      .m_axi_awid(d_awid),
      .m_axi_awaddr(d_awaddr),
      .m_axi_awlen(d_awlen),
      .m_axi_awsize(d_awsize),
      .m_axi_awburst(d_awburst),
      .m_axi_awlock(d_awlock),
      .m_axi_awcache(n_awcache),
      .m_axi_awprot(n_awprot),
      .m_axi_awqos(n_awqos),
      .m_axi_awuser(d_awuser),
      .m_axi_awvalid(d_awvalid),
      .m_axi_awready(d_awready),
      .m_axi_wdata(d_wdata),
      .m_axi_wstrb(d_wstrb),
      .m_axi_wlast(d_wlast),
      .m_axi_wvalid(d_wvalid),
      .m_axi_wready(d_wready),
      .m_axi_bid(d_bid),
      .m_axi_bresp(d_bresp),
      .m_axi_bvalid(d_bvalid),
      .m_axi_bready(d_bready),
      .m_axi_arid(d_arid),
      .m_axi_araddr(d_araddr),
      .m_axi_arlen(d_arlen),
      .m_axi_arsize(d_arsize),
      .m_axi_arburst(d_arburst),
      .m_axi_arlock(d_arlock),
      .m_axi_arcache(n_arcache),
      .m_axi_arprot(n_arprot),
      .m_axi_arqos(n_arqos),
      .m_axi_aruser(d_aruser),
      .m_axi_arvalid(d_arvalid),
      .m_axi_arready(d_arready),
      .m_axi_rid(d_rid),
      .m_axi_rdata(d_rdata),
      .m_axi_rresp(d_rresp),
      .m_axi_rlast(d_rlast),
      .m_axi_rvalid(d_rvalid),
      .m_axi_rready(d_rready),
      .m_axi_ring_awid(r_awid),
      .m_axi_ring_awaddr(r_awaddr),
      .m_axi_ring_awlen(n_rawlen),
      .m_axi_ring_awsize(n_rawsize),
      .m_axi_ring_awburst(n_rawburst),
      .m_axi_ring_awlock(n_rawlock),
      .m_axi_ring_awcache(n_rawcache),
      .m_axi_ring_awprot(n_rawprot),
      .m_axi_ring_awqos(n_rawqos),
      .m_axi_ring_awvalid(r_awvalid),
      .m_axi_ring_awready(r_awready),
      .m_axi_ring_wdata(r_wdata),
      .m_axi_ring_wstrb(n_rwstrb),
      .m_axi_ring_wlast(n_rwlast),
      .m_axi_ring_wvalid(r_wvalid),
      .m_axi_ring_wready(r_wready),
      .m_axi_ring_bid(r_bid),
      .m_axi_ring_bresp(r_bresp),
      .m_axi_ring_bvalid(r_bvalid),
      .m_axi_ring_bready(r_bready),
      .m_axi_ring_arid(r_arid),
      .m_axi_ring_araddr(r_araddr),
      .m_axi_ring_arlen(r_arlen),
      .m_axi_ring_arsize(n_rarsize),
      .m_axi_ring_arburst(n_rarburst),
      .m_axi_ring_arlock(n_rarlock),
      .m_axi_ring_arcache(n_rarcache),
      .m_axi_ring_arprot(n_rarprot),
      .m_axi_ring_arqos(n_rarqos),
      .m_axi_ring_arvalid(r_arvalid),
      .m_axi_ring_arready(r_arready),
      .m_axi_ring_rid(r_rid),
      .m_axi_ring_rdata(r_rdata),
      .m_axi_ring_rresp(r_rresp),
      .m_axi_ring_rlast(r_rlast),
      .m_axi_ring_rvalid(r_rvalid),
      .m_axi_ring_rready(r_rready),
      .link_valid(link_valid),
      .link_ready(link_ready),
      .link_data(link_data),
      .irq(irq),
      .mon_axi_awid(mon_awid),
      .mon_axi_awaddr(mon_awaddr),
      .mon_axi_awlen(mon_awlen),
      .mon_axi_awuser(mon_awuser),
      .mon_axi_awvalid(mon_awvalid),
      .mon_axi_awready(mon_awready),
      .mon_axi_bid(mon_bid),
      .mon_axi_bresp(mon_bresp),
      .mon_axi_bvalid(mon_bvalid),
      .mon_axi_bready(mon_bready),
      .mon_axi_arid(mon_arid),
      .mon_axi_araddr(mon_araddr),
      .mon_axi_arlen(mon_arlen),
      .mon_axi_aruser(mon_aruser),
      .mon_axi_arvalid(mon_arvalid),
      .mon_axi_arready(mon_arready),
      .mon_axi_rid(mon_rid),
      .mon_axi_rresp(mon_rresp),
      .mon_axi_rlast(mon_rlast),
      .mon_axi_rvalid(mon_rvalid),
      .mon_axi_rready(mon_rready)
  );

  // ---- Data: exclusive writes leave as AtomicOps, the others through the writer
  wire [63:0] d_awaddr64 = {{(64 - PA_W) {1'b0}}, d_awaddr};
  wire [63:0] d_araddr64 = {{(64 - PA_W) {1'b0}}, d_araddr};
  wire wr_awvalid;
  wire wr_awready;
  wire wr_wvalid;
  wire wr_wready;
  wire [ID_W-1:0] wr_bid;
  wire [1:0] wr_bresp;
  wire wr_bvalid;
  wire wr_bready;
  wire [ID_W-1:0] rd_rid;
  wire [1:0] rd_rresp;
  wire [5:0] rd_rlane;
  wire rd_rlast;
  wire rd_rvalid;
  wire rd_rready = d_rready || flush;
  wire rexclusive;

  wire [2:0] error;
  wire [299:0] error_data;
  wire data_rd_unexpected;
  wire ring_rd_unexpected;
  wire cas_mine;
  wire [1:0] rd_failed;
  wire [1:0] rd_timeout;

  pcie_dma_cas #(
      .DATA_W(DATA_W),
      .ID_W(ID_W),
      .USER_W(USER_W),
      .TAG(CAS_TAG),
      .LOG_TICK(LOG_TICK),
      .TIMEOUT(TIMEOUT)
  ) u_cas (
      .clk(clk),
      .rst(rst),
      .enable(enable),
      .flush(flush),
      .idle(cas_idle),
      .s_axi_awid(d_awid),
      .s_axi_awaddr(d_awaddr64),
      .s_axi_awlen(d_awlen),
      .s_axi_awsize(d_awsize),
      .s_axi_awlock(d_awlock),
      .s_axi_awuser(d_awuser),
      .s_axi_awvalid(d_awvalid && !flush),
      .s_axi_awready(d_awready),
      .s_axi_wdata(d_wdata),
      .s_axi_wlast(d_wlast),
      .s_axi_wvalid(d_wvalid && !flush),
      .s_axi_wready(d_wready),
      .s_axi_bid(d_bid),
      .s_axi_bresp(d_bresp),
      .s_axi_bvalid(d_bvalid),
      .s_axi_bready(d_bready || flush),
      .m_axi_awvalid(wr_awvalid),
      .m_axi_awready(wr_awready),
      .m_axi_wvalid(wr_wvalid),
      .m_axi_wready(wr_wready),
      .m_axi_bid(wr_bid),
      .m_axi_bresp(wr_bresp),
      .m_axi_bvalid(wr_bvalid),
      .m_axi_bready(wr_bready),
      .arid(d_arid),
      .araddr(d_araddr64),
      .arlock(d_arlock),
      .arvalid(d_arvalid && d_arready),
      .rid(rd_rid),
      .rdata(d_rdata),
      .rlane(rd_rlane),
      .rerror(rd_rresp[1]),
      .rvalid(rd_rvalid && rd_rready),
      .rexclusive(rexclusive),
      .m_axis_rq_tdata(rq_tdata[CAS*DATA_W+:DATA_W]),
      .m_axis_rq_tkeep(rq_tkeep[CAS*KEEP_W+:KEEP_W]),
      .m_axis_rq_tlast(rq_tlast[CAS]),
      .m_axis_rq_tuser(rq_tuser[CAS*RQ_USER_W+:RQ_USER_W]),
      .m_axis_rq_info(rq_info[CAS*USER_W+:USER_W]),
      .m_axis_rq_tvalid(rq_tvalid[CAS]),
      .m_axis_rq_tready(rq_tready[CAS]),
      .s_axis_rc_tdata(s_axis_rc_tdata),
      .s_axis_rc_tlast(s_axis_rc_tlast),
      .s_axis_rc_tuser(s_axis_rc_tuser),
      .s_axis_rc_tvalid(s_axis_rc_tvalid),
      .event_error(error[BY_ATOMIC]),
      .event_user(error_data[100*BY_ATOMIC+72+:28]),
      .event_addr(error_data[100*BY_ATOMIC+8+:64]),
      .event_reason(error_data[100*BY_ATOMIC+:8]),
      .event_mine(cas_mine)
  );

  pcie_dma_wr #(
      .DATA_W(DATA_W),
      .ID_W(ID_W),
      .USER_W(USER_W)
  ) u_data_wr (
      .clk(clk),
      .rst(core_rst),
      .enable(enable),
      .max_payload(cfg_max_payload),
      .s_axi_awid(d_awid),
      .s_axi_awaddr(d_awaddr64),
      .s_axi_awsize(d_awsize),
      .s_axi_awburst(d_awburst),
      .s_axi_awat(2'b00),
      .s_axi_awuser(d_awuser),
      .s_axi_awvalid(wr_awvalid),
      .s_axi_awready(wr_awready),
      .s_axi_wdata(d_wdata),
      .s_axi_wstrb(d_wstrb),
      .s_axi_wlast(d_wlast),
      .s_axi_wvalid(wr_wvalid),
      .s_axi_wready(wr_wready),
      .s_axi_bid(wr_bid),
      .s_axi_bresp(wr_bresp),
      .s_axi_bvalid(wr_bvalid),
      .s_axi_bready(wr_bready),
      .m_axis_rq_tdata(rq_tdata[DATA_WR*DATA_W+:DATA_W]),
      .m_axis_rq_tkeep(rq_tkeep[DATA_WR*KEEP_W+:KEEP_W]),
      .m_axis_rq_tlast(rq_tlast[DATA_WR]),
      .m_axis_rq_tuser(rq_tuser[DATA_WR*RQ_USER_W+:RQ_USER_W]),
      .m_axis_rq_info(rq_info[DATA_WR*USER_W+:USER_W]),
      .m_axis_rq_tvalid(rq_tvalid[DATA_WR]),
      .m_axis_rq_tready(rq_tready[DATA_WR])
  );

  wire data_rc_ready;
  pcie_dma_rd #(
      .DATA_W(DATA_W),
      .ID_W(ID_W),
      .USER_W(USER_W),
      .LOG_TAGS(LOG_TAGS),
      .FIRST_TAG(DATA_TAG),
      .LOG_SLOT(LOG_SLOT),
      .LOG_TICK(LOG_TICK),
      .TIMEOUT(TIMEOUT)
  ) u_data_rd (
      .clk(clk),
      .rst(rst),
      .enable(enable),
      .extended_tag(extended_tag),
      .max_read(cfg_max_read_req),
      .idle(data_rd_idle),
      .s_axi_arid(d_arid),
      .s_axi_araddr(d_araddr64),
      .s_axi_arlen(d_arlen),
      .s_axi_arsize(d_arsize),
      .s_axi_arburst(d_arburst),
      .s_axi_arat(2'b00),
      .s_axi_aruser(d_aruser),
      .s_axi_arvalid(d_arvalid && !flush),
      .s_axi_arready(d_arready),
      .s_axi_rid(rd_rid),
      .s_axi_rdata(d_rdata),
      .s_axi_rresp(rd_rresp),
      .s_axi_rlast(rd_rlast),
      .s_axi_rlane(rd_rlane),
      .s_axi_rvalid(rd_rvalid),
      .s_axi_rready(rd_rready),
      .m_axis_rq_tdata(rq_tdata[DATA_RD*DATA_W+:DATA_W]),
      .m_axis_rq_tkeep(rq_tkeep[DATA_RD*KEEP_W+:KEEP_W]),
      .m_axis_rq_tlast(rq_tlast[DATA_RD]),
      .m_axis_rq_tuser(rq_tuser[DATA_RD*RQ_USER_W+:RQ_USER_W]),
      .m_axis_rq_info(rq_info[DATA_RD*USER_W+:USER_W]),
      .m_axis_rq_tvalid(rq_tvalid[DATA_RD]),
      .m_axis_rq_tready(rq_tready[DATA_RD]),
      .s_axis_rc_tdata(s_axis_rc_tdata),
      .s_axis_rc_tkeep(s_axis_rc_tkeep),
      .s_axis_rc_tlast(s_axis_rc_tlast),
      .s_axis_rc_tuser(s_axis_rc_tuser),
      .s_axis_rc_tvalid(s_axis_rc_tvalid),
      .s_axis_rc_tready(data_rc_ready),
      .event_error(rd_failed[0]),
      .event_unexpected(data_rd_unexpected),
      .event_timeout(rd_timeout[0]),
      .event_user(error_data[100*BY_DATA+72+:28]),
      .event_addr(error_data[100*BY_DATA+8+:64]),
      .event_reason(error_data[100*BY_DATA+:8])
  );

  assign d_rid = rd_rid;
  assign d_rresp = rexclusive ? 2'b01 : rd_rresp;
  assign d_rlast = rd_rlast;
  assign d_rvalid = rd_rvalid && !flush;

  // ---- Rings
  wire [1:0] rp_awid;
  wire [63:0] rp_awaddr;
  wire [2:0] rp_size;
  wire rp_awvalid;
  wire rp_awready;
  wire [DATA_W-1:0] rp_wdata;
  wire [STRB_W-1:0] rp_wstrb;
  wire rp_wlast;
  wire rp_wvalid;
  wire rp_wready;
  wire [7:0] rp_arlen;
  wire [DATA_W-1:0] rp_rdata;
  wire [1:0] rp_rresp;
  wire [5:0] rp_rlane;
  wire rp_rvalid;
  wire rp_rready;
  wire rr_rvalid;

  pcie_ring_port #(
      .DATA_W(DATA_W)
  ) u_ring_port (
      .clk(clk),
      .rst(core_rst),
      .s_axi_awid(r_awid),
      .s_axi_awaddr(r_awaddr),
      .s_axi_awvalid(r_awvalid),
      .s_axi_awready(r_awready),
      .s_axi_wdata(r_wdata),
      .s_axi_wvalid(r_wvalid),
      .s_axi_wready(r_wready),
      .s_axi_arlen(r_arlen),
      .s_axi_rdata(r_rdata),
      .s_axi_rresp(r_rresp),
      .s_axi_rvalid(rr_rvalid),
      .s_axi_rready(r_rready || flush),
      .m_axi_awid(rp_awid),
      .m_axi_awaddr(rp_awaddr),
      .m_axi_size(rp_size),
      .m_axi_awvalid(rp_awvalid),
      .m_axi_awready(rp_awready),
      .m_axi_wdata(rp_wdata),
      .m_axi_wstrb(rp_wstrb),
      .m_axi_wlast(rp_wlast),
      .m_axi_wvalid(rp_wvalid),
      .m_axi_wready(rp_wready),
      .m_axi_arlen(rp_arlen),
      .m_axi_rdata(rp_rdata),
      .m_axi_rresp(rp_rresp),
      .m_axi_rlane(rp_rlane),
      .m_axi_rvalid(rp_rvalid),
      .m_axi_rready(rp_rready)
  );

  assign r_rvalid = rr_rvalid && !flush;

  pcie_dma_wr #(
      .DATA_W(DATA_W),
      .ID_W(2),
      .USER_W(USER_W)
  ) u_ring_wr (
      .clk(clk),
      .rst(core_rst),
      .enable(enable),
      .max_payload(cfg_max_payload),
      .s_axi_awid(rp_awid),
      .s_axi_awaddr(rp_awaddr),
      .s_axi_awsize(rp_size),
      .s_axi_awburst(2'b01),
      .s_axi_awat(2'b00),
      .s_axi_awuser({USER_W{1'b0}}),
      .s_axi_awvalid(rp_awvalid),
      .s_axi_awready(rp_awready),
      .s_axi_wdata(rp_wdata),
      .s_axi_wstrb(rp_wstrb),
      .s_axi_wlast(rp_wlast),
      .s_axi_wvalid(rp_wvalid),
      .s_axi_wready(rp_wready),
      .s_axi_bid(r_bid),
      .s_axi_bresp(r_bresp),
      .s_axi_bvalid(r_bvalid),
      .s_axi_bready(r_bready),
      .m_axis_rq_tdata(rq_tdata[RING_WR*DATA_W+:DATA_W]),
      .m_axis_rq_tkeep(rq_tkeep[RING_WR*KEEP_W+:KEEP_W]),
      .m_axis_rq_tlast(rq_tlast[RING_WR]),
      .m_axis_rq_tuser(rq_tuser[RING_WR*RQ_USER_W+:RQ_USER_W]),
      .m_axis_rq_info(rq_info[RING_WR*USER_W+:USER_W]),
      .m_axis_rq_tvalid(rq_tvalid[RING_WR]),
      .m_axis_rq_tready(rq_tready[RING_WR])
  );

  wire ring_rc_ready;
  pcie_dma_rd #(
      .DATA_W(DATA_W),
      .ID_W(2),
      .USER_W(USER_W),
      .LOG_TAGS(LOG_RING_TAGS),
      .LOG_SLOT(9),
      .LOG_TICK(LOG_TICK),
      .TIMEOUT(TIMEOUT)
  ) u_ring_rd (
      .clk(clk),
      .rst(rst),
      .enable(enable),
      .extended_tag(1'b0),
      .max_read(cfg_max_read_req),
      .idle(ring_rd_idle),
      .s_axi_arid(r_arid),
      .s_axi_araddr(r_araddr),
      .s_axi_arlen(rp_arlen),
      .s_axi_arsize(rp_size),
      .s_axi_arburst(2'b01),
      .s_axi_arat(2'b00),
      .s_axi_aruser({USER_W{1'b0}}),
      .s_axi_arvalid(r_arvalid && !flush),
      .s_axi_arready(r_arready),
      .s_axi_rid(r_rid),
      .s_axi_rdata(rp_rdata),
      .s_axi_rresp(rp_rresp),
      .s_axi_rlast(r_rlast),
      .s_axi_rlane(rp_rlane),
      .s_axi_rvalid(rp_rvalid),
      .s_axi_rready(rp_rready),
      .m_axis_rq_tdata(rq_tdata[RING_RD*DATA_W+:DATA_W]),
      .m_axis_rq_tkeep(rq_tkeep[RING_RD*KEEP_W+:KEEP_W]),
      .m_axis_rq_tlast(rq_tlast[RING_RD]),
      .m_axis_rq_tuser(rq_tuser[RING_RD*RQ_USER_W+:RQ_USER_W]),
      .m_axis_rq_info(rq_info[RING_RD*USER_W+:USER_W]),
      .m_axis_rq_tvalid(rq_tvalid[RING_RD]),
      .m_axis_rq_tready(rq_tready[RING_RD]),
      .s_axis_rc_tdata(s_axis_rc_tdata),
      .s_axis_rc_tkeep(s_axis_rc_tkeep),
      .s_axis_rc_tlast(s_axis_rc_tlast),
      .s_axis_rc_tuser(s_axis_rc_tuser),
      .s_axis_rc_tvalid(s_axis_rc_tvalid),
      .s_axis_rc_tready(ring_rc_ready),
      .event_error(rd_failed[1]),
      .event_unexpected(ring_rd_unexpected),
      .event_timeout(rd_timeout[1]),
      .event_user(error_data[100*BY_RING+72+:28]),
      .event_addr(error_data[100*BY_RING+8+:64]),
      .event_reason(error_data[100*BY_RING+:8])
  );

  assign error[BY_DATA] = rd_failed[0] || rd_timeout[0];
  assign error[BY_RING] = rd_failed[1] || rd_timeout[1];
  assign s_axis_rc_tready = data_rc_ready && ring_rc_ready;

  // ---- Interrupts
  pcie_msix #(
      .DATA_W(DATA_W),
      .LOG_VECTORS(2),
      .INFO_W(USER_W)
  ) u_msix (
      .clk(clk),
      .rst(core_rst),
      .enable(enable && msix_on),
      .function_mask(cfg_interrupt_msix_mask[0]),
      .irq(irq),
      .s_axil_awaddr(bar_awaddr[11:0]),
      .s_axil_awvalid(bar_awvalid && wr_sel[TABLE]),
      .s_axil_awready(w_awready[TABLE]),
      .s_axil_wdata(bar_wdata),
      .s_axil_wstrb(bar_wstrb),
      .s_axil_wvalid(bar_wvalid && wr_sel[TABLE]),
      .s_axil_wready(w_wready[TABLE]),
      .s_axil_bresp(w_bresp[2*TABLE+:2]),
      .s_axil_bvalid(w_bvalid[TABLE]),
      .s_axil_bready(bar_bready && wr_sel[TABLE]),
      .s_axil_araddr(bar_araddr[11:0]),
      .s_axil_arvalid(bar_arvalid && rd_sel[TABLE]),
      .s_axil_arready(w_arready[TABLE]),
      .s_axil_rdata(w_rdata[32*TABLE+:32]),
      .s_axil_rresp(w_rresp[2*TABLE+:2]),
      .s_axil_rvalid(w_rvalid[TABLE]),
      .s_axil_rready(bar_rready && rd_sel[TABLE]),
      .m_axis_rq_tdata(rq_tdata[MSIX*DATA_W+:DATA_W]),
      .m_axis_rq_tkeep(rq_tkeep[MSIX*KEEP_W+:KEEP_W]),
      .m_axis_rq_tlast(rq_tlast[MSIX]),
      .m_axis_rq_tuser(rq_tuser[MSIX*RQ_USER_W+:RQ_USER_W]),
      .m_axis_rq_info(rq_info[MSIX*USER_W+:USER_W]),
      .m_axis_rq_tvalid(rq_tvalid[MSIX]),
      .m_axis_rq_tready(rq_tready[MSIX])
  );

  // ---- Errors
  pcie_link #(
      .SOURCES(3)
  ) u_link (
      .clk(clk),
      .rst(core_rst),
      .s_axil_awaddr(win_awaddr),
      .s_axil_awprot(bar_awprot),
      .s_axil_awvalid(bar_awvalid && wr_sel[LINK]),
      .s_axil_awready(w_awready[LINK]),
      .s_axil_wdata(bar_wdata),
      .s_axil_wstrb(bar_wstrb),
      .s_axil_wvalid(bar_wvalid && wr_sel[LINK]),
      .s_axil_wready(w_wready[LINK]),
      .s_axil_bresp(w_bresp[2*LINK+:2]),
      .s_axil_bvalid(w_bvalid[LINK]),
      .s_axil_bready(bar_bready && wr_sel[LINK]),
      .s_axil_araddr(win_araddr),
      .s_axil_arprot(bar_arprot),
      .s_axil_arvalid(bar_arvalid && rd_sel[LINK]),
      .s_axil_arready(w_arready[LINK]),
      .s_axil_rdata(w_rdata[32*LINK+:32]),
      .s_axil_rresp(w_rresp[2*LINK+:2]),
      .s_axil_rvalid(w_rvalid[LINK]),
      .s_axil_rready(bar_rready && rd_sel[LINK]),
      .status({
        8'd0, LOG_BYTES, 4'd0, 1'b0, cfg_max_read_req, 2'd0, cfg_max_payload, extended_tag, cfg_interrupt_msix_mask[0],
        msix_on, bus_master
      }),
      .error(error),
      .error_data(error_data),
      .unexpected(data_rd_unexpected && ring_rd_unexpected && !cas_mine),
      .unsupported(unsupported),
      .link_valid(link_valid),
      .link_ready(link_ready),
      .link_data(link_data)
  );

  // ---- RQ. A non-posted request starts only while the host has credit for one, so posted requests pass it.
  localparam [RQ_N-1:0] NON_POSTED = (6'd1 << DATA_RD) | (6'd1 << RING_RD) | (6'd1 << CAS);
  reg np_credit;
  reg [RQ_N-1:0] mid_packet;
  assign waits = NON_POSTED & ~mid_packet;
  wire [RQ_N-1:0] gate = waits & {RQ_N{!np_credit}};
  wire [RQ_N-1:0] mux_ready;
  assign rq_tready = mux_ready & ~gate;

  always @(posedge clk) begin
    if (rst) begin
      np_credit <= 1'b0;
      mid_packet <= {RQ_N{1'b0}};
    end else begin
      np_credit <= pcie_tfc_nph_av != 4'd0;
      mid_packet <= (mid_packet & ~(rq_tready & rq_tvalid)) | (rq_tready & rq_tvalid & ~rq_tlast);
    end
  end

  pcie_rq_mux #(
      .DATA_W(DATA_W),
      .N(RQ_N),
      .INFO_W(USER_W)
  ) u_rq_mux (
      .clk(clk),
      .rst(rst),
      .s_axis_rq_tdata(rq_tdata),
      .s_axis_rq_tkeep(rq_tkeep),
      .s_axis_rq_tlast(rq_tlast),
      .s_axis_rq_tuser(rq_tuser),
      .s_axis_rq_info(rq_info),
      .s_axis_rq_tvalid(rq_tvalid & ~gate),
      .s_axis_rq_tready(mux_ready),
      .m_axis_rq_tdata(m_axis_rq_tdata),
      .m_axis_rq_tkeep(m_axis_rq_tkeep),
      .m_axis_rq_tlast(m_axis_rq_tlast),
      .m_axis_rq_tuser(m_axis_rq_tuser),
      .m_axis_rq_info(out_info),
      .m_axis_rq_tvalid(m_axis_rq_tvalid),
      .m_axis_rq_tready(m_axis_rq_tready)
  );

  wire unused = &{
    1'b0, out_info, cfg_function_status, cfg_flr_in_process[3:1], cfg_interrupt_msix_enable[3:1],
    cfg_interrupt_msix_mask[3:1],
    n_awcache, n_awqos, n_arcache, n_arqos, n_rawcache, n_rawqos, n_rarcache, n_rarqos,
    n_awprot, n_arprot, n_rawprot, n_rarprot, n_rawsize, n_rarsize, n_rawburst, n_rarburst, n_rawlen, n_rwstrb,
    n_rawlock, n_rarlock, n_rwlast,
    mon_awid, mon_bid, mon_arid, mon_rid, mon_awaddr, mon_araddr, mon_awlen, mon_arlen, mon_awuser, mon_aruser,
    mon_bresp, mon_rresp, mon_awvalid, mon_awready, mon_bvalid, mon_bready,
    mon_arvalid, mon_arready, mon_rlast, mon_rvalid, mon_rready
  };

endmodule

`default_nettype wire
