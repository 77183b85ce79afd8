`resetall
`timescale 1ns / 1ps
`default_nettype none
`include "svm_defs.vh"

// Register file of the access engine: identity, control, status, the WORK and DONE rings.
// Latency: a write acts 2 cycles after AW and W, a read answers 6 cycles after AR.
module engine_regs (
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

    output wire [63:0] work_base,
    output wire [4:0] work_log_size,
    output wire work_enable,
    output wire [16:0] work_tail,
    input wire [16:0] work_head,
    input wire work_busy,
    input wire work_halted,

    output wire [63:0] done_base,
    output wire [4:0] done_log_size,
    output wire done_enable,
    output wire [16:0] done_head,
    input wire [16:0] done_tail,
    input wire done_busy,
    input wire done_halted,

    output wire cfg_enable,
    input wire idle,
    input wire [15:0] in_flight
);

  wire wr_en;
  wire [15:0] wr_addr;
  wire [31:0] wr_data;
  wire [15:0] rd_addr;
  wire rd_sample;
  reg [31:0] rd_data;

  axil_regs u_axil (
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
      .wr_en(wr_en),
      .wr_addr(wr_addr),
      .wr_data(wr_data),
      .rd_addr(rd_addr),
      .rd_sample(rd_sample),
      .rd_data(rd_data)
  );

  wire [31:0] work_rd_data;

  ring_regs #(
      .OFFSET(`SVM_REG_WORK_BASE_LO),
      .TO_DEVICE(1)
  ) u_work (
      .clk(clk),
      .rst(rst),
      .wr_en(wr_en),
      .wr_addr(wr_addr),
      .wr_data(wr_data),
      .rd_addr(rd_addr),
      .rd_data(work_rd_data),
      .base(work_base),
      .log_size(work_log_size),
      .enable(work_enable),
      .host_count(work_tail),
      .device_count(work_head),
      .busy(work_busy),
      .halted(work_halted)
  );

  wire [31:0] done_rd_data;

  ring_regs #(
      .OFFSET(`SVM_REG_DONE_BASE_LO),
      .TO_DEVICE(0)
  ) u_done (
      .clk(clk),
      .rst(rst),
      .wr_en(wr_en),
      .wr_addr(wr_addr),
      .wr_data(wr_data),
      .rd_addr(rd_addr),
      .rd_data(done_rd_data),
      .base(done_base),
      .log_size(done_log_size),
      .enable(done_enable),
      .host_count(done_head),
      .device_count(done_tail),
      .busy(done_busy),
      .halted(done_halted)
  );

  reg ctrl_enable;
  assign cfg_enable = ctrl_enable;

  always @(posedge clk) begin
    if (rst) ctrl_enable <= 1'b0;
    else if (wr_en && wr_addr == `SVM_REG_ENGINE_CTRL) ctrl_enable <= wr_data[0];
  end

  wire [31:0] ring_rd_data = work_rd_data | done_rd_data;

  always @* begin
    case (rd_addr)
      `SVM_REG_ENGINE_ID: rd_data = `SVM_ENGINE_MAGIC;
      `SVM_REG_ENGINE_CTRL: rd_data = {31'd0, ctrl_enable};
      `SVM_REG_ENGINE_STATUS: rd_data = {in_flight, 15'd0, idle};
      default: rd_data = ring_rd_data;
    endcase
  end

  wire unused_sample = rd_sample;
endmodule

`default_nettype wire
