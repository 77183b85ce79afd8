`resetall
`timescale 1ns / 1ps
`default_nettype none
`include "svm_defs.vh"

// Device MMU: translates the AXI4 accesses of accelerators with translations that the host puts in, parks accesses without
// one while the host is asked, and takes translations back under the contract in docs/device-interface.md.
// Latency: an access accepted in cycle t is on the bus side in t + 4; its fault record is at fault_valid within 10 cycles, up to
// four cycles later for each miss ahead of it; an access parked on a fault is on the bus side within 8 cycles of its accepted
// answer. One lookup per cycle and direction; lookups never stall, what cannot go on is parked and looked up again.
// An invalidation takes effect when every lookup that read the cache before its last row was written is known to the tracker.
// AxUSER is {requester, PASID}. Commands and records are ring records; PHASE of records is 0 here.
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
    // Tables of dmmu_track and dmmu_drain that are read through registers: "distributed" RAM, or "block" where its deep address
    // nets bound the clock.
    parameter TABLES = "distributed",
    parameter SETS_4K = 256,
    parameter WAYS_4K = 4,
    parameter SETS_2M = 32,
    parameter WAYS_2M = 2,
    parameter SETS_1G = 4,
    parameter WAYS_1G = 2,
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

  localparam VPN_W = VA_W - 12;
  localparam FN_W = PA_W - 12;
  localparam LOG_PARK = $clog2(PARK);
  // The longest burst has 32 chunks of 8 beats; two of them beside a chunk for each other write that is parked.
  localparam LOG_CHUNKS = (LOG_PARK < 6) ? 7 : LOG_PARK + 1;
  localparam LOG_MSHRS = $clog2(MSHRS);
  localparam LOG_TRACK = $clog2(TRACK);
  localparam LOG_PASIDS = $clog2(PASIDS);
  localparam LOG_SETS_4K = $clog2(SETS_4K);
  localparam LOG_SETS_2M = $clog2(SETS_2M);
  localparam LOG_SETS_1G = $clog2(SETS_1G);
  localparam ACC_W = 20 + VPN_W + 2;
  // From the hand-over of a command, two cycles after its last row was addressed, to its effect: five cycles after that row
  // is written.
  localparam DELAY = 8;

  initial begin
    if (DATA_W < 64 || DATA_W > 512 || (DATA_W & (DATA_W - 1)) != 0) begin
      $display("dmmu_core: DATA_W must be 64, 128, 256 or 512");
      $finish;
    end
    if (VA_W < 40 || VA_W > 57 || PA_W < 40 || PA_W > 64) begin
      $display("dmmu_core: VA_W must be 40 to 57, PA_W 40 to 64");
      $finish;
    end
    if (REQ_W != 8 || USER_W != 28) begin
      $display("dmmu_core: REQ_W must be 8");
      $finish;
    end
    if ((1 << LOG_PARK) != PARK || (1 << LOG_MSHRS) != MSHRS || (1 << LOG_TRACK) != TRACK || (1 << LOG_PASIDS) != PASIDS
        || PARK < 4 || MSHRS < 2 || MSHRS > 128 || TRACK < 4 || PASIDS < 2) begin
      $display("dmmu_core: PARK, MSHRS, TRACK and PASIDS must be powers of two");
      $finish;
    end
    if ((1 << LOG_SETS_4K) != SETS_4K || (1 << LOG_SETS_2M) != SETS_2M || (1 << LOG_SETS_1G) != SETS_1G
        || SETS_4K < 2 || SETS_2M < 2 || SETS_1G < 2 || WAYS_4K < 2 || WAYS_2M < 2 || WAYS_1G < 2) begin
      $display("dmmu_core: SETS must be powers of two, WAYS at least 2");
      $finish;
    end
  end

  wire r_ready;
  wire [LOG_SETS_4K-1:0] r_row_4k;
  wire [LOG_SETS_2M-1:0] r_row_2m;
  wire [LOG_SETS_1G-1:0] r_row_1g;
  wire [19:0] r_row_pasid;
  wire [VA_W-13:0] r_cmp_vpn;
  wire [19:0] r_cmp_pasid;
  wire [VA_W-22:0] r_big_pn;
  wire [19:0] r_big_pasid;
  wire r_touch;
  wire r_big_touch;
  wire r_ms_valid;
  wire [LOG_PARK-1:0] r_ms_slot;
  wire [19:0] r_ms_pasid;
  wire [VA_W-13:0] r_ms_vpn;
  wire [7:0] r_ms_requester;
  wire r_rs_ready;
  wire r_trk_issue;
  wire [ID_W-1:0] r_trk_id;
  wire [20+VA_W-12+2-1:0] r_trk_data;
  wire [ID_W-1:0] r_trk_query_id;
  wire r_er_valid;
  wire [ID_W-1:0] r_er_id;
  wire r_er_decerr;
  wire r_er_last;
  wire kill_marked_r;
  wire kill_clear_r;
  wire r_ev_accept;
  wire r_ev_hit;
  wire r_ev_miss;
  wire r_ev_error;
  wire r_ev_stall_park;
  wire r_ev_stall_bus;
  wire r_trk_ready;
  wire r_freed;
  wire r_trk_query_busy;
  wire r_trk_idle;
  wire [LOG_TRACK:0] r_trk_high;
  wire [ACC_W+31:0] r_scan_data;
  wire r_marked;
  wire w_ready;
  wire [LOG_SETS_4K-1:0] w_row_4k;
  wire [LOG_SETS_2M-1:0] w_row_2m;
  wire [LOG_SETS_1G-1:0] w_row_1g;
  wire [19:0] w_row_pasid;
  wire [VA_W-13:0] w_cmp_vpn;
  wire [19:0] w_cmp_pasid;
  wire [VA_W-22:0] w_big_pn;
  wire [19:0] w_big_pasid;
  wire w_touch;
  wire w_big_touch;
  wire w_ms_valid;
  wire [LOG_PARK-1:0] w_ms_slot;
  wire [19:0] w_ms_pasid;
  wire [VA_W-13:0] w_ms_vpn;
  wire [7:0] w_ms_requester;
  wire w_rs_ready;
  wire w_trk_issue;
  wire [ID_W-1:0] w_trk_id;
  wire [20+VA_W-12+2-1:0] w_trk_data;
  wire [ID_W-1:0] w_trk_query_id;
  wire c_valid;
  wire c_park;
  wire ws_valid;
  wire [1:0] ws_kind;
  wire [LOG_PARK-1:0] c_slot;
  wire [7:0] c_len;
  wire wdone_ready;
  wire w_er_valid;
  wire [ID_W-1:0] w_er_id;
  wire w_er_decerr;
  wire w_er_last;
  wire kill_marked_w;
  wire kill_clear_w;
  wire w_ev_accept;
  wire w_ev_hit;
  wire w_ev_miss;
  wire w_ev_error;
  wire w_ev_stall_park;
  wire w_ev_stall_bus;
  wire w_trk_ready;
  wire w_freed;
  wire w_trk_query_busy;
  wire w_trk_idle;
  wire [LOG_TRACK:0] w_trk_high;
  wire [ACC_W+31:0] w_scan_data;
  wire w_marked;
  wire cr_next;
  wire wdone_valid;
  wire [LOG_PARK-1:0] wdone_slot;
  wire r_hit_4k;
  wire r_allowed_4k;
  wire [FN_W-1:0] r_fn_4k;
  wire w_hit_4k;
  wire w_allowed_4k;
  wire [FN_W-1:0] w_fn_4k;
  wire [LOG_SETS_4K-1:0] fill_row_4k;
  wire [3:0] dropped_4k;
  wire r_hit_2m;
  wire r_allowed_2m;
  wire [(FN_W - 9)-1:0] r_fn_2m;
  wire w_hit_2m;
  wire w_allowed_2m;
  wire [(FN_W - 9)-1:0] w_fn_2m;
  wire [LOG_SETS_2M-1:0] fill_row_2m;
  wire [3:0] dropped_2m;
  wire r_hit_1g;
  wire r_allowed_1g;
  wire [(FN_W - 18)-1:0] r_fn_1g;
  wire w_hit_1g;
  wire w_allowed_1g;
  wire [(FN_W - 18)-1:0] w_fn_1g;
  wire [LOG_SETS_1G-1:0] fill_row_1g;
  wire [3:0] dropped_1g;
  wire r_ms_room;
  wire w_ms_room;
  wire [19:0] att_pasid;
  wire r_rs_valid;
  wire w_rs_valid;
  wire [LOG_PARK-1:0] r_rs_slot;
  wire [LOG_PARK-1:0] w_rs_slot;
  wire rs_err;
  wire rs_decerr;
  wire rsp_ready;
  wire det_busy;
  wire ev_coalesced;
  wire ev_fault;
  wire ev_no_mshr;
  wire ev_response;
  wire ev_stale;
  wire [31:0] fault_latency;
  wire [2:0] op_start;
  wire op_fill;
  wire op_every;
  wire op_many;
  wire [VA_W-13:0] op_lo;
  wire [VA_W-13:0] op_hi;
  wire [19:0] op_pasid;
  wire [LOG_PASIDS-1:0] op_index;
  wire [PA_W-13:0] op_fn;
  wire [1:0] op_perm;
  wire [7:0] rsp_rd_id;
  wire rsp_valid;
  wire [31:0] rsp_rd_seq;
  wire rsp_error;
  wire rsp_decerr;
  wire det_start;
  wire [LOG_PASIDS-1:0] det_index;
  wire kill_start;
  wire [19:0] kill_pasid;
  wire [(1<<LOG_PASIDS)-1:0] att_match;
  wire [(1<<LOG_PASIDS)-1:0] att_valid;
  wire [(1<<LOG_PASIDS)-1:0] r_match;
  wire [(1<<LOG_PASIDS)-1:0] w_match;
  wire att_wr;
  wire [19:0] att_wr_at;
  wire [5*(1<<LOG_PASIDS)-1:0] att_wr_rows;
  wire dq_valid;
  wire dq_wait;
  wire dq_detach;
  wire [1:0] dq_scope;
  wire [19:0] dq_pasid;
  wire [VA_W-13:0] dq_start;
  wire [VA_W-13:0] dq_end;
  wire dq_complete;
  wire [7:0] dq_error;
  wire [15:0] dq_tag;
  wire [15:0] dq_index;
  wire [7:0] dq_op;
  wire ev_invalidate;
  wire ev_error;
  wire dq_ready;
  wire r_scan;
  wire r_mark;
  wire w_scan;
  wire w_mark;
  wire [LOG_TRACK-1:0] scan_slot;
  wire [LOG_TRACK-1:0] mark_slot;
  wire ev_drain;
  wire ev_done;
  wire [31:0] inv_latency;
  wire [2:0] tlb_ready;
  wire [2:0] evicted;
  wire [2:0] fill_write;
  wire [2:0] wrote;
  wire [2:0] op_busy;
  wire r_no_c_valid;
  wire r_no_c_park;
  wire r_no_ws_valid;
  wire [1:0] r_no_ws_kind;
  wire [LOG_PARK-1:0] r_no_c_slot;
  wire [7:0] r_no_c_len;
  wire r_no_wdone_ready;

  reg run;
  reg wrote_4k;
  reg wrote_big;
  reg [LOG_SETS_4K-1:0] wrote_row;
  wire r_free;
  wire w_free;
  wire r_er_ready;
  wire w_er_ready;
  wire wr_4k = wrote[0];
  wire wr_big = wrote[1] || wrote[2];
  wire [LOG_SETS_4K-1:0] wr_row = fill_row_4k;

  assign ready = (&tlb_ready) && r_ready && w_ready && r_trk_ready && w_trk_ready;

  always @(posedge clk) begin
    if (rst) run <= 1'b0;
    else run <= cfg_enable && ready;
  end

  // For the fault unit: it gets a miss a cycle after the channel saw the rows written for the last time.
  always @(posedge clk) begin
    wrote_4k <= wr_4k;
    wrote_big <= wr_big;
    wrote_row <= wr_row;
  end

  // ------------------------------------------------------------------ reads
  dmmu_channel #(
      .WRITE(0),
      .ID_W(ID_W),
      .VA_W(VA_W),
      .PA_W(PA_W),
      .USER_W(USER_W),
      .LOG_PARK(LOG_PARK),
      .LOG_TRACK(LOG_TRACK),
      .LOG_SETS_4K(LOG_SETS_4K),
      .LOG_SETS_2M(LOG_SETS_2M),
      .LOG_SETS_1G(LOG_SETS_1G)
  ) channel_r (
      .clk(clk),
      .rst(rst),
      .enable(run),
      .ready(r_ready),
      .s_axid(s_axi_arid),
      .s_axaddr(s_axi_araddr),
      .s_axlen(s_axi_arlen),
      .s_axsize(s_axi_arsize),
      .s_axburst(s_axi_arburst),
      .s_axlock(s_axi_arlock),
      .s_axcache(s_axi_arcache),
      .s_axprot(s_axi_arprot),
      .s_axqos(s_axi_arqos),
      .s_axuser(s_axi_aruser),
      .s_axvalid(s_axi_arvalid),
      .s_axready(s_axi_arready),
      .m_axid(m_axi_arid),
      .m_axaddr(m_axi_araddr),
      .m_axlen(m_axi_arlen),
      .m_axsize(m_axi_arsize),
      .m_axburst(m_axi_arburst),
      .m_axlock(m_axi_arlock),
      .m_axcache(m_axi_arcache),
      .m_axprot(m_axi_arprot),
      .m_axqos(m_axi_arqos),
      .m_axuser(m_axi_aruser),
      .m_axvalid(m_axi_arvalid),
      .m_axready(m_axi_arready),
      .row_4k(r_row_4k),
      .row_2m(r_row_2m),
      .row_1g(r_row_1g),
      .row_pasid(r_row_pasid),
      .cmp_vpn(r_cmp_vpn),
      .cmp_pasid(r_cmp_pasid),
      .big_pn(r_big_pn),
      .big_pasid(r_big_pasid),
      .touch(r_touch),
      .big_touch(r_big_touch),
      .hit_4k(r_hit_4k),
      .allowed_4k(r_allowed_4k),
      .fn_4k(r_fn_4k),
      .hit_2m(r_hit_2m),
      .allowed_2m(r_allowed_2m),
      .fn_2m(r_fn_2m),
      .allowed_1g(r_allowed_1g),
      .fn_1g(r_fn_1g),
      .wr_4k(wr_4k),
      .wr_row(wr_row),
      .wr_big(wr_big),
      .ms_valid(r_ms_valid),
      .ms_room(r_ms_room),
      .ms_slot(r_ms_slot),
      .ms_pasid(r_ms_pasid),
      .ms_vpn(r_ms_vpn),
      .ms_requester(r_ms_requester),
      .rs_valid(r_rs_valid),
      .rs_ready(r_rs_ready),
      .rs_slot(r_rs_slot),
      .rs_err(rs_err),
      .rs_decerr(rs_decerr),
      .trk_issue(r_trk_issue),
      .trk_id(r_trk_id),
      .trk_data(r_trk_data),
      .trk_freed(r_freed),
      .trk_query_id(r_trk_query_id),
      .trk_query_busy(r_trk_query_busy),
      .cr_next(1'b1),
      .c_valid(r_no_c_valid),
      .c_park(r_no_c_park),
      .ws_valid(r_no_ws_valid),
      .ws_kind(r_no_ws_kind),
      .c_slot(r_no_c_slot),
      .c_len(r_no_c_len),
      .wdone_valid(1'b0),
      .wdone_ready(r_no_wdone_ready),
      .wdone_slot({LOG_PARK{1'b0}}),
      .er_valid(r_er_valid),
      .er_ready(r_er_ready),
      .er_id(r_er_id),
      .er_decerr(r_er_decerr),
      .er_last(r_er_last),
      .kill_start(kill_start),
      .kill_pasid(kill_pasid),
      .kill_marked(kill_marked_r),
      .kill_clear(kill_clear_r),
      .ev_accept(r_ev_accept),
      .ev_hit(r_ev_hit),
      .ev_miss(r_ev_miss),
      .ev_error(r_ev_error),
      .ev_stall_park(r_ev_stall_park),
      .ev_stall_bus(r_ev_stall_bus)
  );

  dmmu_track #(
      .ID_W(ID_W),
      .LOG_SLOTS(LOG_TRACK),
      .DATA_W(ACC_W),
      .TABLES(TABLES)
  ) track_r (
      .clk(clk),
      .rst(rst),
      .ready(r_trk_ready),
      .cycle(cycle[31:0]),
      .issue_valid(r_trk_issue),
      .issue_id(r_trk_id),
      .issue_data(r_trk_data),
      .free_valid(r_free),
      .free_id(m_axi_rid),
      .freed(r_freed),
      .query_id(r_trk_query_id),
      .query_busy(r_trk_query_busy),
      .idle(r_trk_idle),
      .high(r_trk_high),
      .scan_en(r_scan),
      .scan_slot(scan_slot),
      .scan_data(r_scan_data),
      .mark(r_mark),
      .mark_slot(mark_slot),
      .marked(r_marked)
  );

  // ------------------------------------------------------------------ writes
  dmmu_channel #(
      .WRITE(1),
      .ID_W(ID_W),
      .VA_W(VA_W),
      .PA_W(PA_W),
      .USER_W(USER_W),
      .LOG_PARK(LOG_PARK),
      .LOG_TRACK(LOG_TRACK),
      .LOG_SETS_4K(LOG_SETS_4K),
      .LOG_SETS_2M(LOG_SETS_2M),
      .LOG_SETS_1G(LOG_SETS_1G)
  ) channel_w (
      .clk(clk),
      .rst(rst),
      .enable(run),
      .ready(w_ready),
      .s_axid(s_axi_awid),
      .s_axaddr(s_axi_awaddr),
      .s_axlen(s_axi_awlen),
      .s_axsize(s_axi_awsize),
      .s_axburst(s_axi_awburst),
      .s_axlock(s_axi_awlock),
      .s_axcache(s_axi_awcache),
      .s_axprot(s_axi_awprot),
      .s_axqos(s_axi_awqos),
      .s_axuser(s_axi_awuser),
      .s_axvalid(s_axi_awvalid),
      .s_axready(s_axi_awready),
      .m_axid(m_axi_awid),
      .m_axaddr(m_axi_awaddr),
      .m_axlen(m_axi_awlen),
      .m_axsize(m_axi_awsize),
      .m_axburst(m_axi_awburst),
      .m_axlock(m_axi_awlock),
      .m_axcache(m_axi_awcache),
      .m_axprot(m_axi_awprot),
      .m_axqos(m_axi_awqos),
      .m_axuser(m_axi_awuser),
      .m_axvalid(m_axi_awvalid),
      .m_axready(m_axi_awready),
      .row_4k(w_row_4k),
      .row_2m(w_row_2m),
      .row_1g(w_row_1g),
      .row_pasid(w_row_pasid),
      .cmp_vpn(w_cmp_vpn),
      .cmp_pasid(w_cmp_pasid),
      .big_pn(w_big_pn),
      .big_pasid(w_big_pasid),
      .touch(w_touch),
      .big_touch(w_big_touch),
      .hit_4k(w_hit_4k),
      .allowed_4k(w_allowed_4k),
      .fn_4k(w_fn_4k),
      .hit_2m(w_hit_2m),
      .allowed_2m(w_allowed_2m),
      .fn_2m(w_fn_2m),
      .allowed_1g(w_allowed_1g),
      .fn_1g(w_fn_1g),
      .wr_4k(wr_4k),
      .wr_row(wr_row),
      .wr_big(wr_big),
      .ms_valid(w_ms_valid),
      .ms_room(w_ms_room),
      .ms_slot(w_ms_slot),
      .ms_pasid(w_ms_pasid),
      .ms_vpn(w_ms_vpn),
      .ms_requester(w_ms_requester),
      .rs_valid(w_rs_valid),
      .rs_ready(w_rs_ready),
      .rs_slot(w_rs_slot),
      .rs_err(rs_err),
      .rs_decerr(rs_decerr),
      .trk_issue(w_trk_issue),
      .trk_id(w_trk_id),
      .trk_data(w_trk_data),
      .trk_freed(w_freed),
      .trk_query_id(w_trk_query_id),
      .trk_query_busy(w_trk_query_busy),
      .cr_next(cr_next),
      .c_valid(c_valid),
      .c_park(c_park),
      .ws_valid(ws_valid),
      .ws_kind(ws_kind),
      .c_slot(c_slot),
      .c_len(c_len),
      .wdone_valid(wdone_valid),
      .wdone_ready(wdone_ready),
      .wdone_slot(wdone_slot),
      .er_valid(w_er_valid),
      .er_ready(w_er_ready),
      .er_id(w_er_id),
      .er_decerr(w_er_decerr),
      .er_last(w_er_last),
      .kill_start(kill_start),
      .kill_pasid(kill_pasid),
      .kill_marked(kill_marked_w),
      .kill_clear(kill_clear_w),
      .ev_accept(w_ev_accept),
      .ev_hit(w_ev_hit),
      .ev_miss(w_ev_miss),
      .ev_error(w_ev_error),
      .ev_stall_park(w_ev_stall_park),
      .ev_stall_bus(w_ev_stall_bus)
  );

  dmmu_track #(
      .ID_W(ID_W),
      .LOG_SLOTS(LOG_TRACK),
      .DATA_W(ACC_W),
      .TABLES(TABLES)
  ) track_w (
      .clk(clk),
      .rst(rst),
      .ready(w_trk_ready),
      .cycle(cycle[31:0]),
      .issue_valid(w_trk_issue),
      .issue_id(w_trk_id),
      .issue_data(w_trk_data),
      .free_valid(w_free),
      .free_id(m_axi_bid),
      .freed(w_freed),
      .query_id(w_trk_query_id),
      .query_busy(w_trk_query_busy),
      .idle(w_trk_idle),
      .high(w_trk_high),
      .scan_en(w_scan),
      .scan_slot(scan_slot),
      .scan_data(w_scan_data),
      .mark(w_mark),
      .mark_slot(mark_slot),
      .marked(w_marked)
  );

  dmmu_wbuf #(
      .DATA_W(DATA_W),
      .LOG_PARK(LOG_PARK),
      .LOG_TRACK(LOG_TRACK),
      .LOG_CHUNKS(LOG_CHUNKS)
  ) wbuf (
      .clk(clk),
      .rst(rst),
      .cr_accept(s_axi_awvalid && s_axi_awready),
      .cr_len(s_axi_awlen),
      .cr_next(cr_next),
      .c_valid(c_valid),
      .c_park(c_park),
      .ws_valid(ws_valid),
      .ws_kind(ws_kind),
      .c_slot(c_slot),
      .c_len(c_len),
      .wdone_valid(wdone_valid),
      .wdone_ready(wdone_ready),
      .wdone_slot(wdone_slot),
      .s_wdata(s_axi_wdata),
      .s_wstrb(s_axi_wstrb),
      .s_wvalid(s_axi_wvalid),
      .s_wready(s_axi_wready),
      .m_wdata(m_axi_wdata),
      .m_wstrb(m_axi_wstrb),
      .m_wlast(m_axi_wlast),
      .m_wvalid(m_axi_wvalid),
      .m_wready(m_axi_wready)
  );

  // ------------------------------------------------------------------ responses
  assign r_free = m_axi_rvalid && m_axi_rready && m_axi_rlast;
  assign w_free = m_axi_bvalid && m_axi_bready;

  dmmu_merge #(
      .W(ID_W + DATA_W + 3)
  ) merge_r (
      .clk(clk),
      .rst(rst),
      .m_valid(m_axi_rvalid),
      .m_ready(m_axi_rready),
      .m_last(m_axi_rlast),
      .m_data({m_axi_rid, m_axi_rdata, m_axi_rresp, m_axi_rlast}),
      .e_valid(r_er_valid),
      .e_ready(r_er_ready),
      .e_last(r_er_last),
      .e_data({r_er_id, {DATA_W{1'b0}}, 1'b1, r_er_decerr, r_er_last}),
      .s_valid(s_axi_rvalid),
      .s_ready(s_axi_rready),
      .s_data({s_axi_rid, s_axi_rdata, s_axi_rresp, s_axi_rlast})
  );

  dmmu_merge #(
      .W(ID_W + 2)
  ) merge_b (
      .clk(clk),
      .rst(rst),
      .m_valid(m_axi_bvalid),
      .m_ready(m_axi_bready),
      .m_last(1'b1),
      .m_data({m_axi_bid, m_axi_bresp}),
      .e_valid(w_er_valid),
      .e_ready(w_er_ready),
      .e_last(w_er_last),
      .e_data({w_er_id, 1'b1, w_er_decerr}),
      .s_valid(s_axi_bvalid),
      .s_ready(s_axi_bready),
      .s_data({s_axi_bid, s_axi_bresp})
  );

  // ------------------------------------------------------------------ attach table: a copy for each who asks
  dmmu_attach #(
      .LOG_PASIDS(LOG_PASIDS)
  ) attach_r (
      .clk(clk),
      .wr(att_wr),
      .wr_at(att_wr_at),
      .wr_rows(att_wr_rows),
      .pasid(r_row_pasid),
      .match(r_match)
  );

  dmmu_attach #(
      .LOG_PASIDS(LOG_PASIDS)
  ) attach_w (
      .clk(clk),
      .wr(att_wr),
      .wr_at(att_wr_at),
      .wr_rows(att_wr_rows),
      .pasid(w_row_pasid),
      .match(w_match)
  );

  dmmu_attach #(
      .LOG_PASIDS(LOG_PASIDS)
  ) attach_fault (
      .clk(clk),
      .wr(att_wr),
      .wr_at(att_wr_at),
      .wr_rows(att_wr_rows),
      .pasid(att_pasid),
      .match(att_match)
  );

  // ------------------------------------------------------------------ caches
  dmmu_tlb #(
      .WAYS(WAYS_4K),
      .LOG_SETS(LOG_SETS_4K),
      .PN_W(VPN_W),
      .FN_W(FN_W),
      .LOG_PASIDS(LOG_PASIDS),
      .SERIAL(0),
      .RAW(1)
  ) tlb_4k (
      .clk(clk),
      .rst(rst),
      .ready(tlb_ready[0]),
      .r_rd_en(1'b1),
      .r_rd_row(r_row_4k),
      .r_cmp_pn(r_cmp_vpn),
      .r_cmp_pasid(r_cmp_pasid[LOG_SETS_4K-1:0]),
      .r_cmp_match(r_match),
      .r_hit(r_hit_4k),
      .r_allowed(r_allowed_4k),
      .r_fn(r_fn_4k),
      .r_touch(r_touch),
      .w_rd_en(1'b1),
      .w_rd_row(w_row_4k),
      .w_cmp_pn(w_cmp_vpn),
      .w_cmp_pasid(w_cmp_pasid[LOG_SETS_4K-1:0]),
      .w_cmp_match(w_match),
      .w_hit(w_hit_4k),
      .w_allowed(w_allowed_4k),
      .w_fn(w_fn_4k),
      .w_touch(w_touch),
      .op_start(op_start[0]),
      .busy(op_busy[0]),
      .op_fill(op_fill),
      .op_every(op_every),
      .op_many(op_many),
      .op_lo(op_lo),
      .op_hi(op_hi),
      .op_pasid(op_pasid[LOG_SETS_4K-1:0]),
      .op_index(op_index),
      .op_fn(op_fn),
      .op_perm(op_perm),
      .wr(wrote[0]),
      .fill_write(fill_write[0]),
      .fill_row(fill_row_4k),
      .evicted(evicted[0]),
      .dropped(dropped_4k)
  );

  dmmu_tlb #(
      .WAYS(WAYS_2M),
      .LOG_SETS(LOG_SETS_2M),
      .PN_W(VPN_W - 9),
      .FN_W(FN_W - 9),
      .LOG_PASIDS(LOG_PASIDS),
      .SERIAL(1),
      .RAW(0)
  ) tlb_2m (
      .clk(clk),
      .rst(rst),
      .ready(tlb_ready[1]),
      .r_rd_en(1'b1),
      .r_rd_row(r_row_2m),
      .r_cmp_pn(r_big_pn),
      .r_cmp_pasid(r_big_pasid[LOG_SETS_2M-1:0]),
      .r_cmp_match(r_match),
      .r_hit(r_hit_2m),
      .r_allowed(r_allowed_2m),
      .r_fn(r_fn_2m),
      .r_touch(r_big_touch),
      .w_rd_en(1'b1),
      .w_rd_row(w_row_2m),
      .w_cmp_pn(w_big_pn),
      .w_cmp_pasid(w_big_pasid[LOG_SETS_2M-1:0]),
      .w_cmp_match(w_match),
      .w_hit(w_hit_2m),
      .w_allowed(w_allowed_2m),
      .w_fn(w_fn_2m),
      .w_touch(w_big_touch),
      .op_start(op_start[1]),
      .busy(op_busy[1]),
      .op_fill(op_fill),
      .op_every(op_every),
      .op_many(op_many),
      .op_lo(op_lo[VPN_W-1:9]),
      .op_hi(op_hi[VPN_W-1:9]),
      .op_pasid(op_pasid[LOG_SETS_2M-1:0]),
      .op_index(op_index),
      .op_fn(op_fn[FN_W-1:9]),
      .op_perm(op_perm),
      .wr(wrote[1]),
      .fill_write(fill_write[1]),
      .fill_row(fill_row_2m),
      .evicted(evicted[1]),
      .dropped(dropped_2m)
  );

  dmmu_tlb #(
      .WAYS(WAYS_1G),
      .LOG_SETS(LOG_SETS_1G),
      .PN_W(VPN_W - 18),
      .FN_W(FN_W - 18),
      .LOG_PASIDS(LOG_PASIDS),
      .SERIAL(1),
      .RAW(0)
  ) tlb_1g (
      .clk(clk),
      .rst(rst),
      .ready(tlb_ready[2]),
      .r_rd_en(1'b1),
      .r_rd_row(r_row_1g),
      .r_cmp_pn(r_big_pn[VPN_W-10:9]),
      .r_cmp_pasid(r_big_pasid[LOG_SETS_1G-1:0]),
      .r_cmp_match(r_match),
      .r_hit(r_hit_1g),
      .r_allowed(r_allowed_1g),
      .r_fn(r_fn_1g),
      .r_touch(r_big_touch),
      .w_rd_en(1'b1),
      .w_rd_row(w_row_1g),
      .w_cmp_pn(w_big_pn[VPN_W-10:9]),
      .w_cmp_pasid(w_big_pasid[LOG_SETS_1G-1:0]),
      .w_cmp_match(w_match),
      .w_hit(w_hit_1g),
      .w_allowed(w_allowed_1g),
      .w_fn(w_fn_1g),
      .w_touch(w_big_touch),
      .op_start(op_start[2]),
      .busy(op_busy[2]),
      .op_fill(op_fill),
      .op_every(op_every),
      .op_many(op_many),
      .op_lo(op_lo[VPN_W-1:18]),
      .op_hi(op_hi[VPN_W-1:18]),
      .op_pasid(op_pasid[LOG_SETS_1G-1:0]),
      .op_index(op_index),
      .op_fn(op_fn[FN_W-1:18]),
      .op_perm(op_perm),
      .wr(wrote[2]),
      .fill_write(fill_write[2]),
      .fill_row(fill_row_1g),
      .evicted(evicted[2]),
      .dropped(dropped_1g)
  );

  // ------------------------------------------------------------------ faults
  dmmu_fault #(
      .VPN_W(VPN_W),
      .LOG_PARK(LOG_PARK),
      .LOG_MSHRS(LOG_MSHRS),
      .LOG_PASIDS(LOG_PASIDS),
      .LOG_SETS(LOG_SETS_4K)
  ) fault (
      .clk(clk),
      .rst(rst),
      .cycle(cycle[31:0]),
      .r_ms_valid(r_ms_valid),
      .r_ms_room(r_ms_room),
      .r_ms_slot(r_ms_slot),
      .r_ms_pasid(r_ms_pasid),
      .r_ms_vpn(r_ms_vpn),
      .r_ms_requester(r_ms_requester),
      .w_ms_valid(w_ms_valid),
      .w_ms_room(w_ms_room),
      .w_ms_slot(w_ms_slot),
      .w_ms_pasid(w_ms_pasid),
      .w_ms_vpn(w_ms_vpn),
      .w_ms_requester(w_ms_requester),
      .fill_4k(wrote_4k),
      .fill_row(wrote_row),
      .fill_big(wrote_big),
      .att_pasid(att_pasid),
      .att_match(att_match),
      .att_valid(att_valid),
      .r_rs_valid(r_rs_valid),
      .r_rs_ready(r_rs_ready),
      .w_rs_valid(w_rs_valid),
      .w_rs_ready(w_rs_ready),
      .r_rs_slot(r_rs_slot),
      .w_rs_slot(w_rs_slot),
      .rs_err(rs_err),
      .rs_decerr(rs_decerr),
      .rsp_rd_id(rsp_rd_id),
      .rsp_rd_seq(rsp_rd_seq),
      .rsp_valid(rsp_valid),
      .rsp_ready(rsp_ready),
      .rsp_error(rsp_error),
      .rsp_decerr(rsp_decerr),
      .det_start(det_start),
      .det_index(det_index),
      .det_busy(det_busy),
      .fault_valid(fault_valid),
      .fault_ready(fault_ready),
      .fault_data(fault_data),
      .ev_coalesced(ev_coalesced),
      .ev_fault(ev_fault),
      .ev_no_mshr(ev_no_mshr),
      .ev_response(ev_response),
      .ev_stale(ev_stale),
      .ev_latency(fault_latency)
  );

  // ------------------------------------------------------------------ commands and completions
  dmmu_cmd #(
      .VA_W(VA_W),
      .PA_W(PA_W),
      .LOG_SETS_4K(LOG_SETS_4K),
      .LOG_SETS_2M(LOG_SETS_2M),
      .LOG_SETS_1G(LOG_SETS_1G),
      .LOG_PASIDS(LOG_PASIDS)
  ) cmd (
      .clk(clk),
      .rst(rst),
      .enable(ready),
      .cmd_valid(cmd_valid),
      .cmd_ready(cmd_ready),
      .cmd_data(cmd_data),
      .cmd_index(cmd_index),
      .op_start(op_start),
      .op_busy(op_busy),
      .op_fill(op_fill),
      .op_every(op_every),
      .op_many(op_many),
      .op_lo(op_lo),
      .op_hi(op_hi),
      .op_pasid(op_pasid),
      .op_index(op_index),
      .op_fn(op_fn),
      .op_perm(op_perm),
      .rsp_rd_id(rsp_rd_id),
      .rsp_rd_seq(rsp_rd_seq),
      .rsp_valid(rsp_valid),
      .rsp_ready(rsp_ready),
      .rsp_error(rsp_error),
      .rsp_decerr(rsp_decerr),
      .det_start(det_start),
      .det_index(det_index),
      .det_busy(det_busy),
      .kill_start(kill_start),
      .kill_pasid(kill_pasid),
      .kill_marked_r(kill_marked_r),
      .kill_marked_w(kill_marked_w),
      .kill_clear_r(kill_clear_r),
      .kill_clear_w(kill_clear_w),
      .att_valid(att_valid),
      .att_wr(att_wr),
      .att_wr_at(att_wr_at),
      .att_wr_rows(att_wr_rows),
      .dq_valid(dq_valid),
      .dq_ready(dq_ready),
      .dq_wait(dq_wait),
      .dq_detach(dq_detach),
      .dq_scope(dq_scope),
      .dq_pasid(dq_pasid),
      .dq_start(dq_start),
      .dq_end(dq_end),
      .dq_complete(dq_complete),
      .dq_error(dq_error),
      .dq_tag(dq_tag),
      .dq_index(dq_index),
      .dq_op(dq_op),
      .ev_invalidate(ev_invalidate),
      .ev_error(ev_error)
  );

  dmmu_drain #(
      .VPN_W(VPN_W),
      .LOG_TRACK(LOG_TRACK),
      .LOG_QUEUE(5),
      .DELAY(DELAY),
      .TABLES(TABLES)
  ) drain (
      .clk(clk),
      .rst(rst),
      .cycle(cycle[31:0]),
      .dq_valid(dq_valid),
      .dq_ready(dq_ready),
      .dq_wait(dq_wait),
      .dq_detach(dq_detach),
      .dq_scope(dq_scope),
      .dq_pasid(dq_pasid),
      .dq_start(dq_start),
      .dq_end(dq_end),
      .dq_complete(dq_complete),
      .dq_error(dq_error),
      .dq_tag(dq_tag),
      .dq_index(dq_index),
      .dq_op(dq_op),
      .kill_clear(kill_clear_r && kill_clear_w),
      .r_idle(r_trk_idle),
      .r_high(r_trk_high),
      .r_scan(r_scan),
      .r_scan_data(r_scan_data),
      .r_mark(r_mark),
      .r_marked(r_marked),
      .w_idle(w_trk_idle),
      .w_high(w_trk_high),
      .w_scan(w_scan),
      .w_scan_data(w_scan_data),
      .w_mark(w_mark),
      .w_marked(w_marked),
      .scan_slot(scan_slot),
      .mark_slot(mark_slot),
      .event_valid(event_valid),
      .event_ready(event_ready),
      .event_data(event_data),
      .ev_drain(ev_drain),
      .ev_done(ev_done),
      .ev_latency(inv_latency)
  );

  // ------------------------------------------------------------------ counters
  wire [20:0] events;
  assign events[`SVM_CNT_READS] = r_ev_accept;
  assign events[`SVM_CNT_WRITES] = w_ev_accept;
  assign events[`SVM_CNT_READ_HITS] = r_ev_hit;
  assign events[`SVM_CNT_WRITE_HITS] = w_ev_hit;
  assign events[`SVM_CNT_READ_MISSES] = r_ev_miss;
  assign events[`SVM_CNT_WRITE_MISSES] = w_ev_miss;
  assign events[`SVM_CNT_COALESCED] = ev_coalesced;
  assign events[`SVM_CNT_FAULTS] = ev_fault;
  assign events[`SVM_CNT_RESPONSES] = ev_response;
  assign events[`SVM_CNT_STALE_RESPONSES] = ev_stale;
  assign events[`SVM_CNT_ERRORS] = 1'b0;
  assign events[`SVM_CNT_FILLS] = fill_write != 3'd0;
  assign events[`SVM_CNT_EVICTIONS] = evicted != 3'd0;
  assign events[`SVM_CNT_INVALIDATIONS] = ev_invalidate;
  assign events[`SVM_CNT_INVALIDATED] = 1'b0;
  assign events[`SVM_CNT_COMMAND_ERRORS] = ev_error;
  assign events[`SVM_CNT_DRAIN_CYCLES] = ev_drain;
  assign events[`SVM_CNT_STALL_PARK] = 1'b0;
  assign events[`SVM_CNT_STALL_BUS] = 1'b0;
  assign events[`SVM_CNT_STALL_FAULT_RING] = fault_valid && fault_ring_full;
  assign events[`SVM_CNT_STALL_MSHR] = ev_no_mshr;

  dmmu_stats stats (
      .clk(clk),
      .rst(rst),
      .addr(stat_addr),
      .data(stat_data),
      .cycle(cycle),
      .event_in(events),
      .errors({w_ev_error, r_ev_error}),
      .invalidated({1'b0, dropped_4k} + {1'b0, dropped_2m} + {1'b0, dropped_1g}),
      .stall_park({w_ev_stall_park, r_ev_stall_park}),
      .stall_bus({w_ev_stall_bus, r_ev_stall_bus}),
      .fault_done(ev_response),
      .fault_latency(fault_latency),
      .inv_done(ev_done),
      .inv_latency(inv_latency)
  );

  wire unused = &{
    1'b0,
    s_axi_wlast,
    op_pasid,
    r_cmp_pasid,
    r_big_pasid,
    w_cmp_pasid,
    w_big_pasid,
    fill_row_2m,
    fill_row_1g,
    r_hit_1g,
    w_hit_1g,
    r_no_c_valid,
    r_no_c_park,
    r_no_ws_valid,
    r_no_ws_kind,
    r_no_c_slot,
    r_no_c_len,
    r_no_wdone_ready
  };

endmodule

`default_nettype wire
