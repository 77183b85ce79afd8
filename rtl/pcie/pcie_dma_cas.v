`resetall
`timescale 1ns / 1ps
`default_nettype none
`include "svm_defs.vh"

// AXI exclusive accesses of 8 aligned bytes over PCIe. An exclusive read is a memory read whose data is remembered for its
// ID and answered EXOKAY; an exclusive write of that ID and address becomes a 64-bit CAS AtomicOp of the remembered
// and the new value: EXOKAY when the host's old value equals the remembered one, so it is atomic with the host's CPUs.
// Without a fitting exclusive read, or of another size, an exclusive write stores nothing and gets OKAY; a failed
// completion, a timeout or enable = 0 gives SLVERR. Other writes pass through; their W follows their AW by a cycle.
// Latency: W to RQ 2 cycles, RC to B 3. One AtomicOp at a time, after every write before it has its response.
// Invariant: after a timeout no AtomicOp is sent until the hard block has ended the one that is missing.
module pcie_dma_cas #(
    parameter DATA_W = 128,
    parameter ID_W = 6,
    parameter USER_W = 28,
    parameter [7:0] TAG = 8'd4,
    parameter LOG_TICK = 16,
    parameter TIMEOUT = 190,
    parameter RQ_USER_W = (DATA_W == 512) ? 137 : 62,
    parameter RC_USER_W = (DATA_W == 512) ? 161 : 75
) (
    input wire clk,
    input wire rst,

    input wire enable,
    // The requester is in reset: nothing of it is left but the AtomicOp on the link.
    input wire flush,
    output wire idle,

    input wire [ID_W-1:0] s_axi_awid,
    input wire [63:0] s_axi_awaddr,
    input wire [7:0] s_axi_awlen,
    input wire [2:0] s_axi_awsize,
    input wire s_axi_awlock,
    input wire [USER_W-1:0] s_axi_awuser,
    input wire s_axi_awvalid,
    output wire s_axi_awready,
    input wire [DATA_W-1:0] s_axi_wdata,
    input wire s_axi_wlast,
    input wire s_axi_wvalid,
    output wire s_axi_wready,
    output wire [ID_W-1:0] s_axi_bid,
    output wire [1:0] s_axi_bresp,
    output wire s_axi_bvalid,
    input wire s_axi_bready,

    output wire m_axi_awvalid,
    input wire m_axi_awready,
    output wire m_axi_wvalid,
    input wire m_axi_wready,
    input wire [ID_W-1:0] m_axi_bid,
    input wire [1:0] m_axi_bresp,
    input wire m_axi_bvalid,
    output wire m_axi_bready,

    // Reads, observed: arvalid and rvalid are high in the cycle of the handshake.
    input wire [ID_W-1:0] arid,
    input wire [63:0] araddr,
    input wire arlock,
    input wire arvalid,
    input wire [ID_W-1:0] rid,
    input wire [DATA_W-1:0] rdata,
    input wire [5:0] rlane,
    input wire rerror,
    input wire rvalid,
    output wire rexclusive,

    output wire [DATA_W-1:0] m_axis_rq_tdata,
    output wire [DATA_W/32-1:0] m_axis_rq_tkeep,
    output wire m_axis_rq_tlast,
    output wire [RQ_USER_W-1:0] m_axis_rq_tuser,
    output wire [USER_W-1:0] m_axis_rq_info,
    output wire m_axis_rq_tvalid,
    input wire m_axis_rq_tready,

    input wire [DATA_W-1:0] s_axis_rc_tdata,
    input wire s_axis_rc_tlast,
    input wire [RC_USER_W-1:0] s_axis_rc_tuser,
    input wire s_axis_rc_tvalid,

    // One-cycle pulses: a failed AtomicOp with its user bits, address and reason; a completion is ours.
    output reg event_error,
    output wire [USER_W-1:0] event_user,
    output wire [63:0] event_addr,
    output reg [7:0] event_reason,
    output reg event_mine
);

  initial begin
    if (DATA_W != 128 && DATA_W != 256 && DATA_W != 512) begin
      $display("pcie_dma_cas: DATA_W must be 128, 256 or 512");
      $finish;
    end
  end

  localparam N = DATA_W / 32;
  localparam IDS = 1 << ID_W;
  localparam ROW = (N == 4) ? 4 : (N == 8) ? 5 : 6;
  localparam DISCONTINUE_AT = (DATA_W == 512) ? 96 : 42;
  localparam [7:0] TIMEOUT_TICKS = TIMEOUT[7:0];

  localparam [2:0] IDLE = 3'd0;
  localparam [2:0] DATA = 3'd1;
  localparam [2:0] SEND = 3'd2;
  localparam [2:0] WAIT = 3'd3;
  localparam [2:0] RESP = 3'd4;

  localparam [1:0] OKAY = 2'b00;
  localparam [1:0] EXOKAY = 2'b01;
  localparam [1:0] SLVERR = 2'b10;

  // ---- Exclusive reads: what each ID has read, and where
  reg [IDS-1:0] reading;
  reg [IDS-1:0] held;
  reg [60:0] held_addr[0:IDS-1];
  reg [63:0] held_data[0:IDS-1];

  assign rexclusive = reading[rid] && !rerror;

  always @(posedge clk) begin
    if (arvalid && arlock) held_addr[arid] <= araddr[63:3];
    if (rvalid && reading[rid]) held_data[rid] <= rdata[{rlane[ROW-1:3], 6'd0}+:64];
  end

  // ---- The exclusive write being done
  reg [2:0] state;
  reg [ID_W-1:0] id;
  reg [60:0] addr;
  reg [USER_W-1:0] user;
  reg fits;
  reg [63:0] compare;
  reg [63:0] swap;
  reg [1:0] resp;
  reg stale;

  // Bursts of the writer without their last W, and without their B.
  reg [7:0] w_open;
  reg [7:0] b_open;

  wire exclusive = s_axi_awvalid && s_axi_awlock;
  wire start = state == IDLE && exclusive && b_open == 8'd0 && w_open == 8'd0;
  wire plain_ok = state == IDLE && !(&w_open) && !(&b_open);
  wire aw_take = m_axi_awvalid && m_axi_awready;
  wire w_last = m_axi_wvalid && m_axi_wready && s_axi_wlast;
  wire b_take = m_axi_bvalid && m_axi_bready;

  assign m_axi_awvalid = s_axi_awvalid && !s_axi_awlock && plain_ok;
  assign s_axi_awready = s_axi_awlock ? start : m_axi_awready && plain_ok;
  assign m_axi_wvalid = s_axi_wvalid && w_open != 8'd0;
  assign s_axi_wready = (w_open != 8'd0) ? m_axi_wready : state == DATA;
  assign s_axi_bid = (state == RESP) ? id : m_axi_bid;
  assign s_axi_bresp = (state == RESP) ? resp : m_axi_bresp;
  assign s_axi_bvalid = state == RESP || m_axi_bvalid;
  assign m_axi_bready = state != RESP && s_axi_bready;

  always @(posedge clk) begin
    if (rst || flush) begin
      w_open <= 8'd0;
      b_open <= 8'd0;
    end else begin
      w_open <= w_open + {7'd0, aw_take} - {7'd0, w_last};
      b_open <= b_open + {7'd0, aw_take} - {7'd0, b_take};
    end
  end

  wire [IDS-1:0] ar_mask = {{(IDS - 1) {1'b0}}, 1'b1} << arid;
  wire [IDS-1:0] r_mask = {{(IDS - 1) {1'b0}}, 1'b1} << rid;
  wire [IDS-1:0] aw_mask = {{(IDS - 1) {1'b0}}, 1'b1} << s_axi_awid;
  wire ar_on = arvalid && arlock;
  wire r_on = rvalid && reading[rid];

  always @(posedge clk) begin
    if (rst || flush) begin
      reading <= {IDS{1'b0}};
      held <= {IDS{1'b0}};
    end else begin
      reading <= (reading & ~(r_on ? r_mask : {IDS{1'b0}})) | (ar_on ? ar_mask : {IDS{1'b0}});
      held <= (held | (r_on && !rerror ? r_mask : {IDS{1'b0}})) & ~(ar_on ? ar_mask : {IDS{1'b0}}) &
          ~(start ? aw_mask : {IDS{1'b0}});
    end
  end

  // ---- RC, x: the beat; y: the packet's outcome
  reg x_valid;
  reg x_first;
  reg x_last;
  reg x_cut;
  reg [DATA_W-1:0] x_data;
  reg y_mine;
  reg y_bad;
  reg [7:0] y_reason;
  reg y_ends;
  reg [31:0] y_low;

  wire [3:0] h_code = x_data[15:12];
  wire [2:0] h_status = x_data[45:43];
  wire h_poisoned = x_data[46];
  wire sent = state == WAIT || stale;
  wire h_mine = x_data[71:64] == TAG && sent && h_code != 4'd4 && h_code != 4'd6;
  wire h_bad = h_code != 4'd0 || h_status != 3'd0 || h_poisoned || x_data[42:32] != 11'd2;
  wire [7:0] h_reason = (h_code == 4'd9) ? `SVM_LINK_ERROR_TIMEOUT :
      (h_status == 3'd4) ? `SVM_LINK_ERROR_ABORTED : (h_status != 3'd0) ? `SVM_LINK_ERROR_UNSUPPORTED :
      (h_poisoned || h_code == 4'd1) ? `SVM_LINK_ERROR_POISONED : `SVM_LINK_ERROR_MALFORMED;

  wire p_mine = x_first ? h_mine : y_mine;
  wire p_bad = (x_first ? h_bad : y_bad) || x_cut;
  wire [7:0] p_reason = x_first ? h_reason : y_reason;
  wire p_ends = x_first ? x_data[30] : y_ends;
  wire [63:0] old;
  generate
    if (DATA_W == 128) begin : gen_old_two
      assign old = {x_data[31:0], y_low};
    end else begin : gen_old_one
      wire unused_low = &{1'b0, y_low};
      assign old = x_data[159:96];
    end
  endgenerate
  wire answer = x_valid && x_last && p_mine && p_ends;

  always @(posedge clk) begin
    x_data <= s_axis_rc_tdata;
    x_last <= s_axis_rc_tlast;
    x_cut  <= s_axis_rc_tuser[DISCONTINUE_AT];
    if (x_valid) begin
      y_mine <= p_mine;
      y_bad <= p_bad;
      y_reason <= p_reason;
      y_ends <= p_ends;
      y_low <= x_data[127:96];
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      x_valid <= 1'b0;
      x_first <= 1'b1;
      event_mine <= 1'b0;
    end else begin
      x_valid <= s_axis_rc_tvalid;
      if (x_valid) x_first <= x_last;
      event_mine <= x_valid && x_first && h_mine;
    end
  end

  // ---- Time
  reg [LOG_TICK-1:0] tick;
  reg [7:0] age;
  wire expired = age >= TIMEOUT_TICKS;

  always @(posedge clk) begin
    if (rst || state != WAIT) begin
      tick <= {LOG_TICK{1'b0}};
      age  <= 8'd0;
    end else begin
      tick <= tick + {{(LOG_TICK - 1) {1'b0}}, 1'b1};
      if (&tick) age <= age + 8'd1;
    end
  end

  // ---- Control
  wire rq_take = m_axis_rq_tvalid && m_axis_rq_tready;
  wire give_up = state == WAIT && expired && !answer;
  wire failed = state == WAIT && ((answer && p_bad) || give_up);

  always @(posedge clk) begin
    if (start) begin
      id <= s_axi_awid;
      addr <= s_axi_awaddr[63:3];
      user <= s_axi_awuser;
      compare <= held_data[s_axi_awid];
      fits <= held[s_axi_awid] && held_addr[s_axi_awid] == s_axi_awaddr[63:3] && s_axi_awlen == 8'd0 &&
          s_axi_awsize == 3'd3;
    end
    if (state == DATA && s_axi_wvalid) swap <= s_axi_wdata[{addr[ROW-4:0], 6'd0}+:64];
    if (state == DATA) resp <= (fits && (!enable || stale)) ? SLVERR : OKAY;
    if (state == SEND && !sending && !enable) resp <= SLVERR;
    if (state == WAIT) resp <= failed ? SLVERR : (old == compare) ? EXOKAY : OKAY;
    event_reason <= answer ? p_reason : `SVM_LINK_ERROR_TIMEOUT;
  end

  reg sending;
  always @(posedge clk) begin
    if (rst) begin
      state <= IDLE;
      stale <= 1'b0;
      sending <= 1'b0;
      event_error <= 1'b0;
    end else begin
      event_error <= failed;
      if (answer && state != WAIT) stale <= 1'b0;
      case (state)
        IDLE: if (start) state <= DATA;
        DATA:
        if (flush) state <= IDLE;
        else if (s_axi_wvalid && s_axi_wlast) state <= (fits && enable && !stale) ? SEND : RESP;
        SEND: begin
          if (rq_take) sending <= !m_axis_rq_tlast;
          if (rq_take && m_axis_rq_tlast) state <= WAIT;
          else if (!sending && !rq_take && !enable) state <= RESP;
        end
        WAIT: begin
          if (answer || give_up) state <= RESP;
          if (give_up) stale <= 1'b1;
        end
        default: if (s_axi_bready) state <= IDLE;
      endcase
    end
  end

  assign idle = state == IDLE;
  assign event_user = user;
  assign event_addr = {addr, 3'd0};

  // ---- RQ
  wire [127:0] header = {24'd0, TAG, 16'd0, 1'b0, 4'd6, 11'd4, addr, 1'b0, 2'b00};
  generate
    if (DATA_W == 128) begin : gen_two_beats
      assign m_axis_rq_tdata = sending ? {swap, compare} : header;
      assign m_axis_rq_tkeep = 4'hF;
      assign m_axis_rq_tlast = sending;
    end else if (DATA_W == 256) begin : gen_one_beat
      assign m_axis_rq_tdata = {swap, compare, header};
      assign m_axis_rq_tkeep = 8'hFF;
      assign m_axis_rq_tlast = 1'b1;
    end else begin : gen_half_beat
      assign m_axis_rq_tdata = {{(DATA_W - 256) {1'b0}}, swap, compare, header};
      assign m_axis_rq_tkeep = {{(N - 8) {1'b0}}, 8'hFF};
      assign m_axis_rq_tlast = 1'b1;
    end
    if (DATA_W == 512) begin : gen_user_512
      assign m_axis_rq_tuser = {105'd0, 4'd7, 1'b0, 1'b1, 4'd0, 1'b0, 1'b1, 4'd0, 4'd0, 4'hF, 4'd0, 4'hF};
    end else begin : gen_user
      assign m_axis_rq_tuser = {{(RQ_USER_W - 8) {1'b0}}, 8'hFF};
    end
  endgenerate
  assign m_axis_rq_info   = user;
  assign m_axis_rq_tvalid = state == SEND && (sending || enable);

  wire unused = &{1'b0, s_axis_rc_tuser, x_data, s_axi_awaddr[2:0], araddr[2:0], rlane};

endmodule

`default_nettype wire
