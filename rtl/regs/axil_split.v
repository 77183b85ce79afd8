`resetall
`timescale 1ns / 1ps
`default_nettype none

// AXI4-Lite 1:2 split on one address bit, one write and one read outstanding.
// Latency: write 1, read 0 cycles; an access waits at the port until the one before it in its direction has its response.
// Invariant: a response comes from the side that took the access.
module axil_split #(
    parameter SEL_BIT = 12
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

    output wire [15:0] m0_axil_awaddr,
    output wire [2:0] m0_axil_awprot,
    output wire m0_axil_awvalid,
    input wire m0_axil_awready,
    output wire [31:0] m0_axil_wdata,
    output wire [3:0] m0_axil_wstrb,
    output wire m0_axil_wvalid,
    input wire m0_axil_wready,
    input wire [1:0] m0_axil_bresp,
    input wire m0_axil_bvalid,
    output wire m0_axil_bready,
    output wire [15:0] m0_axil_araddr,
    output wire [2:0] m0_axil_arprot,
    output wire m0_axil_arvalid,
    input wire m0_axil_arready,
    input wire [31:0] m0_axil_rdata,
    input wire [1:0] m0_axil_rresp,
    input wire m0_axil_rvalid,
    output wire m0_axil_rready,

    output wire [15:0] m1_axil_awaddr,
    output wire [2:0] m1_axil_awprot,
    output wire m1_axil_awvalid,
    input wire m1_axil_awready,
    output wire [31:0] m1_axil_wdata,
    output wire [3:0] m1_axil_wstrb,
    output wire m1_axil_wvalid,
    input wire m1_axil_wready,
    input wire [1:0] m1_axil_bresp,
    input wire m1_axil_bvalid,
    output wire m1_axil_bready,
    output wire [15:0] m1_axil_araddr,
    output wire [2:0] m1_axil_arprot,
    output wire m1_axil_arvalid,
    input wire m1_axil_arready,
    input wire [31:0] m1_axil_rdata,
    input wire [1:0] m1_axil_rresp,
    input wire m1_axil_rvalid,
    output wire m1_axil_rready
);

  // Write: AW and W are taken together and handed on, each when the side is ready for it.
  reg wr_busy;
  reg wr_side;
  reg aw_due;
  reg w_due;
  reg [15:0] wr_addr;
  reg [2:0] wr_prot;
  reg [31:0] wr_data;
  reg [3:0] wr_strb;
  wire wr_take = s_axil_awvalid && s_axil_wvalid && !wr_busy;

  always @(posedge clk) begin
    if (wr_take) begin
      wr_side <= s_axil_awaddr[SEL_BIT];
      wr_addr <= s_axil_awaddr;
      wr_prot <= s_axil_awprot;
      wr_data <= s_axil_wdata;
      wr_strb <= s_axil_wstrb;
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      wr_busy <= 1'b0;
      aw_due  <= 1'b0;
      w_due   <= 1'b0;
    end else if (wr_take) begin
      wr_busy <= 1'b1;
      aw_due  <= 1'b1;
      w_due   <= 1'b1;
    end else begin
      if (s_axil_bvalid && s_axil_bready) wr_busy <= 1'b0;
      if (wr_side ? m1_axil_awready : m0_axil_awready) aw_due <= 1'b0;
      if (wr_side ? m1_axil_wready : m0_axil_wready) w_due <= 1'b0;
    end
  end

  // Read: handed on in the cycle in which it comes.
  reg rd_busy;
  reg rd_busy_side;
  wire rd_side = s_axil_araddr[SEL_BIT];
  wire rd_taken = s_axil_arvalid && s_axil_arready;

  always @(posedge clk) begin
    if (rst) begin
      rd_busy <= 1'b0;
      rd_busy_side <= 1'b0;
    end else if (rd_taken) begin
      rd_busy <= 1'b1;
      rd_busy_side <= rd_side;
    end else if (s_axil_rvalid && s_axil_rready) begin
      rd_busy <= 1'b0;
    end
  end

  assign s_axil_awready = wr_take;
  assign s_axil_wready = wr_take;
  assign s_axil_bresp = wr_side ? m1_axil_bresp : m0_axil_bresp;
  assign s_axil_bvalid = wr_busy && (wr_side ? m1_axil_bvalid : m0_axil_bvalid);
  assign s_axil_arready = !rd_busy && (rd_side ? m1_axil_arready : m0_axil_arready);
  assign s_axil_rdata = rd_busy_side ? m1_axil_rdata : m0_axil_rdata;
  assign s_axil_rresp = rd_busy_side ? m1_axil_rresp : m0_axil_rresp;
  assign s_axil_rvalid = rd_busy && (rd_busy_side ? m1_axil_rvalid : m0_axil_rvalid);

  assign m0_axil_awaddr = wr_addr;
  assign m0_axil_awprot = wr_prot;
  assign m0_axil_awvalid = aw_due && !wr_side;
  assign m0_axil_wdata = wr_data;
  assign m0_axil_wstrb = wr_strb;
  assign m0_axil_wvalid = w_due && !wr_side;
  assign m0_axil_bready = s_axil_bready && wr_busy && !wr_side;
  assign m0_axil_araddr = s_axil_araddr;
  assign m0_axil_arprot = s_axil_arprot;
  assign m0_axil_arvalid = s_axil_arvalid && !rd_busy && !rd_side;
  assign m0_axil_rready = s_axil_rready && rd_busy && !rd_busy_side;

  assign m1_axil_awaddr = wr_addr;
  assign m1_axil_awprot = wr_prot;
  assign m1_axil_awvalid = aw_due && wr_side;
  assign m1_axil_wdata = wr_data;
  assign m1_axil_wstrb = wr_strb;
  assign m1_axil_wvalid = w_due && wr_side;
  assign m1_axil_bready = s_axil_bready && wr_busy && wr_side;
  assign m1_axil_araddr = s_axil_araddr;
  assign m1_axil_arprot = s_axil_arprot;
  assign m1_axil_arvalid = s_axil_arvalid && !rd_busy && rd_side;
  assign m1_axil_rready = s_axil_rready && rd_busy && rd_busy_side;
endmodule

`default_nettype wire
