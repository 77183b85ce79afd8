`resetall
`timescale 1ns / 1ps
`default_nettype none
`include "svm_defs.vh"

// DMA reader: AXI4 read bursts at bus addresses become RQ memory reads; RC completions fill one buffer slot per tag.
// Bursts are cut at boundaries of Max_Read_Request bytes, at most SLOT (so no request crosses 4 KiB).
// Completions of different tags come in any order, those of one tag may be split anywhere. Reads of one queue
// (ID modulo 2^LOG_QUEUES) return in AR order, queues in the order in which their data is there; bursts never interleave.
// UR, CA, poisoned, malformed, incomplete or timed-out completions give SLVERR with zero data on that one access; so do
// a burst that is not INCR and one that meets enable = 0 (bus master off), which send nothing.
// A tag that timed out stays out of use until the hard block says that its request has ended. Tags below FIRST_TAG are
// other requesters': their completions pass by, counted as unexpected here.
// The AT field and s_axi_aruser (requester, PASID) travel with each TLP: the seam for ATS and the PASID prefix.
// Latency: AR to RQ valid 4 cycles, last RC beat to R valid 4 cycles. Throughput: one RQ, RC and R beat a cycle.
// Invariant: RC is never stalled; every request owns the space for all of its data.
module pcie_dma_rd #(
    parameter DATA_W = 128,
    parameter ID_W = 6,
    parameter USER_W = 28,
    parameter LOG_TAGS = 5,
    parameter FIRST_TAG = 0,
    parameter LOG_SLOT = 9,
    parameter LOG_QUEUES = 2,
    parameter LOG_TICK = 16,
    parameter TIMEOUT = 190,
    parameter RQ_USER_W = (DATA_W == 512) ? 137 : 62,
    parameter RC_USER_W = (DATA_W == 512) ? 161 : 75
) (
    input wire clk,
    input wire rst,

    input wire enable,
    input wire extended_tag,
    input wire [2:0] max_read,
    // No burst is inside.
    output wire idle,

    input wire [ID_W-1:0] s_axi_arid,
    input wire [63:0] s_axi_araddr,
    input wire [7:0] s_axi_arlen,
    input wire [2:0] s_axi_arsize,
    input wire [1:0] s_axi_arburst,
    input wire [1:0] s_axi_arat,
    input wire [USER_W-1:0] s_axi_aruser,
    input wire s_axi_arvalid,
    output wire s_axi_arready,
    output wire [ID_W-1:0] s_axi_rid,
    output wire [DATA_W-1:0] s_axi_rdata,
    output wire [1:0] s_axi_rresp,
    output wire s_axi_rlast,
    // Byte lane at which the beat starts.
    output wire [5:0] s_axi_rlane,
    output wire s_axi_rvalid,
    input wire s_axi_rready,

    output wire [DATA_W-1:0] m_axis_rq_tdata,
    output wire [DATA_W/32-1:0] m_axis_rq_tkeep,
    output wire m_axis_rq_tlast,
    output wire [RQ_USER_W-1:0] m_axis_rq_tuser,
    output wire [USER_W-1:0] m_axis_rq_info,
    output wire m_axis_rq_tvalid,
    input wire m_axis_rq_tready,

    input wire [DATA_W-1:0] s_axis_rc_tdata,
    input wire [DATA_W/32-1:0] s_axis_rc_tkeep,
    input wire s_axis_rc_tlast,
    input wire [RC_USER_W-1:0] s_axis_rc_tuser,
    input wire s_axis_rc_tvalid,
    output wire s_axis_rc_tready,

    // One-cycle pulses: a completion with an error, one that nobody waits for, a request without its completion.
    output reg event_error,
    output reg event_unexpected,
    output reg event_timeout,
    // With an error or a timeout: the request's user bits and address, and the reason (link_error codes).
    output wire [USER_W-1:0] event_user,
    output wire [63:0] event_addr,
    output reg [7:0] event_reason
);

  localparam TAGS = 1 << LOG_TAGS;
  localparam QUEUES = 1 << LOG_QUEUES;
  localparam N = DATA_W / 32;
  localparam LN = (N == 4) ? 2 : (N == 8) ? 3 : 4;
  localparam ROW = LN + 2;
  localparam ROW_W = LOG_SLOT - ROW;
  localparam RAM_LOG = LOG_TAGS + ROW_W;
  localparam DISCONTINUE_AT = (DATA_W == 512) ? 96 : 42;
  localparam [7:0] TIMEOUT_TICKS = TIMEOUT[7:0];
  localparam [TAGS-1:0] ONE_TAG = {{(TAGS - 1) {1'b0}}, 1'b1};
  localparam [LOG_TAGS:0] SEED = FIRST_TAG[LOG_TAGS:0];
  localparam ENTRY_W = LOG_TAGS + ID_W + LOG_SLOT + 8 + 3 + 2;

  initial begin
    if (DATA_W != 128 && DATA_W != 256 && DATA_W != 512) begin
      $display("pcie_dma_rd: DATA_W must be 128, 256 or 512");
      $finish;
    end
    if (LOG_TAGS < 2 || LOG_TAGS > 8 || LOG_SLOT < 7 || LOG_SLOT > 12 || LOG_QUEUES < 1 || LOG_QUEUES > ID_W) begin
      $display("pcie_dma_rd: tags 4 to 256, slots 128 to 4096 bytes, queues 2 to 2^ID_W");
      $finish;
    end
    if (FIRST_TAG >= 32 || FIRST_TAG >= (1 << LOG_TAGS)) begin
      $display("pcie_dma_rd: FIRST_TAG must leave tags below 32 and below 2^LOG_TAGS");
      $finish;
    end
    if (LOG_TICK < LOG_TAGS || TIMEOUT < 2 || TIMEOUT > 250) begin
      $display("pcie_dma_rd: a tick lasts at least one scan of the tags, a timeout 2 to 250 ticks");
      $finish;
    end
  end

  // ---- AR
  wire ar_valid;
  wire ar_take;
  wire [ID_W-1:0] ar_id;
  wire [63:0] ar_addr;
  wire [7:0] ar_len;
  wire [2:0] ar_size;
  wire [1:0] ar_burst;
  wire [1:0] ar_at;
  wire [USER_W-1:0] ar_user;

  skid #(
      .W(ID_W + 64 + 8 + 3 + 2 + 2 + USER_W)
  ) ar_skid (
      .clk(clk),
      .rst(rst),
      .in_valid(s_axi_arvalid),
      .in_ready(s_axi_arready),
      .in_data({s_axi_arid, s_axi_araddr, s_axi_arlen, s_axi_arsize, s_axi_arburst, s_axi_arat, s_axi_aruser}),
      .out_valid(ar_valid),
      .out_ready(ar_take),
      .out_data({ar_id, ar_addr, ar_len, ar_size, ar_burst, ar_at, ar_user})
  );

  // ---- s1: cut the burst
  reg cutting;
  reg [63:0] cut_addr;
  reg [8:0] cut_left;

  wire s2_free;
  wire s1_bad = ar_burst != 2'b01 || !enable;
  wire [63:0] s1_addr = cutting ? cut_addr : ar_addr;
  wire [8:0] s1_left = cutting ? cut_left : {1'b0, ar_len} + 9'd1;
  wire [3:0] block_log = (max_read + 4'd7 > LOG_SLOT[3:0]) ? LOG_SLOT[3:0] : max_read + 4'd7;
  wire [11:0] block = (12'd1 << block_log) - 12'd1;
  wire [11:0] block_mask = (block_log == 4'd12) ? 12'hFFF : block;
  wire [11:0] size_mask = (12'd1 << ar_size) - 12'd1;
  wire [11:0] s1_start = s1_addr[11:0] & ~size_mask;
  wire [12:0] s1_room = {1'b0, block_mask & ~s1_start} + 13'd1;
  wire [12:0] s1_room_up = s1_room + {1'b0, size_mask};
  wire [12:0] s1_room_beats = s1_room_up >> ar_size;
  wire s1_last = s1_bad || {4'd0, s1_left} <= s1_room_beats;
  wire [8:0] s1_beats = s1_last ? s1_left : s1_room_beats[8:0];
  wire [12:0] s1_bytes = {4'd0, s1_beats} << ar_size;
  wire [11:0] s1_end = s1_start + s1_bytes[11:0] - 12'd1;
  wire s1_fire = ar_valid && s2_free;
  assign ar_take = s1_fire && s1_last;

  always @(posedge clk) begin
    if (s1_fire) begin
      cut_addr <= {s1_addr[63:12], 12'd0} + {52'd0, s1_end} + 64'd1;
      cut_left <= s1_left - s1_beats;
    end
  end

  always @(posedge clk) begin
    if (rst) cutting <= 1'b0;
    else if (s1_fire) cutting <= !s1_last;
  end

  // ---- s2: lengths and byte enables, a tag, a place in the queue
  reg s2_valid;
  reg s2_bad;
  reg s2_last;
  reg [63:0] s2_addr;
  reg [11:0] s2_end;
  reg [8:0] s2_beats;
  reg [2:0] s2_size;
  reg [ID_W-1:0] s2_id;
  reg [1:0] s2_at;
  reg [USER_W-1:0] s2_user;

  wire fifo_valid;
  wire free_valid;
  wire [LOG_TAGS-1:0] free_tag;
  wire rq_room;
  wire [QUEUES-1:0] queue_room;
  wire [LOG_QUEUES-1:0] s2_queue = s2_id[LOG_QUEUES-1:0];
  wire s2_fire = s2_valid && queue_room[s2_queue] && (s2_bad || (free_valid && rq_room));
  wire s2_send = s2_fire && !s2_bad;
  assign s2_free = !s2_valid || s2_fire;

  wire [10:0] s2_dwords = {1'b0, s2_end[11:2]} - {1'b0, s2_addr[11:2]} + 11'd1;
  wire [12:0] s2_bytes = {1'b0, s2_end} - {1'b0, s2_addr[11:0]} + 13'd1;
  wire s2_one = s2_dwords == 11'd1;
  wire [3:0] s2_lead = 4'hF << s2_addr[1:0];
  wire [3:0] s2_tail = 4'hF >> (2'd3 - s2_end[1:0]);

  always @(posedge clk) begin
    if (s2_free) begin
      s2_bad <= s1_bad;
      s2_last <= s1_last;
      s2_addr <= s1_addr;
      s2_end <= s1_end;
      s2_beats <= s1_beats - 9'd1;
      s2_size <= ar_size;
      s2_id <= ar_id;
      s2_at <= ar_at;
      s2_user <= ar_user;
    end
  end

  always @(posedge clk) begin
    if (rst) s2_valid <= 1'b0;
    else if (s2_free) s2_valid <= ar_valid;
  end

  // ---- s3: the RQ beat
  reg s3_valid;
  reg [127:0] s3_header;
  reg [7:0] s3_be;
  reg [USER_W-1:0] s3_user;

  assign rq_room = !s3_valid || m_axis_rq_tready;

  always @(posedge clk) begin
    if (rq_room) begin
      s3_header <= {24'd0, {(8 - LOG_TAGS) {1'b0}}, free_tag, 16'd0, 1'b0, 4'd0, s2_dwords, s2_addr[63:2], s2_at};
      s3_be <= s2_one ? {4'd0, s2_lead & s2_tail} : {s2_tail, s2_lead};
      s3_user <= s2_user;
    end
  end

  always @(posedge clk) begin
    if (rst) s3_valid <= 1'b0;
    else if (rq_room) s3_valid <= s2_send;
  end

  generate
    if (DATA_W == 128) begin : gen_rq_128
      assign m_axis_rq_tdata = s3_header;
      assign m_axis_rq_tkeep = 4'hF;
    end else begin : gen_rq
      assign m_axis_rq_tdata = {{(DATA_W - 128) {1'b0}}, s3_header};
      assign m_axis_rq_tkeep = {{(N - 4) {1'b0}}, 4'hF};
    end
    if (DATA_W == 512) begin : gen_user_512
      assign m_axis_rq_tuser = {
        105'd0, 4'd3, 1'b0, 1'b1, 4'd0, 1'b0, 1'b1, 4'd0, 4'd0, s3_be[7:4], 4'd0, s3_be[3:0]
      };
    end else begin : gen_user
      assign m_axis_rq_tuser = {{(RQ_USER_W - 8) {1'b0}}, s3_be};
    end
  endgenerate
  assign m_axis_rq_tlast  = 1'b1;
  assign m_axis_rq_info   = s3_user;
  assign m_axis_rq_tvalid = s3_valid;

  // ---- Tags
  // busy: at the bus; ended: the hard block has finished with it; late: timed out; gone: answered on R, not yet ended.
  reg [TAGS-1:0] busy;
  reg [TAGS-1:0] ended;
  reg [TAGS-1:0] failed;
  reg [TAGS-1:0] late;
  reg [TAGS-1:0] gone;
  reg [TAGS-1:0] begun;
  reg [12:0] length_mem[0:TAGS-1];
  reg [12:0] left_mem[0:TAGS-1];
  reg [7:0] stamp_mem[0:TAGS-1];

  reg [LOG_TICK-1:0] tick_count;
  reg [7:0] now;
  reg [LOG_TAGS-1:0] scan;
  reg [LOG_TAGS:0] seeded;
  // Free tags above 31 that came up while the host does not allow them; the scan frees them again when it does.
  reg [TAGS-1:0] parked;

  wire [TAGS-1:0] new_tag = s2_send ? ONE_TAG << free_tag : {TAGS{1'b0}};
  wire [7:0] scan_age = now - stamp_mem[scan];
  wire x_failed;
  wire scan_late = busy[scan] && !ended[scan] && !late[scan] && scan_age >= TIMEOUT_TICKS && !x_failed;
  wire scan_back = (gone[scan] && ended[scan]) || (parked[scan] && extended_tag);
  wire [7:0] free_tag_8 = {{(8 - LOG_TAGS) {1'b0}}, free_tag};
  wire free_wrong = fifo_valid && !extended_tag && free_tag_8 >= 8'd32;

  wire done_valid;
  wire [LOG_TAGS-1:0] done_tag;
  wire done_back = done_valid && ended[done_tag];
  wire done_gone = done_valid && !ended[done_tag];

  wire all_seeded = seeded[LOG_TAGS] || (!extended_tag && {{(8 - LOG_TAGS) {1'b0}}, seeded} >= 9'd32);
  wire free_push = done_back || scan_back || !all_seeded;
  wire [LOG_TAGS-1:0] free_push_tag = done_back ? done_tag : scan_back ? scan : seeded[LOG_TAGS-1:0];
  wire scan_taken = scan_back && !done_back;
  wire unused_free_ready;
  wire [LOG_TAGS:0] unused_free_level;

  fifo #(
      .W(LOG_TAGS),
      .LOG_DEPTH(LOG_TAGS)
  ) free_fifo (
      .clk(clk),
      .rst(rst),
      .in_valid(free_push),
      .in_ready(unused_free_ready),
      .in_data(free_push_tag),
      .out_valid(fifo_valid),
      .out_ready(s2_send || free_wrong),
      .out_data(free_tag),
      .level(unused_free_level)
  );

  assign free_valid = fifo_valid && !free_wrong;

  always @(posedge clk) begin
    if (s2_send) begin
      length_mem[free_tag] <= s2_bytes;
      stamp_mem[free_tag]  <= now;
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      tick_count <= {LOG_TICK{1'b0}};
      now <= 8'd0;
      scan <= {LOG_TAGS{1'b0}};
      seeded <= SEED;
      event_timeout <= 1'b0;
    end else begin
      tick_count <= tick_count + {{(LOG_TICK - 1) {1'b0}}, 1'b1};
      if (&tick_count) now <= now + 8'd1;
      scan <= scan + {{(LOG_TAGS - 1) {1'b0}}, 1'b1};
      if (free_push && !done_back && !scan_back) seeded <= seeded + {{LOG_TAGS{1'b0}}, 1'b1};
      event_timeout <= scan_late;
    end
  end

  // ---- RC, x: the beat and the fields of its packet
  reg x_valid;
  reg [DATA_W-1:0] x_data;
  reg [N-1:0] x_keep;
  reg x_first;
  reg x_last;
  reg x_cut;

  assign s_axis_rc_tready = 1'b1;

  always @(posedge clk) begin
    x_data <= s_axis_rc_tdata;
    x_keep <= s_axis_rc_tkeep;
    x_last <= s_axis_rc_tlast;
    x_cut  <= s_axis_rc_tuser[DISCONTINUE_AT];
  end

  always @(posedge clk) begin
    if (rst) begin
      x_valid <= 1'b0;
      x_first <= 1'b1;
    end else begin
      x_valid <= s_axis_rc_tvalid;
      if (x_valid) x_first <= x_last;
    end
  end

  wire [1:0] h_byte = x_data[1:0];
  wire [3:0] h_code = x_data[15:12];
  wire [12:0] h_left = x_data[28:16];
  wire h_ends = x_data[30];
  wire [10:0] h_dwords = x_data[42:32];
  wire [2:0] h_status = x_data[45:43];
  wire h_poisoned = x_data[46];
  wire [LOG_TAGS-1:0] h_tag = x_data[64+:LOG_TAGS];
  wire h_in_range = (x_data[71:64] >> LOG_TAGS) == 8'd0;

  wire [12:0] h_want = begun[h_tag] ? left_mem[h_tag] : length_mem[h_tag];
  wire [12:0] h_bytes = {h_dwords, 2'b00} - {11'd0, h_byte};
  wire h_whole = h_bytes >= h_left;
  wire h_known = h_in_range && busy[h_tag] && !ended[h_tag] && h_code != 4'd4 && h_code != 4'd6;
  wire h_again = h_code == 4'd0 && h_status == 3'd0 && h_left > h_want;
  wire h_mine = h_known && !h_again;
  wire h_bad = h_code != 4'd0 || h_status != 3'd0 || h_poisoned || h_left < h_want || h_ends != h_whole;

  // The hard block's code 9: it gave up waiting itself.
  wire [7:0] h_reason = (h_code == 4'd9) ? `SVM_LINK_ERROR_TIMEOUT :
      (h_status == 3'd4) ? `SVM_LINK_ERROR_ABORTED : (h_status != 3'd0) ? `SVM_LINK_ERROR_UNSUPPORTED :
      (h_poisoned || h_code == 4'd1) ? `SVM_LINK_ERROR_POISONED : `SVM_LINK_ERROR_MALFORMED;

  reg k_mine;
  reg k_bad;
  reg [7:0] k_reason;
  reg k_ends;
  reg [LOG_TAGS-1:0] k_tag;
  reg [LOG_SLOT-3:0] k_place;

  wire p_mine = x_first ? h_mine : k_mine;
  wire p_bad = (x_first ? h_bad : k_bad) || x_cut;
  wire [7:0] p_reason = x_first ? h_reason : k_reason;
  wire p_ends = x_first ? h_ends : k_ends;
  wire [LOG_TAGS-1:0] p_tag = x_first ? h_tag : k_tag;
  // Slot address, in dwords, of the beat's lane 0; the first three lanes of a packet hold the descriptor.
  localparam [LOG_SLOT-3:0] DESC_LANES = 3;
  localparam [LOG_SLOT-3:0] LANES = N[LOG_SLOT-3:0];
  wire [LOG_SLOT-3:0] p_place = x_first ? x_data[LOG_SLOT-1:2] - DESC_LANES : k_place;
  wire [N-1:0] p_lanes = x_first ? {x_keep[N-1:3], 3'b000} : x_keep;
  wire x_ended = x_valid && x_last && p_mine && p_ends;
  wire x_bad = x_valid && x_last && p_mine && p_bad;
  // Reported once for each request.
  assign x_failed = x_bad && !failed[p_tag] && !late[p_tag];

  always @(posedge clk) begin
    if (x_valid) begin
      k_mine <= p_mine;
      k_bad <= p_bad;
      k_reason <= p_reason;
      k_ends <= p_ends;
      k_tag <= p_tag;
      k_place <= p_place + LANES;
    end
    if (x_valid && x_first && h_mine) left_mem[h_tag] <= h_left - h_bytes;
  end

  always @(posedge clk) begin
    if (rst) begin
      event_error <= 1'b0;
      event_unexpected <= 1'b0;
    end else begin
      event_error <= x_failed;
      event_unexpected <= x_valid && x_first && !h_mine;
    end
  end

  // What an error record says of its request.
  reg [USER_W+63:0] info_mem[0:TAGS-1];
  reg [LOG_TAGS-1:0] event_tag;
  assign {event_user, event_addr} = info_mem[event_tag];

  always @(posedge clk) begin
    if (s2_send) info_mem[free_tag] <= {s2_user, s2_addr[63:2], 2'b00};
    event_tag <= x_failed ? p_tag : scan;
    event_reason <= x_failed ? p_reason : `SVM_LINK_ERROR_TIMEOUT;
  end

  wire [TAGS-1:0] p_mask = ONE_TAG << p_tag;
  wire [TAGS-1:0] scan_mask = ONE_TAG << scan;
  wire [TAGS-1:0] done_mask = ONE_TAG << done_tag;

  always @(posedge clk) begin
    if (rst) begin
      busy   <= {TAGS{1'b0}};
      ended  <= {TAGS{1'b0}};
      failed <= {TAGS{1'b0}};
      late   <= {TAGS{1'b0}};
      gone   <= {TAGS{1'b0}};
      begun  <= {TAGS{1'b0}};
      parked <= {TAGS{1'b0}};
    end else begin
      parked <= (parked | (free_wrong ? ONE_TAG << free_tag : {TAGS{1'b0}})) & ~(scan_taken ? scan_mask : {TAGS{1'b0}});
      busy <= (busy | new_tag) & ~(done_back ? done_mask : {TAGS{1'b0}}) & ~(scan_taken ? scan_mask : {TAGS{1'b0}});
      ended <= (ended | (x_ended ? p_mask : {TAGS{1'b0}})) & ~new_tag;
      failed <= (failed | (x_bad ? p_mask : {TAGS{1'b0}})) & ~new_tag;
      late <= (late | (scan_late ? scan_mask : {TAGS{1'b0}})) & ~new_tag;
      gone <= (gone | (done_gone ? done_mask : {TAGS{1'b0}})) & ~(scan_taken ? scan_mask : {TAGS{1'b0}});
      begun <= (begun | (x_valid && x_first && h_mine ? p_mask : {TAGS{1'b0}})) & ~new_tag;
    end
  end

  // ---- RC, y: one dword into each bank; banks below the place's lane belong to the next row
  reg [N-1:0] y_write;
  reg [DATA_W-1:0] y_data;
  reg [LOG_TAGS-1:0] y_tag;
  reg [LOG_SLOT-3:0] y_place;

  wire [LN-1:0] p_lane = p_place[LN-1:0];
  wire [2*DATA_W-1:0] turned_twice = {x_data, x_data} << {p_lane, 5'd0};
  wire [2*N-1:0] lanes_twice = {p_lanes, p_lanes} << p_lane;

  always @(posedge clk) begin
    y_data  <= turned_twice[2*DATA_W-1:DATA_W];
    y_tag   <= p_tag;
    y_place <= p_place;
  end

  always @(posedge clk) begin
    if (rst || !x_valid || !p_mine || p_bad) y_write <= {N{1'b0}};
    else y_write <= lanes_twice[2*N-1:N];
  end

  wire [N-1:0] y_this_row = {N{1'b1}} << y_place[LN-1:0];
  wire [ROW_W-1:0] y_row = y_place[LOG_SLOT-3:LN];
  wire [ROW_W-1:0] y_next_row = y_row + {{(ROW_W - 1) {1'b0}}, 1'b1};

  wire ram_read;
  wire [RAM_LOG-1:0] ram_row;
  wire [DATA_W-1:0] ram_data;
  genvar g;
  generate
    for (g = 0; g < N; g = g + 1) begin : gen_bank
      ram_1r1w #(
          .W(32),
          .LOG_DEPTH(RAM_LOG)
      ) ram (
          .clk(clk),
          .wr_en(y_write[g]),
          .wr_addr({y_tag, y_this_row[g] ? y_row : y_next_row}),
          .wr_data(y_data[32*g+:32]),
          .rd_en(ram_read),
          .rd_addr(ram_row),
          .rd_data(ram_data[32*g+:32])
      );
    end
  endgenerate

  // ---- Order: the requests of each queue
  wire [QUEUES-1:0] head_valid;
  wire [QUEUES-1:0] head_pop;
  wire [QUEUES-1:0] head_ready;
  wire [QUEUES*ENTRY_W-1:0] heads;
  wire [QUEUES*(LOG_TAGS+1)-1:0] unused_queue_level;
  wire [ENTRY_W-1:0] entry = {free_tag, s2_id, s2_addr[LOG_SLOT-1:0], s2_beats[7:0], s2_size, s2_last, s2_bad};

  generate
    for (g = 0; g < QUEUES; g = g + 1) begin : gen_queue
      localparam [LOG_QUEUES-1:0] QUEUE = g;
      wire [LOG_TAGS-1:0] tag = heads[g*ENTRY_W+ENTRY_W-LOG_TAGS+:LOG_TAGS];
      fifo #(
          .W(ENTRY_W),
          .LOG_DEPTH(LOG_TAGS)
      ) order_fifo (
          .clk(clk),
          .rst(rst),
          .in_valid(s2_fire && s2_queue == QUEUE),
          .in_ready(queue_room[g]),
          .in_data(entry),
          .out_valid(head_valid[g]),
          .out_ready(head_pop[g]),
          .out_data(heads[g*ENTRY_W+:ENTRY_W]),
          .level(unused_queue_level[g*(LOG_TAGS+1)+:LOG_TAGS+1])
      );
      assign head_ready[g] = head_valid[g] && (heads[g*ENTRY_W] || ended[tag] || late[tag]);
    end
  endgenerate

  // ---- r0: the request being answered
  reg r0_valid;
  reg [LOG_TAGS-1:0] r0_tag;
  reg [ID_W-1:0] r0_id;
  reg [LOG_SLOT-1:0] r0_offset;
  reg [7:0] r0_beats;
  reg [2:0] r0_size;
  reg r0_last;
  reg r0_bad;
  reg r0_failed;
  // The queue whose burst has begun.
  reg locked;
  reg [QUEUES-1:0] lock;

  wire r1_room;
  wire r0_step = r0_valid && r1_room;
  wire r0_final = r0_beats == 8'd0;
  wire r0_load_ok = !r0_valid || (r0_step && r0_final);

  wire [QUEUES-1:0] candidates = locked ? head_ready & lock : head_ready;
  wire [QUEUES-1:0] chosen;
  wire r0_load = r0_load_ok && candidates != {QUEUES{1'b0}};
  assign head_pop = chosen & {QUEUES{r0_load_ok}};

  arb_rr #(
      .N(QUEUES)
  ) arb (
      .clk(clk),
      .rst(rst),
      .req(candidates),
      .grant(chosen),
      .advance(r0_load_ok)
  );

  reg [ENTRY_W-1:0] head;
  integer q;
  always @* begin
    head = {ENTRY_W{1'b0}};
    for (q = 0; q < QUEUES; q = q + 1) if (chosen[q]) head = head | heads[q*ENTRY_W+:ENTRY_W];
  end
  wire [LOG_TAGS-1:0] head_tag = head[ENTRY_W-1-:LOG_TAGS];
  wire [LOG_SLOT-1:0] r0_step_bytes = {{(LOG_SLOT - 1) {1'b0}}, 1'b1} << r0_size;

  always @(posedge clk) begin
    if (r0_load_ok) begin
      {r0_tag, r0_id, r0_offset, r0_beats, r0_size, r0_last, r0_bad} <= head;
      r0_failed <= head[0] || failed[head_tag] || !ended[head_tag];
    end else if (r0_step) begin
      r0_offset <= (r0_offset & ~(r0_step_bytes - {{(LOG_SLOT - 1) {1'b0}}, 1'b1})) + r0_step_bytes;
      r0_beats  <= r0_beats - 8'd1;
    end
    if (r0_load) lock <= chosen;
  end

  always @(posedge clk) begin
    if (rst) begin
      r0_valid <= 1'b0;
      locked   <= 1'b0;
    end else if (r0_load_ok) begin
      r0_valid <= r0_load;
      if (r0_load) locked <= !head[1];
    end
  end

  assign ram_read   = r0_step;
  assign ram_row    = {r0_tag, r0_offset[LOG_SLOT-1:ROW]};
  assign done_valid = r0_step && r0_final && !r0_bad;
  assign done_tag   = r0_tag;

  // ---- r1: the R beat
  reg r1_valid;
  reg [ID_W-1:0] r1_id;
  reg [5:0] r1_lane;
  reg r1_last;
  reg r1_failed;

  assign r1_room = !r1_valid || s_axi_rready;

  always @(posedge clk) begin
    if (r1_room) begin
      r1_id <= r0_id;
      r1_lane <= r0_offset[5:0];
      r1_last <= r0_last && r0_final;
      r1_failed <= r0_failed;
    end
  end

  always @(posedge clk) begin
    if (rst) r1_valid <= 1'b0;
    else if (r1_room) r1_valid <= r0_valid;
  end

  // Bursts in flight: those accepted less those whose last beat has left.
  localparam OPEN_W = LOG_TAGS + LOG_QUEUES + 2;
  reg [OPEN_W-1:0] open;
  wire burst_in = s_axi_arvalid && s_axi_arready;
  wire burst_out = s_axi_rvalid && s_axi_rready && s_axi_rlast;
  always @(posedge clk) begin
    if (rst) open <= {OPEN_W{1'b0}};
    else open <= open + {{(OPEN_W - 1) {1'b0}}, burst_in} - {{(OPEN_W - 1) {1'b0}}, burst_out};
  end
  assign idle = open == {OPEN_W{1'b0}};

  assign s_axi_rid = r1_id;
  assign s_axi_rlane = r1_lane;
  assign s_axi_rdata = r1_failed ? {DATA_W{1'b0}} : ram_data;
  assign s_axi_rresp = {r1_failed, 1'b0};
  assign s_axi_rlast = r1_last;
  assign s_axi_rvalid = r1_valid;

  wire unused = &{
    1'b0,
    unused_free_ready,
    unused_free_level,
    unused_queue_level,
    turned_twice[DATA_W-1:0],
    lanes_twice[N-1:0],
    s_axis_rc_tuser,
    x_data,
    s2_beats[8],
    s1_bytes[12]
  };

endmodule

`default_nettype wire
