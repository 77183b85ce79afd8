`resetall
`timescale 1ns / 1ps
`default_nettype none

// AXI4-Lite subordinate in front of a register file: turns accesses into write pulses and held read addresses.
// Latency: write 1 cycle to wr_en; read RD_CYCLES cycles from AR to the sample of rd_data. One write and one read at a time.
// Invariants: a write with a partial strobe has no effect; every response is OKAY.
module axil_regs #(
    parameter RD_CYCLES = 4
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

    output reg wr_en,
    output reg [15:0] wr_addr,
    output reg [31:0] wr_data,

    output reg [15:0] rd_addr,
    output wire rd_sample,
    input wire [31:0] rd_data
);

  initial begin
    if (RD_CYCLES < 2 || RD_CYCLES > 7) begin
      $display("axil_regs: RD_CYCLES must be 2 to 7");
      $finish;
    end
  end

  // The first of AW and W waits for the other.
  reg b_full;
  wire wr_take = s_axil_awvalid && s_axil_wvalid && (!b_full || s_axil_bready);

  assign s_axil_awready = wr_take;
  assign s_axil_wready = wr_take;
  assign s_axil_bresp = 2'b00;
  assign s_axil_bvalid = b_full;

  always @(posedge clk) begin
    if (rst) begin
      b_full <= 1'b0;
      wr_en  <= 1'b0;
    end else begin
      wr_en <= wr_take && s_axil_wstrb == 4'hF;
      if (wr_take) b_full <= 1'b1;
      else if (s_axil_bready) b_full <= 1'b0;
    end
  end

  always @(posedge clk) begin
    if (wr_take) begin
      wr_addr <= s_axil_awaddr;
      wr_data <= s_axil_wdata;
    end
  end

  // Read: the address is held for RD_CYCLES cycles, then the data is sampled.
  localparam [2:0] RD_LAST = RD_CYCLES - 1;
  reg rd_busy;
  reg [2:0] rd_count;
  reg r_full;
  reg [31:0] r_data;

  assign s_axil_arready = !rd_busy && !r_full;
  assign s_axil_rdata = r_data;
  assign s_axil_rresp = 2'b00;
  assign s_axil_rvalid = r_full;
  assign rd_sample = rd_busy && rd_count == RD_LAST;

  always @(posedge clk) begin
    if (s_axil_arvalid && s_axil_arready) rd_addr <= s_axil_araddr;
    if (rd_sample) r_data <= rd_data;
  end

  always @(posedge clk) begin
    if (rst) begin
      rd_busy <= 1'b0;
      rd_count <= 3'd0;
      r_full <= 1'b0;
    end else begin
      if (s_axil_arvalid && s_axil_arready) rd_busy <= 1'b1;
      else if (rd_sample) rd_busy <= 1'b0;
      rd_count <= rd_busy ? rd_count + 3'd1 : 3'd0;
      if (rd_sample) r_full <= 1'b1;
      else if (s_axil_rready) r_full <= 1'b0;
    end
  end

  wire unused_prot = &{1'b0, s_axil_awprot, s_axil_arprot};
endmodule

`default_nettype wire
