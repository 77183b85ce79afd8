`resetall
`timescale 1ns / 1ps
`default_nettype none
`include "svm_defs.vh"

// The device MMU: core, its CMD, FAULT and EVENT rings on one AXI4 ring master, and the registers.
// irq_in merges interrupts of other blocks into the mask of this block; cycle is the time of all records.
// Latency: a fault or event record of the core is on the ring port in the next cycle.
// Invariant: the FAULT ring never holds up the CMD ring; only the core's own record queue couples them.
module dmmu #(
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

    input wire [ID_W-1:0] s_axi_awid,
    input wire [63:0] s_axi_awaddr,
    input wire [7:0] s_axi_awlen,
    input wire [2:0] s_axi_awsize,
    input wire [1:0] s_axi_awburst,
    input wire s_axi_awlock,
    input wire [3:0] s_axi_awcache,
    input wire [2:0] s_axi_awprot,
    input wire [3:0] s_axi_awqos,
    input wire [27:0] s_axi_awuser,
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
    input wire [27:0] s_axi_aruser,
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

    input wire [3:0] irq_in,
    output wire [3:0] irq,
    output wire [63:0] cycle
);


  // What CAP0 and CAP1 report; each field is 8 bits.
  localparam integer LOG_SETS = $clog2(SETS);
  localparam integer LOG_BYTES = $clog2(DATA_W / 8);
  localparam [7:0] CAP_LOG_SETS = LOG_SETS[7:0];
  localparam [7:0] CAP_WAYS = WAYS;
  localparam [7:0] CAP_MSHRS = MSHRS;
  localparam [7:0] CAP_PARK = PARK;
  localparam [7:0] CAP_LOG_BYTES = LOG_BYTES[7:0];
  localparam [7:0] CAP_VA_W = VA_W;
  localparam [7:0] CAP_PA_W = PA_W;
  localparam [7:0] CAP_PASIDS = PASIDS;

  wire [63:0] cmd_base;
  wire [4:0] cmd_log_size;
  wire cmd_enable;
  wire [16:0] cmd_tail;
  wire [16:0] cmd_head;
  wire cmd_busy;
  wire cmd_halted;
  wire cmd_error;

  wire [63:0] fault_base;
  wire [4:0] fault_log_size;
  wire fault_enable;
  wire [16:0] fault_tail;
  wire [16:0] fault_head;
  wire fault_busy;
  wire fault_halted;
  wire fault_error;

  wire [63:0] event_base;
  wire [4:0] event_log_size;
  wire event_enable;
  wire [16:0] event_tail;
  wire [16:0] event_head;
  wire event_busy;
  wire event_halted;
  wire event_error;

  wire cfg_enable;
  wire ready;
  wire [4:0] stat_addr;
  wire [63:0] stat_data;
  wire fault_irq;
  wire event_irq;

  // Interrupts of all blocks, before the mask.
  reg [3:0] irq_raw;
  always @* begin
    irq_raw = irq_in;
    irq_raw[`SVM_IRQ_FAULT] = irq_in[`SVM_IRQ_FAULT] | fault_irq;
    irq_raw[`SVM_IRQ_EVENT] = irq_in[`SVM_IRQ_EVENT] | event_irq;
    irq_raw[`SVM_IRQ_ERROR] = irq_in[`SVM_IRQ_ERROR] | cmd_error | fault_error | event_error;
  end

  mmu_regs #(
      .CAP0({CAP_PARK, CAP_MSHRS, CAP_WAYS, CAP_LOG_SETS}),
      .CAP1({CAP_PASIDS, CAP_PA_W, CAP_VA_W, CAP_LOG_BYTES})
  ) u_regs (
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
      .cmd_base(cmd_base),
      .cmd_log_size(cmd_log_size),
      .cmd_enable(cmd_enable),
      .cmd_tail(cmd_tail),
      .cmd_head(cmd_head),
      .cmd_busy(cmd_busy),
      .cmd_halted(cmd_halted),
      .fault_base(fault_base),
      .fault_log_size(fault_log_size),
      .fault_enable(fault_enable),
      .fault_tail(fault_tail),
      .fault_head(fault_head),
      .fault_busy(fault_busy),
      .fault_halted(fault_halted),
      .event_base(event_base),
      .event_log_size(event_log_size),
      .event_enable(event_enable),
      .event_tail(event_tail),
      .event_head(event_head),
      .event_busy(event_busy),
      .event_halted(event_halted),
      .cfg_enable(cfg_enable),
      .ready(ready),
      .stat_addr(stat_addr),
      .stat_data(stat_data),
      .irq_in(irq_raw),
      .irq(irq)
  );

  wire cmd_valid;
  wire cmd_ready;
  wire [255:0] cmd_data;
  wire [31:0] cmd_index;
  wire fault_valid;
  wire fault_ready;
  wire [255:0] fault_data;
  wire fault_full;
  wire event_valid;
  wire event_ready;
  wire [255:0] event_data;

  wire [63:0] cq_araddr;
  wire [7:0] cq_arlen;
  wire cq_arvalid;
  wire cq_arready;
  wire [255:0] cq_rdata;
  wire [1:0] cq_rresp;
  wire cq_rlast;
  wire cq_rvalid;
  wire cq_rready;

  wire [63:0] fq_awaddr;
  wire fq_awvalid;
  wire fq_awready;
  wire [255:0] fq_wdata;
  wire fq_wvalid;
  wire fq_wready;
  wire [1:0] fq_bresp;
  wire fq_bvalid;
  wire fq_bready;

  wire [63:0] eq_awaddr;
  wire eq_awvalid;
  wire eq_awready;
  wire [255:0] eq_wdata;
  wire eq_wvalid;
  wire eq_wready;
  wire [1:0] eq_bresp;
  wire eq_bvalid;
  wire eq_bready;

  ring_fetch u_cmd_fetch (
      .clk(clk),
      .rst(rst),
      .enable(cmd_enable),
      .base(cmd_base),
      .log_size(cmd_log_size),
      .tail(cmd_tail),
      .head(cmd_head),
      .busy(cmd_busy),
      .halted(cmd_halted),
      .irq_error(cmd_error),
      .araddr(cq_araddr),
      .arlen(cq_arlen),
      .arvalid(cq_arvalid),
      .arready(cq_arready),
      .rdata(cq_rdata),
      .rresp(cq_rresp),
      .rlast(cq_rlast),
      .rvalid(cq_rvalid),
      .rready(cq_rready),
      .out_valid(cmd_valid),
      .out_ready(cmd_ready),
      .out_data(cmd_data),
      .out_index(cmd_index)
  );

  ring_post u_fault_post (
      .clk(clk),
      .rst(rst),
      .enable(fault_enable),
      .base(fault_base),
      .log_size(fault_log_size),
      .head(fault_head),
      .tail(fault_tail),
      .busy(fault_busy),
      .halted(fault_halted),
      .full(fault_full),
      .irq(fault_irq),
      .irq_error(fault_error),
      .in_valid(fault_valid),
      .in_ready(fault_ready),
      .in_data(fault_data),
      .awaddr(fq_awaddr),
      .awvalid(fq_awvalid),
      .awready(fq_awready),
      .wdata(fq_wdata),
      .wvalid(fq_wvalid),
      .wready(fq_wready),
      .bresp(fq_bresp),
      .bvalid(fq_bvalid),
      .bready(fq_bready)
  );

  // The completion of a DETACH is posted when every fault record taken before it has been acknowledged: the writes of
  // the two rings are not ordered otherwise.
  reg [7:0] fault_open;
  reg [7:0] detach_owed;
  reg detach_counted;
  wire event_post_ready;
  wire event_detach = event_data[`SVM_EVENT_OP_F] == `SVM_OP_DETACH;
  wire event_go = !event_detach || (detach_counted && detach_owed == 8'd0);
  wire [7:0] fault_open_next = fault_open + {7'd0, fault_valid && fault_ready} - {7'd0, fq_bvalid};
  assign event_ready = event_post_ready && event_go;

  // A link error takes a slot that no completion wants.
  wire event_take = event_valid && event_go;
  wire [27:0] link_user = link_data[107:80];
  wire [255:0] link_record = {
    32'd0, link_user[27:20], 4'd0, link_user[19:0], link_data[79:16], cycle[31:0], cycle[31:0],
    8'd0, link_data[15:8], 32'd0, link_data[7:0], `SVM_EVENT_LINK_ERROR
  };
  assign link_ready = event_post_ready && !event_take;

  always @(posedge clk) begin
    if (!detach_counted) detach_owed <= fault_open_next;
    else if (fq_bvalid && detach_owed != 8'd0) detach_owed <= detach_owed - 8'd1;
  end

  always @(posedge clk) begin
    if (rst) begin
      fault_open <= 8'd0;
      detach_counted <= 1'b0;
    end else begin
      fault_open <= fault_open_next;
      detach_counted <= event_valid && event_detach && !event_ready;
    end
  end

  ring_post u_event_post (
      .clk(clk),
      .rst(rst),
      .enable(event_enable),
      .base(event_base),
      .log_size(event_log_size),
      .head(event_head),
      .tail(event_tail),
      .busy(event_busy),
      .halted(event_halted),
      .full(event_full),
      .irq(event_irq),
      .irq_error(event_error),
      .in_valid(event_take || link_valid),
      .in_ready(event_post_ready),
      .in_data(event_take ? event_data : link_record),
      .awaddr(eq_awaddr),
      .awvalid(eq_awvalid),
      .awready(eq_awready),
      .wdata(eq_wdata),
      .wvalid(eq_wvalid),
      .wready(eq_wready),
      .bresp(eq_bresp),
      .bvalid(eq_bvalid),
      .bready(eq_bready)
  );

  wire [1:0] s0_unused_bid;
  wire [1:0] s0_unused_rid;
  wire [1:0] s1_unused_bid;
  wire s1_unused_arready;
  wire [1:0] s1_unused_rid;
  wire [255:0] s1_unused_rdata;
  wire [1:0] s1_unused_rresp;
  wire s1_unused_rlast;
  wire s1_unused_rvalid;
  wire event_full;

  // Side 0 carries CMD reads and FAULT writes, side 1 EVENT writes.
  axi_ring_mux #(
      .SEL_BIT(0)
  ) u_mux (
      .clk(clk),
      .rst(rst),
      .s0_axi_awid(2'd0),
      .s0_axi_awaddr(fq_awaddr),
      .s0_axi_awlen(8'd0),
      .s0_axi_awsize(3'd5),
      .s0_axi_awburst(2'b01),
      .s0_axi_awlock(1'b0),
      .s0_axi_awcache(4'b0011),
      .s0_axi_awprot(3'b000),
      .s0_axi_awqos(4'd0),
      .s0_axi_awvalid(fq_awvalid),
      .s0_axi_awready(fq_awready),
      .s0_axi_wdata(fq_wdata),
      .s0_axi_wstrb({32{1'b1}}),
      .s0_axi_wlast(1'b1),
      .s0_axi_wvalid(fq_wvalid),
      .s0_axi_wready(fq_wready),
      .s0_axi_bid(s0_unused_bid),
      .s0_axi_bresp(fq_bresp),
      .s0_axi_bvalid(fq_bvalid),
      .s0_axi_bready(fq_bready),
      .s0_axi_arid(2'd0),
      .s0_axi_araddr(cq_araddr),
      .s0_axi_arlen(cq_arlen),
      .s0_axi_arsize(3'd5),
      .s0_axi_arburst(2'b01),
      .s0_axi_arlock(1'b0),
      .s0_axi_arcache(4'b0011),
      .s0_axi_arprot(3'b000),
      .s0_axi_arqos(4'd0),
      .s0_axi_arvalid(cq_arvalid),
      .s0_axi_arready(cq_arready),
      .s0_axi_rid(s0_unused_rid),
      .s0_axi_rdata(cq_rdata),
      .s0_axi_rresp(cq_rresp),
      .s0_axi_rlast(cq_rlast),
      .s0_axi_rvalid(cq_rvalid),
      .s0_axi_rready(cq_rready),
      .s1_axi_awid(2'd0),
      .s1_axi_awaddr(eq_awaddr),
      .s1_axi_awlen(8'd0),
      .s1_axi_awsize(3'd5),
      .s1_axi_awburst(2'b01),
      .s1_axi_awlock(1'b0),
      .s1_axi_awcache(4'b0011),
      .s1_axi_awprot(3'b000),
      .s1_axi_awqos(4'd0),
      .s1_axi_awvalid(eq_awvalid),
      .s1_axi_awready(eq_awready),
      .s1_axi_wdata(eq_wdata),
      .s1_axi_wstrb({32{1'b1}}),
      .s1_axi_wlast(1'b1),
      .s1_axi_wvalid(eq_wvalid),
      .s1_axi_wready(eq_wready),
      .s1_axi_bid(s1_unused_bid),
      .s1_axi_bresp(eq_bresp),
      .s1_axi_bvalid(eq_bvalid),
      .s1_axi_bready(eq_bready),
      .s1_axi_arid(2'd0),
      .s1_axi_araddr(64'd0),
      .s1_axi_arlen(8'd0),
      .s1_axi_arsize(3'd5),
      .s1_axi_arburst(2'b01),
      .s1_axi_arlock(1'b0),
      .s1_axi_arcache(4'b0011),
      .s1_axi_arprot(3'b000),
      .s1_axi_arqos(4'd0),
      .s1_axi_arvalid(1'b0),
      .s1_axi_arready(s1_unused_arready),
      .s1_axi_rid(s1_unused_rid),
      .s1_axi_rdata(s1_unused_rdata),
      .s1_axi_rresp(s1_unused_rresp),
      .s1_axi_rlast(s1_unused_rlast),
      .s1_axi_rvalid(s1_unused_rvalid),
      .s1_axi_rready(1'b1),
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

  dmmu_core #(
      .DATA_W(DATA_W),
      .ID_W(ID_W),
      .PA_W(PA_W),
      .VA_W(VA_W),
      .SETS_4K(SETS),
      .WAYS_4K(WAYS),
      .SETS_2M(SETS_2M),
      .WAYS_2M(WAYS_2M),
      .SETS_1G(SETS_1G),
      .WAYS_1G(WAYS_1G),
      .PARK(PARK),
      .MSHRS(MSHRS),
      .TRACK(TRACK),
      .PASIDS(PASIDS)
  ) u_core (
      .clk(clk),
      .rst(rst),
      .s_axi_awid(s_axi_awid),
      .s_axi_awaddr(s_axi_awaddr),
      .s_axi_awlen(s_axi_awlen),
      .s_axi_awsize(s_axi_awsize),
      .s_axi_awburst(s_axi_awburst),
      .s_axi_awlock(s_axi_awlock),
      .s_axi_awcache(s_axi_awcache),
      .s_axi_awprot(s_axi_awprot),
      .s_axi_awqos(s_axi_awqos),
      .s_axi_awuser(s_axi_awuser),
      .s_axi_awvalid(s_axi_awvalid),
      .s_axi_awready(s_axi_awready),
      .s_axi_wdata(s_axi_wdata),
      .s_axi_wstrb(s_axi_wstrb),
      .s_axi_wlast(s_axi_wlast),
      .s_axi_wvalid(s_axi_wvalid),
      .s_axi_wready(s_axi_wready),
      .s_axi_bid(s_axi_bid),
      .s_axi_bresp(s_axi_bresp),
      .s_axi_bvalid(s_axi_bvalid),
      .s_axi_bready(s_axi_bready),
      .s_axi_arid(s_axi_arid),
      .s_axi_araddr(s_axi_araddr),
      .s_axi_arlen(s_axi_arlen),
      .s_axi_arsize(s_axi_arsize),
      .s_axi_arburst(s_axi_arburst),
      .s_axi_arlock(s_axi_arlock),
      .s_axi_arcache(s_axi_arcache),
      .s_axi_arprot(s_axi_arprot),
      .s_axi_arqos(s_axi_arqos),
      .s_axi_aruser(s_axi_aruser),
      .s_axi_arvalid(s_axi_arvalid),
      .s_axi_arready(s_axi_arready),
      .s_axi_rid(s_axi_rid),
      .s_axi_rdata(s_axi_rdata),
      .s_axi_rresp(s_axi_rresp),
      .s_axi_rlast(s_axi_rlast),
      .s_axi_rvalid(s_axi_rvalid),
      .s_axi_rready(s_axi_rready),
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
      .cmd_valid(cmd_valid),
      .cmd_ready(cmd_ready),
      .cmd_data(cmd_data),
      .cmd_index(cmd_index[15:0]),
      .fault_valid(fault_valid),
      .fault_ready(fault_ready),
      .fault_data(fault_data),
      .event_valid(event_valid),
      .event_ready(event_ready),
      .event_data(event_data),
      .fault_ring_full(fault_full),
      .cfg_enable(cfg_enable),
      .ready(ready),
      .stat_addr(stat_addr),
      .stat_data(stat_data),
      .cycle(cycle)
  );

  wire unused_pins = &{1'b0, cmd_index[31:16], event_full,
      s0_unused_bid, s0_unused_rid, s1_unused_bid, s1_unused_arready, s1_unused_rid, s1_unused_rdata,
      s1_unused_rresp, s1_unused_rlast, s1_unused_rvalid};
endmodule

`default_nettype wire
