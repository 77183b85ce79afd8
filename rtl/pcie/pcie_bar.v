`resetall
`timescale 1ns / 1ps
`default_nettype none

// Completer of one BAR: CQ requests become AXI4-Lite accesses, read results leave on CC.
// Memory reads and writes of 1 and 2 dwords with every legal byte enable are served; any other non-posted request
// is answered UR, any other posted one is dropped and pulses `unsupported`. An AXI-Lite error answers a read CA.
// A dword without an enabled byte makes no AXI-Lite access. A write whose payload was discontinued has no effect.
// Latency: CQ first beat to AXI-Lite valid 2 cycles (3 at 128 bits with data), R to CC 1. One request at a time.
// Invariant: exactly one completion for each non-posted request, none for a posted one, in CQ order.
module pcie_bar #(
    parameter DATA_W = 128,
    parameter ADDR_W = 16,
    parameter BAR = 0,
    parameter CQ_USER_W = (DATA_W == 512) ? 183 : 88,
    parameter CC_USER_W = (DATA_W == 512) ? 81 : 33
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

    output wire [ADDR_W-1:0] m_axil_awaddr,
    output wire [2:0] m_axil_awprot,
    output wire m_axil_awvalid,
    input wire m_axil_awready,
    output wire [31:0] m_axil_wdata,
    output wire [3:0] m_axil_wstrb,
    output wire m_axil_wvalid,
    input wire m_axil_wready,
    input wire [1:0] m_axil_bresp,
    input wire m_axil_bvalid,
    output wire m_axil_bready,
    output wire [ADDR_W-1:0] m_axil_araddr,
    output wire [2:0] m_axil_arprot,
    output wire m_axil_arvalid,
    input wire m_axil_arready,
    input wire [31:0] m_axil_rdata,
    input wire [1:0] m_axil_rresp,
    input wire m_axil_rvalid,
    output wire m_axil_rready,

    output reg unsupported
);

  initial begin
    if (DATA_W != 128 && DATA_W != 256 && DATA_W != 512) begin
      $display("pcie_bar: DATA_W must be 128, 256 or 512");
      $finish;
    end
  end

  localparam LANES = DATA_W / 32;
  localparam LAST_BE_AT = (DATA_W == 512) ? 8 : 4;
  localparam DISCONTINUE_AT = (DATA_W == 512) ? 96 : 41;
  localparam PAYLOAD_AT = (DATA_W == 128) ? 0 : 128;
  localparam [2:0] BAR_ID = BAR[2:0];

  localparam [3:0] REQ_READ = 4'h0;
  localparam [3:0] REQ_WRITE = 4'h1;
  localparam [3:0] REQ_LOCKED = 4'h7;
  localparam [2:0] STATUS_SC = 3'd0;
  localparam [2:0] STATUS_UR = 3'd1;
  localparam [2:0] STATUS_CA = 3'd4;

  localparam [2:0] IDLE = 3'd0;
  localparam [2:0] MORE = 3'd1;
  localparam [2:0] EXEC = 3'd2;
  localparam [2:0] WRITE = 3'd3;
  localparam [2:0] READ = 3'd4;
  localparam [2:0] REPLY = 3'd5;
  localparam [2:0] REPLY_MORE = 3'd6;

  reg [2:0] state;

  // The request: its descriptor, byte enables and up to two dwords of payload.
  reg [127:0] desc;
  reg [3:0] first_be;
  reg [3:0] last_be;
  reg [63:0] payload;
  reg second_beat;
  reg broken;

  // Progress of the AXI-Lite accesses.
  reg dword;
  reg aw_open;
  reg w_open;
  reg ar_open;
  reg [2:0] status;
  reg [63:0] result;

  wire [10:0] count = desc[74:64];
  wire [3:0] kind = desc[78:75];
  wire two = count == 11'd2;
  wire sized = (count == 11'd1 && last_be == 4'd0) || (two && first_be != 4'd0 && last_be != 4'd0);
  wire in_bar = !(two && (&desc[ADDR_W-1:2]));
  wire served = sized && in_bar && desc[114:112] == BAR_ID;
  wire posted = kind == REQ_WRITE || kind[3];

  wire [3:0] be = dword ? last_be : first_be;
  wire [ADDR_W-1:0] base = {desc[ADDR_W-1:2], 2'b00};
  wire [ADDR_W-1:0] addr = dword ? base + {{(ADDR_W - 3) {1'b0}}, 3'd4} : base;
  wire final_dword = dword == two;

  // Bytes skipped before the first and after the last enabled byte.
  wire [3:0] end_be = (count == 11'd1) ? first_be : last_be;
  wire [1:0] lead = first_be[0] ? 2'd0 : first_be[1] ? 2'd1 : first_be[2] ? 2'd2 : first_be[3] ? 2'd3 : 2'd0;
  wire [1:0] trail = end_be[3] ? 2'd0 : end_be[2] ? 2'd1 : end_be[1] ? 2'd2 : 2'd3;
  wire reads_memory = kind == REQ_READ || kind == REQ_LOCKED;
  wire [12:0] byte_count =
      reads_memory ? {count, 2'b00} - {11'd0, lead} - {11'd0, trail} : 13'd4;
  wire [6:0] lower_addr = reads_memory ? {desc[6:2], lead} : 7'd0;
  wire good = status == STATUS_SC;

  // Descriptor, then the data; after an error the request itself, which the hard block logs.
  wire [31:0] cc0 = {2'b00, kind == REQ_LOCKED, byte_count, 6'd0, desc[1:0], 1'b0, lower_addr};
  wire [31:0] cc1 = {desc[95:80], 2'b00, status, good ? count : 11'd0};
  wire [31:0] cc2 = {1'b0, desc[126:124], desc[123:121], 1'b0, 8'd0, desc[111:104], desc[103:96]};
  wire [159:0] cc_tail = good ? {96'd0, result} : {desc, 24'd0, last_be, first_be};
  wire [255:0] cc_word = {cc_tail, cc2, cc1, cc0};
  wire [3:0] cc_dwords = good ? 4'd3 + count[3:0] : 4'd8;
  wire [7:0] cc_keep = 8'hFF >> (4'd8 - cc_dwords);

  assign s_axis_cq_tready = state == IDLE || state == MORE;

  assign m_axil_awaddr = addr;
  assign m_axil_awprot = 3'd0;
  assign m_axil_awvalid = aw_open;
  assign m_axil_wdata = dword ? payload[63:32] : payload[31:0];
  assign m_axil_wstrb = be;
  assign m_axil_wvalid = w_open;
  assign m_axil_bready = state == WRITE && !aw_open && !w_open;
  assign m_axil_araddr = addr;
  assign m_axil_arprot = 3'd0;
  assign m_axil_arvalid = ar_open;
  assign m_axil_rready = state == READ && !ar_open;

  wire cc_last;
  wire [1:0] cc_sop_eop;

  generate
    if (DATA_W == 128) begin : gen_two_beats
      wire more = state == REPLY_MORE;
      assign m_axis_cc_tdata = more ? cc_word[255:128] : cc_word[127:0];
      assign m_axis_cc_tkeep = more ? cc_keep[7:4] : cc_keep[3:0];
      assign cc_last = more || cc_dwords <= 4'd4;
    end else if (DATA_W == 256) begin : gen_one_beat
      assign m_axis_cc_tdata = cc_word;
      assign m_axis_cc_tkeep = cc_keep;
      assign cc_last = 1'b1;
    end else begin : gen_half_beat
      assign m_axis_cc_tdata = {{(DATA_W - 256) {1'b0}}, cc_word};
      assign m_axis_cc_tkeep = {{(LANES - 8) {1'b0}}, cc_keep};
      assign cc_last = 1'b1;
    end
    if (DATA_W == 512) begin : gen_marks
      wire [3:0] end_lane = cc_dwords - 4'd1;
      assign m_axis_cc_tuser = {
        {(CC_USER_W - 12) {1'b0}}, end_lane, 1'b0, cc_sop_eop[1], 4'd0, 1'b0, cc_sop_eop[0]
      };
    end else begin : gen_no_marks
      wire [1:0] unused_marks = cc_sop_eop;
      assign m_axis_cc_tuser = {CC_USER_W{1'b0}};
    end
  endgenerate

  assign cc_sop_eop = {cc_last, state == REPLY};
  assign m_axis_cc_tlast = cc_last;
  assign m_axis_cc_tvalid = state == REPLY || state == REPLY_MORE;

  wire cq_take = s_axis_cq_tvalid && s_axis_cq_tready;
  wire cc_take = m_axis_cc_tvalid && m_axis_cc_tready;

  wire unused = &{
    1'b0,
    s_axis_cq_tkeep,
    s_axis_cq_tuser,
    s_axis_cq_tdata,
    m_axil_bresp,
    m_axil_rresp[0],
    end_be[0],
    desc[127],
    desc[120:115]
  };

  // Request capture.
  always @(posedge clk) begin
    if (cq_take) begin
      if (state == IDLE) begin
        desc <= s_axis_cq_tdata[127:0];
        first_be <= s_axis_cq_tuser[3:0];
        last_be <= s_axis_cq_tuser[LAST_BE_AT+:4];
        payload <= s_axis_cq_tdata[PAYLOAD_AT+:64];
        broken <= s_axis_cq_tuser[DISCONTINUE_AT];
        second_beat <= 1'b1;
      end else begin
        if (DATA_W == 128 && second_beat) payload <= s_axis_cq_tdata[63:0];
        broken <= broken || s_axis_cq_tuser[DISCONTINUE_AT];
        second_beat <= 1'b0;
      end
    end
    if (state == IDLE) begin
      status <= STATUS_SC;
      result <= 64'd0;
    end
    if (state == EXEC && !(served && kind == REQ_READ)) status <= STATUS_UR;
    if (m_axil_rvalid && m_axil_rready) begin
      if (dword) result[63:32] <= m_axil_rdata;
      else result[31:0] <= m_axil_rdata;
      if (m_axil_rresp[1]) status <= STATUS_CA;
    end
  end

  // Control.
  always @(posedge clk) begin
    unsupported <= 1'b0;
    if (m_axil_awready) aw_open <= 1'b0;
    if (m_axil_wready) w_open <= 1'b0;
    if (m_axil_arready) ar_open <= 1'b0;
    case (state)
      IDLE: begin
        dword <= 1'b0;
        if (cq_take) state <= s_axis_cq_tlast ? EXEC : MORE;
      end
      MORE: if (cq_take && s_axis_cq_tlast) state <= EXEC;
      EXEC: begin
        if (served && kind == REQ_WRITE && !broken) begin
          state   <= WRITE;
          aw_open <= first_be != 4'd0;
          w_open  <= first_be != 4'd0;
        end else if (served && kind == REQ_READ) begin
          state   <= READ;
          ar_open <= first_be != 4'd0;
        end else begin
          state <= posted ? IDLE : REPLY;
          unsupported <= 1'b1;
        end
      end
      WRITE:
      if (be == 4'd0 || (m_axil_bvalid && m_axil_bready)) begin
        dword <= 1'b1;
        if (final_dword) state <= IDLE;
        else begin
          aw_open <= 1'b1;
          w_open  <= 1'b1;
        end
      end
      READ:
      if (be == 4'd0 || (m_axil_rvalid && m_axil_rready)) begin
        dword <= 1'b1;
        if (final_dword) state <= REPLY;
        else ar_open <= 1'b1;
      end
      REPLY: if (cc_take) state <= cc_last ? IDLE : REPLY_MORE;
      default: if (cc_take) state <= IDLE;
    endcase
    if (rst) begin
      state <= IDLE;
      aw_open <= 1'b0;
      w_open <= 1'b0;
      ar_open <= 1'b0;
      unsupported <= 1'b0;
    end
  end

endmodule

`default_nettype wire
