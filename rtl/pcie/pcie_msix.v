`resetall
`timescale 1ns / 1ps
`default_nettype none

// MSI-X: table (offset 0) and PBA (offset 0x800) of a 4-KiB AXI-Lite window; a pulse on irq becomes a one-dword memory
// write on RQ, so it never passes data written on RQ before it. A vector that is masked, or whose function is, stays
// pending and is sent when the mask opens. While enable = 0 (MSI-X or bus master off) pulses are dropped.
// Latency: irq to RQ valid 3 cycles. Throughput: one message every 3 cycles (4 at 128 bits).
// Invariant: a pending bit is cleared only by the message that carries it, or by enable = 0.
module pcie_msix #(
    parameter DATA_W = 128,
    parameter LOG_VECTORS = 2,
    parameter INFO_W = 28,
    parameter RQ_USER_W = (DATA_W == 512) ? 137 : 62
) (
    input wire clk,
    input wire rst,

    input wire enable,
    input wire function_mask,
    input wire [(1 << LOG_VECTORS)-1:0] irq,

    input wire [11:0] s_axil_awaddr,
    input wire s_axil_awvalid,
    output wire s_axil_awready,
    input wire [31:0] s_axil_wdata,
    input wire [3:0] s_axil_wstrb,
    input wire s_axil_wvalid,
    output wire s_axil_wready,
    output wire [1:0] s_axil_bresp,
    output reg s_axil_bvalid,
    input wire s_axil_bready,
    input wire [11:0] s_axil_araddr,
    input wire s_axil_arvalid,
    output wire s_axil_arready,
    output reg [31:0] s_axil_rdata,
    output wire [1:0] s_axil_rresp,
    output reg s_axil_rvalid,
    input wire s_axil_rready,

    output wire [DATA_W-1:0] m_axis_rq_tdata,
    output wire [DATA_W/32-1:0] m_axis_rq_tkeep,
    output wire m_axis_rq_tlast,
    output wire [RQ_USER_W-1:0] m_axis_rq_tuser,
    output wire [INFO_W-1:0] m_axis_rq_info,
    output wire m_axis_rq_tvalid,
    input wire m_axis_rq_tready
);

  localparam V = 1 << LOG_VECTORS;

  initial begin
    if (LOG_VECTORS < 1 || LOG_VECTORS > 5) begin
      $display("pcie_msix: 2 to 32 vectors");
      $finish;
    end
  end

  reg [31:0] addr_low[0:V-1];
  reg [31:0] addr_high[0:V-1];
  reg [31:0] data[0:V-1];
  reg [V-1:0] masked;
  reg [V-1:0] pending;

  // ---- Table and PBA
  wire wr_take = s_axil_awvalid && s_axil_wvalid && !s_axil_bvalid;
  wire rd_take = s_axil_arvalid && !s_axil_rvalid;
  assign s_axil_awready = wr_take;
  assign s_axil_wready  = wr_take;
  assign s_axil_arready = rd_take;
  assign s_axil_bresp   = 2'b00;
  assign s_axil_rresp   = 2'b00;

  wire [LOG_VECTORS-1:0] wr_row = s_axil_awaddr[4+:LOG_VECTORS];
  wire wr_table = wr_take && (s_axil_awaddr >> (4 + LOG_VECTORS)) == 12'd0;
  wire [LOG_VECTORS-1:0] rd_row = s_axil_araddr[4+:LOG_VECTORS];
  wire rd_table = (s_axil_araddr >> (4 + LOG_VECTORS)) == 12'd0;
  wire rd_pba = s_axil_araddr[11:2] == 10'h200;

  integer i;
  always @(posedge clk) begin
    for (i = 0; i < 4; i = i + 1) begin
      if (wr_table && s_axil_wstrb[i]) begin
        if (s_axil_awaddr[3:2] == 2'd0) addr_low[wr_row][8*i+:8] <= s_axil_wdata[8*i+:8];
        if (s_axil_awaddr[3:2] == 2'd1) addr_high[wr_row][8*i+:8] <= s_axil_wdata[8*i+:8];
        if (s_axil_awaddr[3:2] == 2'd2) data[wr_row][8*i+:8] <= s_axil_wdata[8*i+:8];
      end
    end
  end

  reg [31:0] field;
  always @* begin
    case (s_axil_araddr[3:2])
      2'd0: field = addr_low[rd_row];
      2'd1: field = addr_high[rd_row];
      2'd2: field = data[rd_row];
      default: field = {31'd0, masked[rd_row]};
    endcase
  end

  always @(posedge clk) begin
    if (rd_take) begin
      s_axil_rdata <= rd_table ? field : 32'd0;
      if (rd_pba) s_axil_rdata <= {{(32 - V) {1'b0}}, pending};
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      s_axil_bvalid <= 1'b0;
      s_axil_rvalid <= 1'b0;
      masked <= {V{1'b1}};
    end else begin
      if (wr_take) s_axil_bvalid <= 1'b1;
      else if (s_axil_bready) s_axil_bvalid <= 1'b0;
      if (rd_take) s_axil_rvalid <= 1'b1;
      else if (s_axil_rready) s_axil_rvalid <= 1'b0;
      if (wr_table && s_axil_awaddr[3:2] == 2'd3 && s_axil_wstrb[0]) masked[wr_row] <= s_axil_wdata[0];
    end
  end

  // ---- Messages
  reg busy;
  reg second;
  reg [127:0] header;
  reg [31:0] message;

  wire [V-1:0] sendable = pending & ~masked & {V{enable && !function_mask}};
  wire [V-1:0] pick;
  wire start = !busy && sendable != {V{1'b0}};

  arb_rr #(
      .N(V)
  ) arb (
      .clk(clk),
      .rst(rst),
      .req(sendable),
      .grant(pick),
      .advance(start)
  );

  reg [LOG_VECTORS-1:0] row;
  integer k;
  always @* begin
    row = {LOG_VECTORS{1'b0}};
    for (k = 0; k < V; k = k + 1) if (pick[k]) row = row | k[LOG_VECTORS-1:0];
  end

  wire rq_take = m_axis_rq_tvalid && m_axis_rq_tready;

  always @(posedge clk) begin
    if (start) begin
      header  <= {32'd0, 16'd0, 1'b0, 4'd1, 11'd1, addr_high[row], addr_low[row][31:2], 2'b00};
      message <= data[row];
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      pending <= {V{1'b0}};
      busy <= 1'b0;
      second <= 1'b0;
    end else begin
      pending <= enable ? (pending & ~(start ? pick : {V{1'b0}})) | irq : {V{1'b0}};
      if (start) busy <= 1'b1;
      else if (rq_take && m_axis_rq_tlast) busy <= 1'b0;
      if (rq_take) second <= !m_axis_rq_tlast;
    end
  end

  generate
    if (DATA_W == 128) begin : gen_two_beats
      assign m_axis_rq_tdata = second ? {96'd0, message} : header;
      assign m_axis_rq_tkeep = second ? 4'h1 : 4'hF;
      assign m_axis_rq_tlast = second;
    end else begin : gen_one_beat
      wire unused_second = second;
      assign m_axis_rq_tdata = {{(DATA_W - 160) {1'b0}}, message, header};
      assign m_axis_rq_tkeep = {{(DATA_W / 32 - 5) {1'b0}}, 5'h1F};
      assign m_axis_rq_tlast = 1'b1;
    end
    if (DATA_W == 512) begin : gen_user_512
      assign m_axis_rq_tuser = {105'd0, 4'd4, 1'b0, 1'b1, 4'd0, 1'b0, 1'b1, 16'd0, 4'hF};
    end else begin : gen_user
      assign m_axis_rq_tuser = {{(RQ_USER_W - 4) {1'b0}}, 4'hF};
    end
  endgenerate
  assign m_axis_rq_info   = {INFO_W{1'b0}};
  assign m_axis_rq_tvalid = busy;

  wire unused = &{1'b0, s_axil_awaddr[1:0], s_axil_araddr[1:0]};

endmodule

`default_nettype wire
