`resetall
`timescale 1ns / 1ps
`default_nettype none

// The six registers of one ring. TO_DEVICE = 1: the host writes TAIL and the device counts HEAD; 0: the reverse.
// Latency: wr_en to the outputs 1 cycle; rd_data is combinational and zero when rd_addr is not in this ring.
// Invariants: BASE is 4-KiB aligned and SIZE is 4 to 16; both change only while the ring is disabled. Disabling clears the
// host's count. CTRL bit 0 reads 1 until the bus accesses of a disabled ring have ended: then its memory may be reused.
module ring_regs #(
    parameter [15:0] OFFSET = 16'h0040,
    parameter TO_DEVICE = 1
) (
    input wire clk,
    input wire rst,

    input wire wr_en,
    input wire [15:0] wr_addr,
    input wire [31:0] wr_data,
    input wire [15:0] rd_addr,
    output reg [31:0] rd_data,

    output wire [63:0] base,
    output wire [4:0] log_size,
    output wire enable,
    output wire [16:0] host_count,
    input wire [16:0] device_count,
    input wire busy,
    input wire halted
);

  localparam [15:0] BASE_LO = OFFSET + 16'h00;
  localparam [15:0] BASE_HI = OFFSET + 16'h04;
  localparam [15:0] SIZE = OFFSET + 16'h08;
  localparam [15:0] TAIL = OFFSET + 16'h0C;
  localparam [15:0] HEAD = OFFSET + 16'h10;
  localparam [15:0] CTRL = OFFSET + 16'h14;
  localparam [15:0] HOST = (TO_DEVICE != 0) ? TAIL : HEAD;

  reg [51:0] base_page;
  reg [4:0] size_log;
  reg on;
  reg [16:0] count;

  assign base = {base_page, 12'd0};
  assign log_size = size_log;
  assign enable = on;
  assign host_count = count;

  always @(posedge clk) begin
    if (rst) begin
      base_page <= 52'd0;
      size_log  <= 5'd4;
    end else if (wr_en && !on) begin
      if (wr_addr == BASE_LO) base_page[19:0] <= wr_data[31:12];
      if (wr_addr == BASE_HI) base_page[51:20] <= wr_data;
      if (wr_addr == SIZE) size_log <= (wr_data < 32'd4) ? 5'd4 : (wr_data > 32'd16) ? 5'd16 : wr_data[4:0];
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      on <= 1'b0;
      count <= 17'd0;
    end else begin
      if (wr_en && wr_addr == CTRL) on <= wr_data[0];
      if (!on) count <= 17'd0;
      else if (wr_en && wr_addr == HOST) count <= wr_data[16:0];
    end
  end

  wire [16:0] tail = (TO_DEVICE != 0) ? count : device_count;
  wire [16:0] head = (TO_DEVICE != 0) ? device_count : count;

  always @* begin
    case (rd_addr)
      BASE_LO: rd_data = base[31:0];
      BASE_HI: rd_data = base[63:32];
      SIZE: rd_data = {27'd0, size_log};
      TAIL: rd_data = {15'd0, tail};
      HEAD: rd_data = {15'd0, head};
      CTRL: rd_data = {30'd0, halted, on || busy};
      default: rd_data = 32'd0;
    endcase
  end
endmodule

`default_nettype wire
