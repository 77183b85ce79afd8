`resetall
`timescale 1ns / 1ps
`default_nettype none

// Write data of the engine: for each address sent, its beats with strobes, from a pattern or from the copy buffer.
// Latency: job to wvalid 2 cycles. Throughput: one beat per cycle.
// Invariant: beats leave in the order of the jobs, which is the order of the addresses.
module engine_wdata #(
    parameter DATA_W = 128,
    parameter LB = 4,
    parameter LOG_COPIES = 2,
    parameter LOG_BUF = 5
) (
    input wire clk,
    input wire rst,

    input wire job_valid,
    output wire job_ready,
    input wire job_copy,
    input wire [LOG_COPIES-1:0] job_context,
    input wire [63:0] job_pattern,
    input wire [LB-1:0] job_first,
    input wire [LB-1:0] job_end,
    input wire [3:0] job_len,

    // Copy buffer, written by the read side.
    input wire buf_wr_en,
    input wire [LOG_COPIES+LOG_BUF-1:0] buf_wr_addr,
    input wire [DATA_W-1:0] buf_wr_data,
    input wire [(1<<LOG_COPIES)-1:0] buf_restart,
    output wire [(1<<LOG_COPIES)-1:0] buf_sent,

    output wire [DATA_W-1:0] wdata,
    output wire [DATA_W/8-1:0] wstrb,
    output wire wlast,
    output wire wvalid,
    input wire wready
);

  localparam COPIES = 1 << LOG_COPIES;
  localparam BYTES = DATA_W / 8;
  localparam JOB_W = 1 + LOG_COPIES + 64 + 2 * LB + 4;

  wire q_valid;
  wire q_ready;
  wire q_copy;
  wire [LOG_COPIES-1:0] q_context;
  wire [63:0] q_pattern;
  wire [LB-1:0] q_first;
  wire [LB-1:0] q_end;
  wire [3:0] q_len;
  wire [4:0] q_level;

  fifo #(
      .W(JOB_W),
      .LOG_DEPTH(4)
  ) u_jobs (
      .clk(clk),
      .rst(rst),
      .in_valid(job_valid),
      .in_ready(job_ready),
      .in_data({job_copy, job_context, job_pattern, job_first, job_end, job_len}),
      .out_valid(q_valid),
      .out_ready(q_ready),
      .out_data({q_copy, q_context, q_pattern, q_first, q_end, q_len}),
      .level(q_level)
  );

  // s1: one beat of the job at the head; the copy buffer is read.
  reg [3:0] s1_beat;
  reg s2_full;
  wire s1_go = q_valid && (!s2_full || wready);
  wire s1_last = s1_beat == q_len;
  assign q_ready = s1_go && s1_last;

  reg [LOG_BUF-1:0] read_at[0:COPIES-1];
  wire [LOG_BUF-1:0] s1_read_at = read_at[q_context];
  wire [COPIES-1:0] s1_context_bit = {{(COPIES - 1) {1'b0}}, 1'b1} << q_context;
  assign buf_sent = (s1_go && q_copy) ? s1_context_bit : {COPIES{1'b0}};

  always @(posedge clk) begin
    if (rst) s1_beat <= 4'd0;
    else if (s1_go) s1_beat <= s1_last ? 4'd0 : s1_beat + 4'd1;
  end

  genvar c;
  generate
    for (c = 0; c < COPIES; c = c + 1) begin : gen_read_at
      always @(posedge clk) begin
        if (buf_restart[c]) read_at[c] <= {LOG_BUF{1'b0}};
        else if (buf_sent[c]) read_at[c] <= read_at[c] + {{(LOG_BUF - 1) {1'b0}}, 1'b1};
      end
    end
  endgenerate

  wire [DATA_W-1:0] s2_buf_data;

  ram_1r1w #(
      .W(DATA_W),
      .LOG_DEPTH(LOG_COPIES + LOG_BUF)
  ) u_buf (
      .clk(clk),
      .wr_en(buf_wr_en),
      .wr_addr(buf_wr_addr),
      .wr_data(buf_wr_data),
      .rd_en(s1_go && q_copy),
      .rd_addr({q_context, s1_read_at}),
      .rd_data(s2_buf_data)
  );

  // s2: the beat at the port.
  reg s2_copy;
  reg [63:0] s2_pattern;
  reg [BYTES-1:0] s2_strb;
  reg s2_last;

  wire [LB-1:0] s1_low = (s1_beat == 4'd0) ? q_first : {LB{1'b0}};
  wire [LB-1:0] s1_high = s1_last ? q_end : {LB{1'b1}};
  wire [BYTES-1:0] s1_strb = ({BYTES{1'b1}} << s1_low) & ({BYTES{1'b1}} >> ~s1_high);

  always @(posedge clk) begin
    if (s1_go) begin
      s2_copy <= q_copy;
      s2_pattern <= q_pattern;
      s2_strb <= s1_strb;
      s2_last <= s1_last;
    end
  end

  always @(posedge clk) begin
    if (rst) s2_full <= 1'b0;
    else if (s1_go) s2_full <= 1'b1;
    else if (wready) s2_full <= 1'b0;
  end

  assign wdata  = s2_copy ? s2_buf_data : {(DATA_W / 64) {s2_pattern}};
  assign wstrb  = s2_strb;
  assign wlast  = s2_last;
  assign wvalid = s2_full;

  wire unused_level = &{1'b0, q_level};

endmodule

`default_nettype wire
