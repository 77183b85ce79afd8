`resetall
`timescale 1ns / 1ps
`default_nettype none

// Read responses of the engine: folds READ data, fills the copy buffer, compares for CAS.
// Stages: s1 beat with its slot's state, s2 masked bytes, s3 fold, accumulation and outcome.
// Latency: R beat to outcome 4 cycles. Throughput: one beat per cycle, never stalls.
// Invariant: the beats of one slot come in order (one ID), so the first and the last are known by counting.
module engine_rbeat #(
    parameter DATA_W = 128,
    parameter LB = 4,
    parameter SLOT_W = 6,
    parameter LOG_COPIES = 2,
    parameter LOG_BUF = 5
) (
    input wire clk,
    input wire rst,

    // A descriptor gets a slot.
    input wire issue,
    input wire [SLOT_W-1:0] issue_slot,
    input wire issue_copy,
    input wire issue_cas,
    input wire [LOG_COPIES-1:0] issue_context,
    input wire [LB-1:0] issue_first,
    input wire [LB-1:0] issue_end,
    input wire [17:0] issue_words_m1,
    input wire [63:0] issue_compare,

    input wire [SLOT_W-1:0] rid,
    input wire [DATA_W-1:0] rdata,
    input wire [1:0] rresp,
    input wire rlast,
    input wire rvalid,

    output wire buf_wr_en,
    output wire [LOG_COPIES+LOG_BUF-1:0] buf_wr_addr,
    output wire [DATA_W-1:0] buf_wr_data,
    input wire [(1<<LOG_COPIES)-1:0] buf_restart,
    output wire [(1<<LOG_COPIES)-1:0] beat_copy,
    output wire beat_last,
    output wire [1:0] beat_error,

    // A slot's reads have ended: it is done, or a CAS goes on to its write.
    output reg end_valid,
    output reg end_cas,
    output reg end_store,
    output reg [SLOT_W-1:0] end_slot,
    output reg [1:0] end_error,

    input wire [SLOT_W-1:0] value_slot,
    output wire [63:0] value
);

  localparam SLOTS = 1 << SLOT_W;
  localparam COPIES = 1 << LOG_COPIES;
  localparam BYTES = DATA_W / 8;
  localparam INFO_W = 2 + LOG_COPIES + 2 * LB + 18;

  reg [INFO_W-1:0] info[0:SLOTS-1];
  reg [63:0] compare[0:SLOTS-1];

  always @(posedge clk) begin
    if (issue) begin
      info[issue_slot] <= {issue_copy, issue_cas, issue_context, issue_first, issue_end, issue_words_m1};
      compare[issue_slot] <= issue_compare;
    end
  end

  // --- s1: the beat and the state of its slot.
  reg s1_valid;
  reg [SLOT_W-1:0] s1_slot;
  reg [DATA_W-1:0] s1_data;
  reg [1:0] s1_resp;
  reg s1_last;

  always @(posedge clk) begin
    s1_slot <= rid;
    s1_data <= rdata;
    s1_resp <= rresp;
    s1_last <= rlast;
  end

  always @(posedge clk) begin
    if (rst) s1_valid <= 1'b0;
    else s1_valid <= rvalid;
  end

  reg [SLOTS-1:0] started;
  reg [17:0] left[0:SLOTS-1];

  wire s1_copy;
  wire s1_cas;
  wire [LOG_COPIES-1:0] s1_context;
  wire [LB-1:0] s1_first_off;
  wire [LB-1:0] s1_end_off;
  wire [17:0] s1_words_m1;
  assign {s1_copy, s1_cas, s1_context, s1_first_off, s1_end_off, s1_words_m1} = info[s1_slot];

  // A CAS reads one word, perhaps several times.
  wire s1_is_first = s1_cas || !started[s1_slot];
  wire [17:0] s1_left = s1_is_first ? s1_words_m1 : left[s1_slot];
  wire s1_is_final = s1_left == 18'd0;

  always @(posedge clk) begin
    if (s1_valid) left[s1_slot] <= s1_left - 18'd1;
  end

  reg [SLOTS-1:0] issue_bit;
  reg [SLOTS-1:0] s1_bit;
  always @* begin
    issue_bit = {SLOTS{1'b0}};
    issue_bit[issue_slot] = issue;
    s1_bit = {SLOTS{1'b0}};
    s1_bit[s1_slot] = s1_valid;
  end

  always @(posedge clk) begin
    if (rst) started <= {SLOTS{1'b0}};
    else started <= (started | s1_bit) & ~issue_bit;
  end

  // Copy data goes to the buffer from here.
  reg [LOG_BUF-1:0] write_at[0:COPIES-1];
  wire [LOG_BUF-1:0] s1_write_at = write_at[s1_context];
  wire [COPIES-1:0] s1_context_bit = {{(COPIES - 1) {1'b0}}, 1'b1} << s1_context;

  assign beat_copy = (s1_valid && s1_copy) ? s1_context_bit : {COPIES{1'b0}};
  assign beat_last = s1_last;
  assign beat_error = s1_resp[1] ? s1_resp : 2'd0;
  assign buf_wr_en = s1_valid && s1_copy;
  assign buf_wr_addr = {s1_context, s1_write_at};
  assign buf_wr_data = s1_data;

  genvar c;
  generate
    for (c = 0; c < COPIES; c = c + 1) begin : gen_write_at
      always @(posedge clk) begin
        if (buf_restart[c]) write_at[c] <= {LOG_BUF{1'b0}};
        else if (beat_copy[c]) write_at[c] <= write_at[c] + {{(LOG_BUF - 1) {1'b0}}, 1'b1};
      end
    end
  endgenerate

  // --- s2: the bytes that the descriptor asked for.
  reg s2_valid;
  reg [SLOT_W-1:0] s2_slot;
  reg [DATA_W-1:0] s2_data;
  reg [BYTES-1:0] s2_keep;
  reg [1:0] s2_resp;
  reg s2_first;
  reg s2_final;
  reg s2_cas;

  wire [LB-1:0] s1_low = s1_is_first ? s1_first_off : {LB{1'b0}};
  wire [LB-1:0] s1_high = s1_is_final ? s1_end_off : {LB{1'b1}};

  always @(posedge clk) begin
    s2_slot <= s1_slot;
    s2_data <= s1_data;
    s2_keep <= ({BYTES{1'b1}} << s1_low) & ({BYTES{1'b1}} >> ~s1_high);
    s2_resp <= s1_resp;
    s2_first <= s1_is_first;
    s2_final <= s1_is_final;
    s2_cas <= s1_cas;
  end

  always @(posedge clk) begin
    if (rst) s2_valid <= 1'b0;
    else s2_valid <= s1_valid && !s1_copy;
  end

  reg [DATA_W-1:0] s2_kept;
  reg [63:0] s2_fold;
  integer b;
  always @* begin
    for (b = 0; b < BYTES; b = b + 1) s2_kept[8*b+:8] = s2_keep[b] ? s2_data[8*b+:8] : 8'd0;
    s2_fold = 64'd0;
    for (b = 0; b < DATA_W / 64; b = b + 1) s2_fold = s2_fold ^ s2_kept[64*b+:64];
  end

  // --- s3: accumulation, error state, outcome.
  reg s3_valid;
  reg [SLOT_W-1:0] s3_slot;
  reg [63:0] s3_fold;
  reg [1:0] s3_resp;
  reg s3_first;
  reg s3_final;
  reg s3_cas;

  always @(posedge clk) begin
    s3_slot <= s2_slot;
    s3_fold <= s2_fold;
    s3_resp <= s2_resp;
    s3_first <= s2_first;
    s3_final <= s2_final;
    s3_cas <= s2_cas;
  end

  always @(posedge clk) begin
    if (rst) s3_valid <= 1'b0;
    else s3_valid <= s2_valid;
  end

  reg [63:0] sum[0:SLOTS-1];
  reg [1:0] error[0:SLOTS-1];
  wire [1:0] s3_beat_error = s3_resp[1] ? s3_resp : 2'd0;
  wire [63:0] s3_sum = s3_first ? s3_fold : (sum[s3_slot] ^ s3_fold);
  wire [1:0] s3_error = s3_first ? s3_beat_error : (error[s3_slot] | s3_beat_error);
  wire s3_equal = s3_fold == compare[s3_slot];

  always @(posedge clk) begin
    if (s3_valid) begin
      sum[s3_slot]   <= s3_sum;
      error[s3_slot] <= s3_error;
    end
  end

  // A bus that answers an exclusive read with OKAY has no monitor: the store could not be atomic, so it is an error.
  wire s3_exclusive = s3_resp == 2'b01;
  wire s3_store = s3_cas && s3_beat_error == 2'd0 && s3_equal;

  always @(posedge clk) begin
    end_cas   <= s3_cas;
    end_store <= s3_store && s3_exclusive;
    end_slot  <= s3_slot;
    end_error <= (s3_store && !s3_exclusive) ? 2'b11 : s3_error;
  end

  always @(posedge clk) begin
    if (rst) end_valid <= 1'b0;
    else end_valid <= s3_valid && s3_final;
  end

  assign value = sum[value_slot];

endmodule

`default_nettype wire
