`resetall
`timescale 1ns / 1ps
`default_nettype none
`include "svm_defs.vh"

// Register file of the MMU: identity, control, interrupts, the CMD, FAULT and EVENT rings, the counters.
// Latency: a write acts 2 cycles after AW and W, a read answers 6 cycles after AR.
// Invariants: reading the low half of a counter latches its high half; an interrupt of a masked vector is kept in
// IRQ_STATUS and sent once when the vector is enabled.
module mmu_regs #(
    parameter [31:0] CAP0 = 32'd0,
    parameter [31:0] CAP1 = 32'd0
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

    output wire [63:0] cmd_base,
    output wire [4:0] cmd_log_size,
    output wire cmd_enable,
    output wire [16:0] cmd_tail,
    input wire [16:0] cmd_head,
    input wire cmd_busy,
    input wire cmd_halted,

    output wire [63:0] fault_base,
    output wire [4:0] fault_log_size,
    output wire fault_enable,
    output wire [16:0] fault_head,
    input wire [16:0] fault_tail,
    input wire fault_busy,
    input wire fault_halted,

    output wire [63:0] event_base,
    output wire [4:0] event_log_size,
    output wire event_enable,
    output wire [16:0] event_head,
    input wire [16:0] event_tail,
    input wire event_busy,
    input wire event_halted,

    output wire cfg_enable,
    input wire ready,
    output wire [4:0] stat_addr,
    input wire [63:0] stat_data,

    input wire [3:0] irq_in,
    output reg [3:0] irq
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

  wire [31:0] cmd_rd_data;

  ring_regs #(
      .OFFSET(`SVM_REG_CMD_BASE_LO),
      .TO_DEVICE(1)
  ) u_cmd (
      .clk(clk),
      .rst(rst),
      .wr_en(wr_en),
      .wr_addr(wr_addr),
      .wr_data(wr_data),
      .rd_addr(rd_addr),
      .rd_data(cmd_rd_data),
      .base(cmd_base),
      .log_size(cmd_log_size),
      .enable(cmd_enable),
      .host_count(cmd_tail),
      .device_count(cmd_head),
      .busy(cmd_busy),
      .halted(cmd_halted)
  );

  wire [31:0] fault_rd_data;

  ring_regs #(
      .OFFSET(`SVM_REG_FAULT_BASE_LO),
      .TO_DEVICE(0)
  ) u_fault (
      .clk(clk),
      .rst(rst),
      .wr_en(wr_en),
      .wr_addr(wr_addr),
      .wr_data(wr_data),
      .rd_addr(rd_addr),
      .rd_data(fault_rd_data),
      .base(fault_base),
      .log_size(fault_log_size),
      .enable(fault_enable),
      .host_count(fault_head),
      .device_count(fault_tail),
      .busy(fault_busy),
      .halted(fault_halted)
  );

  wire [31:0] event_rd_data;

  ring_regs #(
      .OFFSET(`SVM_REG_EVENT_BASE_LO),
      .TO_DEVICE(0)
  ) u_event (
      .clk(clk),
      .rst(rst),
      .wr_en(wr_en),
      .wr_addr(wr_addr),
      .wr_data(wr_data),
      .rd_addr(rd_addr),
      .rd_data(event_rd_data),
      .base(event_base),
      .log_size(event_log_size),
      .enable(event_enable),
      .host_count(event_head),
      .device_count(event_tail),
      .busy(event_busy),
      .halted(event_halted)
  );

  // Control and interrupts.
  reg ctrl_enable;
  reg [3:0] irq_enable;
  reg [3:0] irq_pending;
  assign cfg_enable = ctrl_enable;

  wire wr_status = wr_en && wr_addr == `SVM_REG_IRQ_STATUS;
  wire [3:0] irq_clear = wr_status ? wr_data[3:0] : 4'd0;
  wire [3:0] irq_due = irq_in | (irq_pending & ~irq_clear);

  // A busy engine completes work faster than a host wants interrupts: what comes too soon waits as pending.
  localparam [3:0] DONE_BIT = 4'd1 << `SVM_IRQ_DONE;
  reg [15:0] holdoff;
  reg [15:0] holdoff_left;
  wire [3:0] irq_open = irq_enable & ~((holdoff_left != 16'd0) ? DONE_BIT : 4'd0);

  always @(posedge clk) begin
    if (rst) begin
      ctrl_enable <= 1'b0;
      irq_enable <= 4'd0;
      holdoff <= 16'd0;
      holdoff_left <= 16'd0;
      irq_pending <= 4'd0;
      irq <= 4'd0;
    end else begin
      if (wr_en && wr_addr == `SVM_REG_CTRL) ctrl_enable <= wr_data[0];
      if (wr_en && wr_addr == `SVM_REG_IRQ_ENABLE) irq_enable <= wr_data[3:0];
      if (wr_en && wr_addr == `SVM_REG_DONE_HOLDOFF) holdoff <= wr_data[15:0];
      if ((irq_due & irq_open & DONE_BIT) != 4'd0) holdoff_left <= holdoff;
      else if (holdoff_left != 16'd0) holdoff_left <= holdoff_left - 16'd1;
      irq_pending <= irq_due & ~irq_open;
      irq <= irq_due & irq_open;
    end
  end

  // Counters: stat_data is valid from the second cycle of the read on.
  localparam [4:0] NUM_COUNTERS = `SVM_NUM_COUNTERS;
  reg [31:0] stat_high;
  wire stat_sel = rd_addr[15:8] == 8'h02 && rd_addr[7:3] < NUM_COUNTERS && rd_addr[1:0] == 2'd0;
  assign stat_addr = rd_addr[7:3];

  always @(posedge clk) begin
    if (rst) stat_high <= 32'd0;
    else if (rd_sample && stat_sel && !rd_addr[2]) stat_high <= stat_data[63:32];
  end

  wire [31:0] ring_rd_data = cmd_rd_data | fault_rd_data | event_rd_data;
  wire [31:0] stat_rd_data = rd_addr[2] ? stat_high : stat_data[31:0];

  always @* begin
    case (rd_addr)
      `SVM_REG_ID: rd_data = `SVM_MAGIC;
      `SVM_REG_VERSION: rd_data = `SVM_VERSION;
      `SVM_REG_CAP0: rd_data = CAP0;
      `SVM_REG_CAP1: rd_data = CAP1;
      `SVM_REG_CTRL: rd_data = {31'd0, ctrl_enable};
      `SVM_REG_STATUS: rd_data = {31'd0, ready};
      `SVM_REG_IRQ_ENABLE: rd_data = {28'd0, irq_enable};
      `SVM_REG_DONE_HOLDOFF: rd_data = {16'd0, holdoff};
      `SVM_REG_IRQ_STATUS: rd_data = {28'd0, irq_pending};
      default: rd_data = stat_sel ? stat_rd_data : ring_rd_data;
    endcase
  end
endmodule

`default_nettype wire
