`resetall
`timescale 1ns / 1ps
`default_nettype none
`include "svm_defs.vh"

// What goes wrong on the link, for the host: counters and status in registers, and a queue of records for the EVENT ring
// from SOURCES requesters. A record that finds its queue full is counted as lost.
// Latency: error to record 1 cycle, more when another source is ahead. Throughput: one record a cycle.
// Invariant: every error is counted; every error is in a record or counted as lost.
module pcie_link #(
    parameter SOURCES = 3
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

    input wire [31:0] status,
    // User bits, bus address and reason of each source's error; the source's number is its LINK_SOURCE code.
    input wire [SOURCES-1:0] error,
    input wire [SOURCES*100-1:0] error_data,
    input wire unexpected,
    input wire unsupported,

    output wire link_valid,
    input wire link_ready,
    output wire [107:0] link_data
);

  wire [SOURCES-1:0] queued;
  wire [SOURCES-1:0] room;
  wire [SOURCES-1:0] turn;
  wire [SOURCES*108-1:0] words;
  wire [SOURCES*4-1:0] unused_level;

  genvar g;
  generate
    for (g = 0; g < SOURCES; g = g + 1) begin : gen_source
      localparam [7:0] SOURCE = g;
      fifo #(
          .W(108),
          .LOG_DEPTH(3)
      ) queue (
          .clk(clk),
          .rst(rst),
          .in_valid(error[g]),
          .in_ready(room[g]),
          .in_data({error_data[g*100+8+:92], SOURCE, error_data[g*100+:8]}),
          .out_valid(queued[g]),
          .out_ready(turn[g] && link_ready),
          .out_data(words[g*108+:108]),
          .level(unused_level[g*4+:4])
      );
    end
  endgenerate

  arb_rr #(
      .N(SOURCES)
  ) arb (
      .clk(clk),
      .rst(rst),
      .req(queued),
      .grant(turn),
      .advance(link_valid && link_ready)
  );

  reg [107:0] word;
  integer i;
  always @* begin
    word = 108'd0;
    for (i = 0; i < SOURCES; i = i + 1) if (turn[i]) word = word | words[i*108+:108];
  end
  assign link_valid = queued != {SOURCES{1'b0}};
  assign link_data  = word;

  // ---- Registers
  reg [31:0] errors;
  reg [31:0] unexpecteds;
  reg [31:0] unsupporteds;
  reg [31:0] losts;
  wire [SOURCES-1:0] lost = error & ~room;

  reg [31:0] error_count;
  reg [31:0] lost_count;
  integer k;
  always @* begin
    error_count = 32'd0;
    lost_count  = 32'd0;
    for (k = 0; k < SOURCES; k = k + 1) begin
      error_count = error_count + {31'd0, error[k]};
      lost_count  = lost_count + {31'd0, lost[k]};
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      errors <= 32'd0;
      unexpecteds <= 32'd0;
      unsupporteds <= 32'd0;
      losts <= 32'd0;
    end else begin
      errors <= errors + error_count;
      unexpecteds <= unexpecteds + {31'd0, unexpected};
      unsupporteds <= unsupporteds + {31'd0, unsupported};
      losts <= losts + lost_count;
    end
  end

  wire unused_wr_en;
  wire [15:0] unused_wr_addr;
  wire [31:0] unused_wr_data;
  wire [15:0] rd_addr;
  wire unused_rd_sample;
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
      .wr_en(unused_wr_en),
      .wr_addr(unused_wr_addr),
      .wr_data(unused_wr_data),
      .rd_addr(rd_addr),
      .rd_sample(unused_rd_sample),
      .rd_data(rd_data)
  );

  always @* begin
    case (rd_addr)
      `SVM_REG_LINK_STATUS: rd_data = status;
      `SVM_REG_LINK_ERRORS: rd_data = errors;
      `SVM_REG_LINK_UNEXPECTED: rd_data = unexpecteds;
      `SVM_REG_LINK_UNSUPPORTED: rd_data = unsupporteds;
      `SVM_REG_LINK_LOST: rd_data = losts;
      default: rd_data = 32'd0;
    endcase
  end

  wire unused = &{1'b0, unused_wr_en, unused_wr_addr, unused_wr_data, unused_rd_sample, unused_level};

endmodule

`default_nettype wire
