`resetall
`timescale 1ns / 1ps
`default_nettype none

// One copy in progress: read bursts into a private part of the copy buffer, each then written as a burst.
// Latency: start to first read 1 cycle, last beat of a read in the buffer to its write 1 cycle.
// Throughput: limited by the buffer, 2^LOG_BUF bus words in flight, at most 4 reads and 8 writes.
// Invariants: a write is offered only when all its data is in the buffer, so it never blocks other writes; after an error
// no further burst is started, and the copy ends when those in flight have been answered.
module engine_copy #(
    parameter LB = 4,
    parameter LOG_BUF = 5,
    parameter SLOT_W = 6
) (
    input wire clk,
    input wire rst,

    input wire start,
    output wire idle,
    input wire [SLOT_W-1:0] start_slot,
    input wire [27:0] start_user,
    input wire [63:0] start_src,
    input wire [63:0] start_dst,
    input wire [17:0] start_words_m1,
    input wire [LB-1:0] start_end,

    output wire [SLOT_W-1:0] slot,
    output wire [27:0] user,

    output wire rd_valid,
    input wire rd_ready,
    output wire [63:0] rd_addr,
    output wire [3:0] rd_len,

    // Beats of this copy, as they are put into the buffer.
    input wire beat_valid,
    input wire beat_last,
    input wire [1:0] beat_error,

    output wire wr_valid,
    input wire wr_ready,
    output wire [63:0] wr_addr,
    output wire [3:0] wr_len,
    output wire [LB-1:0] wr_end,

    // A buffered word has been sent; a write has been answered.
    input wire word_sent,
    input wire b_valid,
    input wire [1:0] b_error,

    output wire done_valid,
    input wire done_ready,
    output wire [1:0] done_error
);

  localparam [LOG_BUF:0] BUF_WORDS = {1'b1, {LOG_BUF{1'b0}}};

  reg active;
  reg [SLOT_W-1:0] id;
  reg [27:0] who;
  reg [LB-1:0] end_off;
  reg [1:0] error;
  wire failed = error != 2'd0;

  assign idle = !active;
  assign slot = id;
  assign user = who;

  // Bursts read and not yet written, in order; ready counts those that are complete in the buffer.
  wire chunk_ready;
  wire chunk_valid;
  wire [4:0] chunk_word;
  wire [2:0] chunk_level;
  reg [2:0] complete;
  reg [3:0] writes_due;

  // Read side.
  reg [63:0] src;
  reg [63:LB] dst;
  reg [17:0] left_m1;
  reg more;
  reg [LOG_BUF:0] room;

  wire [17:0] src_page_m1 = {{(6 + LB) {1'b0}}, ~src[11:LB]};
  wire [17:0] dst_page_m1 = {{(6 + LB) {1'b0}}, ~dst[11:LB]};
  wire [17:0] page_m1 = (src_page_m1 < dst_page_m1) ? src_page_m1 : dst_page_m1;
  wire [17:0] cap_m1 = (page_m1 < 18'd15) ? page_m1 : 18'd15;
  wire last = left_m1 <= cap_m1;
  wire [17:0] len = last ? left_m1 : cap_m1;
  wire rd_taken = rd_valid && rd_ready;
  wire [63-LB:0] step = {{(46 - LB) {1'b0}}, len} + {{(63 - LB) {1'b0}}, 1'b1};

  assign rd_valid = active && more && !failed && chunk_ready && room > {{(LOG_BUF - 3) {1'b0}}, len[3:0]};
  assign rd_addr = src;
  assign rd_len = len[3:0];

  always @(posedge clk) begin
    if (start) begin
      id <= start_slot;
      who <= start_user;
      end_off <= start_end;
      src <= start_src;
      dst <= start_dst[63:LB];
      left_m1 <= start_words_m1;
    end else if (rd_taken) begin
      src <= {src[63:LB] + step, {LB{1'b0}}};
      dst <= dst + step;
      left_m1 <= left_m1 - len - 18'd1;
    end
  end

  fifo #(
      .W(5),
      .LOG_DEPTH(2)
  ) u_chunks (
      .clk(clk),
      .rst(rst || start),
      .in_valid(rd_taken),
      .in_ready(chunk_ready),
      .in_data({last, len[3:0]}),
      .out_valid(chunk_valid),
      .out_ready(wr_taken || drop),
      .out_data(chunk_word),
      .level(chunk_level)
  );

  // Write side: the destination follows the source burst by burst.
  reg [63:0] wr_at;
  wire [63-LB:0] wr_step = {{(60 - LB) {1'b0}}, chunk_word[3:0]} + {{(63 - LB) {1'b0}}, 1'b1};
  wire head_complete = chunk_valid && complete != 3'd0;
  wire wr_taken = wr_valid && wr_ready;
  wire drop = head_complete && failed;

  assign wr_valid = head_complete && !failed && !writes_due[3];
  assign wr_addr = wr_at;
  assign wr_len = chunk_word[3:0];
  assign wr_end = chunk_word[4] ? end_off : {LB{1'b1}};

  always @(posedge clk) begin
    if (start) wr_at <= start_dst;
    else if (wr_taken) wr_at <= {wr_at[63:LB] + wr_step, {LB{1'b0}}};
  end

  wire ended = active && (!more || failed) && !chunk_valid && writes_due == 4'd0;
  assign done_valid = ended;
  assign done_error = error;

  always @(posedge clk) begin
    if (rst) begin
      active <= 1'b0;
      more <= 1'b0;
      complete <= 3'd0;
      writes_due <= 4'd0;
      error <= 2'd0;
      room <= BUF_WORDS;
    end else if (start) begin
      active <= 1'b1;
      more <= 1'b1;
      complete <= 3'd0;
      writes_due <= 4'd0;
      error <= 2'd0;
      room <= BUF_WORDS;
    end else begin
      if (ended && done_ready) active <= 1'b0;
      if (rd_taken && last) more <= 1'b0;
      complete <= complete + {2'd0, beat_valid && beat_last} - {2'd0, wr_taken || drop};
      writes_due <= writes_due + {3'd0, wr_taken} - {3'd0, b_valid};
      error <= error | (beat_valid ? beat_error : 2'd0) | (b_valid ? b_error : 2'd0);
      room <= room + {{LOG_BUF{1'b0}}, word_sent}
          - (rd_taken ? {{(LOG_BUF - 3) {1'b0}}, len[3:0]} + {{LOG_BUF{1'b0}}, 1'b1} : {(LOG_BUF + 1) {1'b0}});
    end
  end

  wire unused_level = |chunk_level;

endmodule

`default_nettype wire
