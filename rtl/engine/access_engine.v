`resetall
`timescale 1ns / 1ps
`default_nettype none
`include "svm_defs.vh"

// The access engine: runs work descriptors (READ, WRITE, FILL, COPY, CAS) with virtual addresses.
// A descriptor in flight owns a slot, and its slot number is the AXI ID of all its accesses; different descriptors end in
// any order, overlapping ones in program order (engine_dispatch). Accesses are bus-wide bursts inside a 4-KiB page.
// CAS is an exclusive read and an exclusive write. The exclusive read asks the MMU only for read permission; the write may
// fault on its own. A store that the bus refuses is tried again from the read; a CAS that was refused runs alone, so
// that a bus with a single exclusive monitor makes progress too.
// Latency: record to first address 7 cycles, last response to completion record 8 cycles. Throughput: one descriptor of one
// burst per cycle. At most OUTSTANDING bursts per direction are unanswered. READY is always high for R and B.
// Invariant: a descriptor ends once, after every one of its accesses has been answered.
module access_engine #(
    parameter DATA_W = 128,
    parameter ID_W = 6,
    parameter VA_W = 48,
    parameter LOG_SLOTS = (ID_W < 6) ? ID_W : 6,
    parameter LOG_COPIES = 2,
    parameter OUTSTANDING = 64
) (
    input wire clk,
    input wire rst,
    input wire [31:0] cycle,

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
    output wire [63:0] m_axi_awaddr,
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
    output wire [63:0] m_axi_araddr,
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

    output reg [3:0] irq
);

  localparam integer LB = $clog2(DATA_W / 8);
  localparam LOG_BUF = 5;
  localparam COPIES = 1 << LOG_COPIES;
  localparam SW = LOG_SLOTS;
  localparam SOURCES = 3 + COPIES;
  localparam REQS = 2 + COPIES;
  localparam [2:0] BUS_SIZE = LB[2:0];

  initial begin
    if (DATA_W != 64 && DATA_W != 128 && DATA_W != 256 && DATA_W != 512) begin
      $display("access_engine: DATA_W must be 64, 128, 256 or 512");
      $finish;
    end
    if (LOG_SLOTS < 1 || LOG_SLOTS > ID_W || LOG_COPIES < 1 || OUTSTANDING < 1 || OUTSTANDING > 255 || VA_W < 40
        || VA_W > 57) begin
      $display("access_engine: LOG_SLOTS 1 to ID_W, LOG_COPIES at least 1, OUTSTANDING 1 to 255, VA_W 40 to 57");
      $finish;
    end
  end

  wire [63:0] work_base;
  wire [4:0] work_log_size;
  wire work_enable;
  wire [16:0] work_tail;
  wire [16:0] work_head;
  wire work_busy;
  wire work_halted;
  wire work_error;

  wire [63:0] done_base;
  wire [4:0] done_log_size;
  wire done_enable;
  wire [16:0] done_tail;
  wire [16:0] done_head;
  wire done_busy;
  wire done_halted;
  wire done_error;

  // Registers and rings.
  wire cfg_enable;
  wire idle;
  wire [SW:0] in_flight;

  engine_regs u_regs (
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
      .work_base(work_base),
      .work_log_size(work_log_size),
      .work_enable(work_enable),
      .work_tail(work_tail),
      .work_head(work_head),
      .work_busy(work_busy),
      .work_halted(work_halted),
      .done_base(done_base),
      .done_log_size(done_log_size),
      .done_enable(done_enable),
      .done_tail(done_tail),
      .done_head(done_head),
      .done_busy(done_busy),
      .done_halted(done_halted),
      .cfg_enable(cfg_enable),
      .idle(idle),
      .in_flight({{(15 - SW) {1'b0}}, in_flight})
  );

  wire work_valid;
  wire work_ready;
  wire [255:0] work_data;
  wire [31:0] work_index;
  wire done_valid;
  wire done_ready;
  wire [255:0] done_data;
  wire done_irq;
  wire done_full;

  ring_fetch u_work_fetch (
      .clk(clk),
      .rst(rst),
      .enable(work_enable),
      .base(work_base),
      .log_size(work_log_size),
      .tail(work_tail),
      .head(work_head),
      .busy(work_busy),
      .halted(work_halted),
      .irq_error(work_error),
      .araddr(m_axi_ring_araddr),
      .arlen(m_axi_ring_arlen),
      .arvalid(m_axi_ring_arvalid),
      .arready(m_axi_ring_arready),
      .rdata(m_axi_ring_rdata),
      .rresp(m_axi_ring_rresp),
      .rlast(m_axi_ring_rlast),
      .rvalid(m_axi_ring_rvalid),
      .rready(m_axi_ring_rready),
      .out_valid(work_valid),
      .out_ready(work_ready),
      .out_data(work_data),
      .out_index(work_index)
  );

  ring_post u_done_post (
      .clk(clk),
      .rst(rst),
      .enable(done_enable),
      .base(done_base),
      .log_size(done_log_size),
      .head(done_head),
      .tail(done_tail),
      .busy(done_busy),
      .halted(done_halted),
      .full(done_full),
      .irq(done_irq),
      .irq_error(done_error),
      .in_valid(done_valid),
      .in_ready(done_ready),
      .in_data(done_data),
      .awaddr(m_axi_ring_awaddr),
      .awvalid(m_axi_ring_awvalid),
      .awready(m_axi_ring_awready),
      .wdata(m_axi_ring_wdata),
      .wvalid(m_axi_ring_wvalid),
      .wready(m_axi_ring_wready),
      .bresp(m_axi_ring_bresp),
      .bvalid(m_axi_ring_bvalid),
      .bready(m_axi_ring_bready)
  );

  assign m_axi_ring_awid = 2'd0;
  assign m_axi_ring_awlen = 8'd0;
  assign m_axi_ring_awsize = 3'd5;
  assign m_axi_ring_awburst = 2'b01;
  assign m_axi_ring_awlock = 1'b0;
  assign m_axi_ring_awcache = 4'b0011;
  assign m_axi_ring_awprot = 3'b000;
  assign m_axi_ring_awqos = 4'd0;
  assign m_axi_ring_wstrb = {32{1'b1}};
  assign m_axi_ring_wlast = 1'b1;
  assign m_axi_ring_arid = 2'd0;
  assign m_axi_ring_arsize = 3'd5;
  assign m_axi_ring_arburst = 2'b01;
  assign m_axi_ring_arlock = 1'b0;
  assign m_axi_ring_arcache = 4'b0011;
  assign m_axi_ring_arprot = 3'b000;
  assign m_axi_ring_arqos = 4'd0;

  always @* begin
    irq = 4'd0;
    irq[`SVM_IRQ_DONE] = done_irq;
    irq[`SVM_IRQ_ERROR] = work_error | done_error;
  end

  // Descriptors get a slot here.
  wire to_read;
  wire to_write;
  wire to_copy;
  wire to_cas;
  wire to_bad;
  wire read_ready;
  wire write_ready;
  wire copy_ready;
  wire cas_ready;
  wire bad_ready;
  wire issue;
  wire [SW-1:0] slot;
  wire [7:0] op;
  wire complete;
  wire [31:0] index;
  wire [31:0] start;
  wire [27:0] user;
  wire [63:0] va;
  wire [63:0] src;
  wire [63:0] data;
  wire [63:0] pattern;
  wire [17:0] words_m1;
  wire [LB-1:0] end_off;
  wire free_valid;
  wire [SW-1:0] free_slot;
  wire dispatch_idle;
  wire back_idle;
  reg [LOG_COPIES-1:0] copy_context;

  engine_dispatch #(
      .LB(LB),
      .VA_W(VA_W),
      .SLOT_W(SW),
      .LOG_COPIES(LOG_COPIES)
  ) u_dispatch (
      .clk(clk),
      .rst(rst),
      .cfg_enable(cfg_enable),
      .cycle(cycle),
      .rec_valid(work_valid),
      .rec_ready(work_ready),
      .rec_data(work_data),
      .rec_index(work_index),
      .out_read(to_read),
      .out_write(to_write),
      .out_copy(to_copy),
      .out_cas(to_cas),
      .out_bad(to_bad),
      .ready_read(read_ready),
      .ready_write(write_ready),
      .ready_copy(copy_ready),
      .ready_cas(cas_ready),
      .ready_bad(bad_ready),
      .copy_context(copy_context),
      .issue(issue),
      .out_slot(slot),
      .out_op(op),
      .out_complete(complete),
      .out_index(index),
      .out_start(start),
      .out_user(user),
      .out_va(va),
      .out_src(src),
      .out_data(data),
      .out_pattern(pattern),
      .out_words_m1(words_m1),
      .out_end(end_off),
      .free_valid(free_valid),
      .free_slot(free_slot),
      .idle(dispatch_idle),
      .in_flight(in_flight)
  );

  assign idle = dispatch_idle && back_idle && !work_valid;

  // Responses are taken at once.
  wire r_take = m_axi_rvalid;
  wire b_take = m_axi_bvalid;
  wire [SW-1:0] r_slot = m_axi_rid[SW-1:0];
  wire [SW-1:0] b_slot = m_axi_bid[SW-1:0];
  assign m_axi_rready = 1'b1;
  assign m_axi_bready = 1'b1;

  // READ: bursts of the descriptor at the front.
  wire rd_valid;
  wire [63:0] rd_addr;
  wire [3:0] rd_len;
  wire rd_last;
  wire [17:0] rd_number;
  wire [SW-1:0] rd_slot;
  wire [27:0] rd_user;
  wire [REQS-1:0] ar_grant;
  wire ar_take;

  engine_burst #(
      .LB(LB),
      .PAY_W(SW + 28)
  ) u_read (
      .clk(clk),
      .rst(rst),
      .in_valid(to_read),
      .in_ready(read_ready),
      .in_addr(va),
      .in_words_m1(words_m1),
      .in_pay({slot, user}),
      .out_valid(rd_valid),
      .out_ready(ar_grant[0] && ar_take),
      .out_addr(rd_addr),
      .out_len(rd_len),
      .out_last(rd_last),
      .out_number(rd_number),
      .out_pay({rd_slot, rd_user}),
      .answered(r_take && m_axi_rlast && r_slot == rd_slot)
  );

  // WRITE and FILL: bursts of the descriptor at the front.
  wire wr_valid;
  wire [63:0] wr_addr;
  wire [3:0] wr_len;
  wire wr_last;
  wire [17:0] wr_number;
  wire [SW-1:0] wr_slot;
  wire [27:0] wr_user;
  wire [63:0] wr_pattern;
  wire [LB-1:0] wr_end;
  wire [REQS-1:0] aw_grant;
  wire aw_take;

  engine_burst #(
      .LB(LB),
      .PAY_W(SW + 28 + 64 + LB)
  ) u_write (
      .clk(clk),
      .rst(rst),
      .in_valid(to_write),
      .in_ready(write_ready),
      .in_addr(va),
      .in_words_m1(words_m1),
      .in_pay({slot, user, pattern, end_off}),
      .out_valid(wr_valid),
      .out_ready(aw_grant[0] && aw_take),
      .out_addr(wr_addr),
      .out_len(wr_len),
      .out_last(wr_last),
      .out_number(wr_number),
      .out_pay({wr_slot, wr_user, wr_pattern, wr_end}),
      .answered(b_take && b_slot == wr_slot)
  );

  // CAS: operands by slot; queues of slots that are to read, to write, to try again.
  reg [63:0] cas_va[0:(1<<SW)-1];
  reg [27:0] cas_user[0:(1<<SW)-1];
  reg [63:0] cas_data[0:(1<<SW)-1];

  always @(posedge clk) begin
    if (issue && to_cas) begin
      cas_va[slot]   <= va;
      cas_user[slot] <= user;
      cas_data[slot] <= data;
    end
  end

  wire r_end_valid;
  wire r_end_cas;
  wire r_end_store;
  wire [SW-1:0] r_end_slot;
  wire [1:0] r_end_error;
  wire b_end_valid;
  wire b_end_cas;
  wire b_end_retry;
  wire [SW-1:0] b_end_slot;
  wire [1:0] b_end_error;

  wire fresh_valid;
  wire [SW-1:0] fresh_slot;
  wire [SW:0] fresh_level;
  wire retry_valid;
  wire retry_room;
  wire [SW-1:0] retry_slot;
  wire [SW:0] retry_level;
  wire store_valid;
  wire store_room;
  wire [SW-1:0] store_slot;
  wire [SW:0] store_level;

  reg [SW:0] cas_live;
  reg cas_alone;
  wire cas_none_live = cas_live == {(SW + 1) {1'b0}};
  wire cas_take = ar_grant[1] && ar_take;
  wire cas_rd_valid = retry_valid ? cas_none_live : (fresh_valid && !cas_alone);
  wire [SW-1:0] cas_rd_slot = retry_valid ? retry_slot : fresh_slot;

  fifo #(
      .W(SW),
      .LOG_DEPTH(SW)
  ) u_fresh (
      .clk(clk),
      .rst(rst),
      .in_valid(issue && to_cas),
      .in_ready(cas_ready),
      .in_data(slot),
      .out_valid(fresh_valid),
      .out_ready(cas_take && !retry_valid),
      .out_data(fresh_slot),
      .level(fresh_level)
  );

  fifo #(
      .W(SW),
      .LOG_DEPTH(SW)
  ) u_retry (
      .clk(clk),
      .rst(rst),
      .in_valid(b_end_valid && b_end_retry),
      .in_ready(retry_room),
      .in_data(b_end_slot),
      .out_valid(retry_valid),
      .out_ready(cas_take),
      .out_data(retry_slot),
      .level(retry_level)
  );

  fifo #(
      .W(SW),
      .LOG_DEPTH(SW)
  ) u_store (
      .clk(clk),
      .rst(rst),
      .in_valid(r_end_valid && r_end_store),
      .in_ready(store_room),
      .in_data(r_end_slot),
      .out_valid(store_valid),
      .out_ready(aw_grant[1] && aw_take),
      .out_data(store_slot),
      .level(store_level)
  );

  // A CAS is live from its read until it ends or goes to the retry queue.
  wire cas_end_r = r_end_valid && r_end_cas && !r_end_store;
  wire cas_end_b = b_end_valid && b_end_cas;

  always @(posedge clk) begin
    if (rst) begin
      cas_live  <= {(SW + 1) {1'b0}};
      cas_alone <= 1'b0;
    end else begin
      cas_live <= cas_live + {{SW{1'b0}}, cas_take} - {{SW{1'b0}}, cas_end_r} - {{SW{1'b0}}, cas_end_b};
      if (cas_take) cas_alone <= retry_valid;
      else if (cas_end_r || cas_end_b) cas_alone <= 1'b0;
    end
  end

  // COPY: the first idle context takes the descriptor.
  wire [COPIES-1:0] copy_idle;
  wire [COPIES-1:0] copy_start;
  wire [COPIES-1:0] copy_rd_valid;
  wire [COPIES-1:0] copy_wr_valid;
  wire [COPIES-1:0] copy_done;
  wire [COPIES-1:0] copy_beat;
  wire copy_beat_last;
  wire [1:0] copy_beat_error;
  wire [COPIES-1:0] copy_b;
  wire [1:0] copy_b_error;
  wire [COPIES-1:0] copy_sent;
  wire [SW-1:0] copy_slot[0:COPIES-1];
  wire [27:0] copy_user[0:COPIES-1];
  wire [63:0] copy_rd_addr[0:COPIES-1];
  wire [3:0] copy_rd_len[0:COPIES-1];
  wire [63:0] copy_wr_addr[0:COPIES-1];
  wire [3:0] copy_wr_len[0:COPIES-1];
  wire [LB-1:0] copy_wr_end[0:COPIES-1];
  wire [SOURCES-1:0] end_valid;
  wire [SOURCES-1:0] end_ready;
  wire [SOURCES*SW-1:0] end_slot;
  wire [SOURCES*3-1:0] end_status;

  integer i;
  always @* begin
    copy_context = {LOG_COPIES{1'b0}};
    for (i = COPIES - 1; i >= 0; i = i - 1) if (copy_idle[i]) copy_context = i[LOG_COPIES-1:0];
  end
  assign copy_ready = copy_idle != {COPIES{1'b0}};

  genvar c;
  generate
    for (c = 0; c < COPIES; c = c + 1) begin : gen_copy
      localparam [LOG_COPIES-1:0] C = c;
      wire [1:0] failure;
      assign copy_start[c] = issue && to_copy && copy_context == C;
      engine_copy #(
          .LB(LB),
          .LOG_BUF(LOG_BUF),
          .SLOT_W(SW)
      ) u_copy (
          .clk(clk),
          .rst(rst),
          .start(copy_start[c]),
          .idle(copy_idle[c]),
          .start_slot(slot),
          .start_user(user),
          .start_src(src),
          .start_dst(va),
          .start_words_m1(words_m1),
          .start_end(end_off),
          .slot(copy_slot[c]),
          .user(copy_user[c]),
          .rd_valid(copy_rd_valid[c]),
          .rd_ready(ar_grant[2+c] && ar_take),
          .rd_addr(copy_rd_addr[c]),
          .rd_len(copy_rd_len[c]),
          .beat_valid(copy_beat[c]),
          .beat_last(copy_beat_last),
          .beat_error(copy_beat_error),
          .wr_valid(copy_wr_valid[c]),
          .wr_ready(aw_grant[2+c] && aw_take),
          .wr_addr(copy_wr_addr[c]),
          .wr_len(copy_wr_len[c]),
          .wr_end(copy_wr_end[c]),
          .word_sent(copy_sent[c]),
          .b_valid(copy_b[c]),
          .b_error(copy_b_error),
          .done_valid(copy_done[c]),
          .done_ready(end_ready[3+c]),
          .done_error(failure)
      );
      assign end_valid[3+c] = copy_done[c];
      assign end_slot[(3+c)*SW+:SW] = copy_slot[c];
      assign end_status[(3+c)*3+:3] = {1'b0, failure};
    end
  endgenerate

  // Read addresses: READ, CAS and the copies in turn.
  localparam AX_W = SW + 64 + 4 + 28 + 1;
  wire [REQS-1:0] ar_req = {copy_rd_valid, cas_rd_valid, rd_valid};
  reg [AX_W-1:0] ar_pick;
  reg [7:0] ar_open;
  wire ar_room;
  localparam [7:0] OPEN_MAX = OUTSTANDING;

  always @* begin
    ar_pick = {rd_slot, rd_addr, rd_len, rd_user, 1'b0};
    if (ar_grant[1]) ar_pick = {cas_rd_slot, cas_va[cas_rd_slot], 4'd0, cas_user[cas_rd_slot], 1'b1};
    for (i = 0; i < COPIES; i = i + 1)
      if (ar_grant[2+i]) ar_pick = {copy_slot[i], copy_rd_addr[i], copy_rd_len[i], copy_user[i], 1'b0};
  end

  assign ar_take = ar_room && ar_open < OPEN_MAX;
  wire ar_push = ar_take && ar_req != {REQS{1'b0}};

  arb_rr #(
      .N(REQS)
  ) u_ar_arb (
      .clk(clk),
      .rst(rst),
      .req(ar_req),
      .grant(ar_grant),
      .advance(ar_take)
  );

  always @(posedge clk) begin
    if (rst) ar_open <= 8'd0;
    else ar_open <= ar_open + {7'd0, ar_push} - {7'd0, r_take && m_axi_rlast};
  end

  wire [SW-1:0] ar_slot;
  wire [3:0] ar_len;
  wire ar_lock;

  skid #(
      .W(AX_W)
  ) u_ar (
      .clk(clk),
      .rst(rst),
      .in_valid(ar_push),
      .in_ready(ar_room),
      .in_data(ar_pick),
      .out_valid(m_axi_arvalid),
      .out_ready(m_axi_arready),
      .out_data({ar_slot, m_axi_araddr, ar_len, m_axi_aruser, ar_lock})
  );

  assign m_axi_arid = {{(ID_W - SW) {1'b0}}, ar_slot};
  assign m_axi_arlen = {4'd0, ar_len};
  assign m_axi_arsize = ar_lock ? 3'd3 : BUS_SIZE;
  assign m_axi_arburst = 2'b01;
  assign m_axi_arlock = ar_lock;
  assign m_axi_arcache = ar_lock ? 4'b0010 : 4'b0011;
  assign m_axi_arprot = 3'b000;
  assign m_axi_arqos = 4'd0;

  // Write addresses: WRITE and FILL, CAS and the copies in turn; each leaves with a job for its data.
  wire [REQS-1:0] aw_req = {copy_wr_valid, store_valid, wr_valid};
  reg [AX_W-1:0] aw_pick;
  reg job_copy;
  reg [LOG_COPIES-1:0] job_context;
  reg [63:0] job_pattern;
  reg [LB-1:0] job_end;
  reg [7:0] aw_open;
  wire aw_room;
  wire job_room;
  wire [63:0] store_va = cas_va[store_slot];

  always @* begin
    aw_pick = {wr_slot, wr_addr, wr_len, wr_user, 1'b0};
    job_copy = 1'b0;
    job_context = {LOG_COPIES{1'b0}};
    job_pattern = wr_pattern;
    job_end = wr_last ? wr_end : {LB{1'b1}};
    if (aw_grant[1]) begin
      aw_pick = {store_slot, store_va, 4'd0, cas_user[store_slot], 1'b1};
      job_pattern = cas_data[store_slot];
      job_end = store_va[LB-1:0] | {{(LB - 3) {1'b0}}, 3'd7};
    end
    for (i = 0; i < COPIES; i = i + 1) begin
      if (aw_grant[2+i]) begin
        aw_pick = {copy_slot[i], copy_wr_addr[i], copy_wr_len[i], copy_user[i], 1'b0};
        job_copy = 1'b1;
        job_context = i[LOG_COPIES-1:0];
        job_end = copy_wr_end[i];
      end
    end
  end

  wire [LB-1:0] job_first = aw_pick[33+:LB];
  wire [3:0] job_len = aw_pick[32:29];

  assign aw_take = aw_room && job_room && aw_open < OPEN_MAX;
  wire aw_push = aw_take && aw_req != {REQS{1'b0}};

  arb_rr #(
      .N(REQS)
  ) u_aw_arb (
      .clk(clk),
      .rst(rst),
      .req(aw_req),
      .grant(aw_grant),
      .advance(aw_take)
  );

  always @(posedge clk) begin
    if (rst) aw_open <= 8'd0;
    else aw_open <= aw_open + {7'd0, aw_push} - {7'd0, b_take};
  end

  wire [SW-1:0] aw_slot;
  wire [3:0] aw_len;
  wire aw_lock;

  skid #(
      .W(AX_W)
  ) u_aw (
      .clk(clk),
      .rst(rst),
      .in_valid(aw_push),
      .in_ready(aw_room),
      .in_data(aw_pick),
      .out_valid(m_axi_awvalid),
      .out_ready(m_axi_awready),
      .out_data({aw_slot, m_axi_awaddr, aw_len, m_axi_awuser, aw_lock})
  );

  assign m_axi_awid = {{(ID_W - SW) {1'b0}}, aw_slot};
  assign m_axi_awlen = {4'd0, aw_len};
  assign m_axi_awsize = aw_lock ? 3'd3 : BUS_SIZE;
  assign m_axi_awburst = 2'b01;
  assign m_axi_awlock = aw_lock;
  assign m_axi_awcache = aw_lock ? 4'b0010 : 4'b0011;
  assign m_axi_awprot = 3'b000;
  assign m_axi_awqos = 4'd0;

  wire buf_wr_en;
  wire [LOG_COPIES+LOG_BUF-1:0] buf_wr_addr;
  wire [DATA_W-1:0] buf_wr_data;

  engine_wdata #(
      .DATA_W(DATA_W),
      .LB(LB),
      .LOG_COPIES(LOG_COPIES),
      .LOG_BUF(LOG_BUF)
  ) u_wdata (
      .clk(clk),
      .rst(rst),
      .job_valid(aw_push),
      .job_ready(job_room),
      .job_copy(job_copy),
      .job_context(job_context),
      .job_pattern(job_pattern),
      .job_first(job_first),
      .job_end(job_end),
      .job_len(job_len),
      .buf_wr_en(buf_wr_en),
      .buf_wr_addr(buf_wr_addr),
      .buf_wr_data(buf_wr_data),
      .buf_restart(copy_start),
      .buf_sent(copy_sent),
      .wdata(m_axi_wdata),
      .wstrb(m_axi_wstrb),
      .wlast(m_axi_wlast),
      .wvalid(m_axi_wvalid),
      .wready(m_axi_wready)
  );

  // Responses.
  wire [SW-1:0] value_slot;
  wire [63:0] value;

  engine_rbeat #(
      .DATA_W(DATA_W),
      .LB(LB),
      .SLOT_W(SW),
      .LOG_COPIES(LOG_COPIES),
      .LOG_BUF(LOG_BUF)
  ) u_rbeat (
      .clk(clk),
      .rst(rst),
      .issue(issue),
      .issue_slot(slot),
      .issue_copy(to_copy),
      .issue_cas(to_cas),
      .issue_context(copy_context),
      .issue_first(va[LB-1:0]),
      .issue_end(end_off),
      .issue_words_m1(words_m1),
      .issue_compare(src),
      .rid(r_slot),
      .rdata(m_axi_rdata),
      .rresp(m_axi_rresp),
      .rlast(m_axi_rlast),
      .rvalid(r_take),
      .buf_wr_en(buf_wr_en),
      .buf_wr_addr(buf_wr_addr),
      .buf_wr_data(buf_wr_data),
      .buf_restart(copy_start),
      .beat_copy(copy_beat),
      .beat_last(copy_beat_last),
      .beat_error(copy_beat_error),
      .end_valid(r_end_valid),
      .end_cas(r_end_cas),
      .end_store(r_end_store),
      .end_slot(r_end_slot),
      .end_error(r_end_error),
      .value_slot(value_slot),
      .value(value)
  );

  engine_bresp #(
      .SLOT_W(SW),
      .LOG_COPIES(LOG_COPIES)
  ) u_bresp (
      .clk(clk),
      .rst(rst),
      .issue(issue),
      .issue_slot(slot),
      .issue_copy(to_copy),
      .issue_cas(to_cas),
      .issue_context(copy_context),
      .last_valid(aw_push && aw_grant[0] && wr_last),
      .last_slot(wr_slot),
      .last_number(wr_number),
      .bid(b_slot),
      .bresp(m_axi_bresp),
      .bvalid(b_take),
      .b_copy(copy_b),
      .b_error(copy_b_error),
      .end_valid(b_end_valid),
      .end_cas(b_end_cas),
      .end_retry(b_end_retry),
      .end_slot(b_end_slot),
      .end_error(b_end_error)
  );

  // Ended descriptors: from reads, from writes, refused ones, copies. A slot is in one queue at most, so the first two
  // never fill.
  wire r_end_room;
  wire [1:0] r_q_error;
  wire [SW:0] r_q_level;
  wire b_end_room;
  wire [1:0] b_q_error;
  wire [SW:0] b_q_level;
  wire [1:0] bad_level;

  fifo #(
      .W(SW + 2),
      .LOG_DEPTH(SW)
  ) u_r_end (
      .clk(clk),
      .rst(rst),
      .in_valid(r_end_valid && !r_end_store),
      .in_ready(r_end_room),
      .in_data({r_end_slot, r_end_error}),
      .out_valid(end_valid[0]),
      .out_ready(end_ready[0]),
      .out_data({end_slot[0+:SW], r_q_error}),
      .level(r_q_level)
  );

  fifo #(
      .W(SW + 2),
      .LOG_DEPTH(SW)
  ) u_b_end (
      .clk(clk),
      .rst(rst),
      .in_valid(b_end_valid && !b_end_retry),
      .in_ready(b_end_room),
      .in_data({b_end_slot, b_end_error}),
      .out_valid(end_valid[1]),
      .out_ready(end_ready[1]),
      .out_data({end_slot[SW+:SW], b_q_error}),
      .level(b_q_level)
  );

  fifo #(
      .W(SW),
      .LOG_DEPTH(1)
  ) u_bad (
      .clk(clk),
      .rst(rst),
      .in_valid(to_bad),
      .in_ready(bad_ready),
      .in_data(slot),
      .out_valid(end_valid[2]),
      .out_ready(end_ready[2]),
      .out_data(end_slot[2*SW+:SW]),
      .level(bad_level)
  );

  localparam [7:0] BAD = `SVM_WORK_STATUS_BAD_DESCRIPTOR;
  assign end_status[8:0] = {BAD[2:0], 1'b0, b_q_error, 1'b0, r_q_error};

  engine_done #(
      .SLOT_W(SW),
      .SOURCES(SOURCES)
  ) u_done (
      .clk(clk),
      .rst(rst),
      .cycle(cycle),
      .issue(issue),
      .issue_slot(slot),
      .issue_op(op),
      .issue_complete(complete),
      .issue_index(index),
      .issue_start(start),
      .issue_rotate(va[2:0]),
      .in_valid(end_valid),
      .in_ready(end_ready),
      .in_slot(end_slot),
      .in_status(end_status),
      .value_slot(value_slot),
      .value(value),
      .free_valid(free_valid),
      .free_slot(free_slot),
      .idle(back_idle),
      .rec_valid(done_valid),
      .rec_ready(done_ready),
      .rec_data(done_data)
  );

  wire unused_bits = &{1'b0, m_axi_ring_bid, m_axi_ring_rid, rd_last, rd_number, fresh_level, retry_level, retry_room,
      store_level, store_room, r_end_room, r_q_level, b_end_room, b_q_level, bad_level, done_full, BAD[7:3], m_axi_rid,
      m_axi_bid};
endmodule

`default_nettype wire
