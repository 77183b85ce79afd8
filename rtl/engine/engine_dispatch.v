`resetall
`timescale 1ns / 1ps
`default_nettype none
`include "svm_defs.vh"

// Front end of the engine: decodes work records, orders them against the descriptors in flight, gives each a slot.
// Stages: s1 record, s2 ranges and patterns, s3 comparison with the slots, s4 wait and issue.
// Latency: record to issue 4 cycles. Throughput: one descriptor per cycle without a hazard.
// A descriptor covers the smallest aligned power-of-two block, of 2^LOG_GRAIN bytes or more, that holds its bytes (a COPY
// also covers its source). Invariant: no two descriptors in flight overlap in one PASID if one of them writes the overlap, so program order
// holds for every address. A COPY whose source and destination overlap has no defined result.
module engine_dispatch #(
    parameter LB = 4,
    parameter VA_W = 48,
    parameter SLOT_W = 6,
    parameter LOG_COPIES = 2,
    parameter LOG_GRAIN = 3
) (
    input wire clk,
    input wire rst,
    input wire cfg_enable,
    input wire [31:0] cycle,

    input wire rec_valid,
    output wire rec_ready,
    input wire [255:0] rec_data,
    input wire [31:0] rec_index,

    // Issue: one descriptor, with its slot, to the unit that the kind names.
    output wire out_read,
    output wire out_write,
    output wire out_copy,
    output wire out_cas,
    output wire out_bad,
    input wire ready_read,
    input wire ready_write,
    input wire ready_copy,
    input wire ready_cas,
    input wire ready_bad,
    input wire [LOG_COPIES-1:0] copy_context,
    output wire issue,
    output wire [SLOT_W-1:0] out_slot,
    output wire [7:0] out_op,
    output wire out_complete,
    output wire [31:0] out_index,
    output wire [31:0] out_start,
    output wire [27:0] out_user,
    output wire [63:0] out_va,
    output wire [63:0] out_src,
    output wire [63:0] out_data,
    output wire [63:0] out_pattern,
    output wire [17:0] out_words_m1,
    output wire [LB-1:0] out_end,

    input wire free_valid,
    input wire [SLOT_W-1:0] free_slot,

    output wire idle,
    output wire [SLOT_W:0] in_flight
);

  localparam SLOTS = 1 << SLOT_W;
  localparam COPIES = 1 << LOG_COPIES;
  localparam LINE_W = VA_W - LOG_GRAIN;

  // The block that contains two lines of 2^LOG_GRAIN bytes: ones below the highest bit in which they differ.
  function automatic [LINE_W-1:0] smear;
    input [LINE_W-1:0] x;
    integer i;
    begin
      smear = x;
      for (i = 1; i < LINE_W; i = i * 2) smear = smear | (smear >> i);
    end
  endfunction

  // --- s1: the record as fetched, and the last byte of its ranges.
  reg s1_full;
  reg [255:0] s1_rec;
  reg [31:0] s1_index;
  reg [31:0] s1_start;
  wire s1_go;
  assign rec_ready = cfg_enable && (!s1_full || s1_go);

  always @(posedge clk) begin
    if (rec_valid && rec_ready) begin
      s1_rec   <= rec_data;
      s1_index <= rec_index;
      s1_start <= cycle;
    end
  end

  always @(posedge clk) begin
    if (rst) s1_full <= 1'b0;
    else if (rec_valid && rec_ready) s1_full <= 1'b1;
    else if (s1_go) s1_full <= 1'b0;
  end

  wire [7:0] s1_op = s1_rec[`SVM_WORK_OP_F];
  wire [7:0] s1_flags = s1_rec[`SVM_WORK_FLAGS_F];
  wire [19:0] s1_rec_len = s1_rec[`SVM_WORK_LEN_F];
  wire [63:0] s1_va = s1_rec[`SVM_WORK_VA_F];
  wire [63:0] s1_src = s1_rec[`SVM_WORK_SRC_F];
  wire s1_is_read = s1_op == `SVM_WORK_READ;
  wire s1_is_write = s1_op == `SVM_WORK_WRITE;
  wire s1_is_fill = s1_op == `SVM_WORK_FILL;
  wire s1_is_copy = s1_op == `SVM_WORK_COPY;
  wire s1_is_cas = s1_op == `SVM_WORK_CAS;
  wire [19:0] s1_len_m1 = s1_is_cas ? 20'd7 : s1_rec_len - 20'd1;
  wire [64:0] s1_va_last = {1'b0, s1_va} + {45'd0, s1_len_m1};
  wire [64:0] s1_src_last = {1'b0, s1_src} + {45'd0, s1_len_m1};
  wire s1_known = s1_is_read || s1_is_write || s1_is_fill || s1_is_copy || s1_is_cas;
  wire s1_bad = !s1_known || (s1_flags & ~`SVM_FLAG_COMPLETE) != 8'd0
      || (!s1_is_cas && s1_rec_len == 20'd0) || (s1_is_write && s1_rec_len > 20'd8) || (s1_is_cas && s1_va[2:0] != 3'd0)
      || (s1_is_copy && s1_va[LB-1:0] != s1_src[LB-1:0]) || s1_va_last[64] || (s1_is_copy && s1_src_last[64]);

  // --- s2: ranges as blocks, the number of bus words, the write pattern.
  reg s2_full;
  reg s2_bad;
  reg s2_wr;
  reg [255:0] s2_rec;
  reg [31:0] s2_index;
  reg [31:0] s2_start;
  reg [19:0] s2_len_m1;
  reg [VA_W-1:0] s2_va_last;
  reg [VA_W-1:0] s2_src_last;
  wire s2_go;
  assign s1_go = s1_full && (!s2_full || s2_go);

  always @(posedge clk) begin
    if (s1_go) begin
      s2_bad <= s1_bad;
      s2_wr <= !s1_is_read;
      s2_rec <= s1_rec;
      s2_index <= s1_index;
      s2_start <= s1_start;
      s2_len_m1 <= s1_len_m1;
      s2_va_last <= s1_va_last[VA_W-1:0];
      s2_src_last <= s1_src_last[VA_W-1:0];
    end
  end

  always @(posedge clk) begin
    if (rst) s2_full <= 1'b0;
    else if (s1_go) s2_full <= 1'b1;
    else if (s2_go) s2_full <= 1'b0;
  end

  wire [63:0] s2_va = s2_rec[`SVM_WORK_VA_F];
  wire [63:0] s2_src = s2_rec[`SVM_WORK_SRC_F];
  wire [63:0] s2_data = s2_rec[`SVM_WORK_DATA_F];
  wire [LINE_W-1:0] s2_line = s2_va[VA_W-1:LOG_GRAIN];
  wire [LINE_W-1:0] s2_src_line = s2_src[VA_W-1:LOG_GRAIN];
  wire [23:0] s2_span = {4'd0, s2_len_m1} + {{(24 - LB) {1'b0}}, s2_va[LB-1:0]};
  wire [127:0] s2_twice = {s2_data, s2_data} << {s2_va[2:0], 3'd0};

  // --- s3: comparison with every slot in flight and with the descriptor in s4.
  reg s3_full;
  reg s3_bad;
  reg s3_wr;
  reg s3_copy;
  reg [7:0] s3_op;
  reg s3_complete;
  reg [31:0] s3_index;
  reg [31:0] s3_start;
  reg [27:0] s3_user;
  reg [63:0] s3_va;
  reg [63:0] s3_src;
  reg [63:0] s3_data;
  reg [63:0] s3_pattern;
  reg [17:0] s3_words_m1;
  reg [LB-1:0] s3_end;
  reg [LINE_W-1:0] s3_mask;
  reg [LINE_W-1:0] s3_src_mask;
  wire s3_go;
  assign s2_go = s2_full && (!s3_full || s3_go);

  always @(posedge clk) begin
    if (s2_go) begin
      s3_bad <= s2_bad;
      s3_wr <= s2_wr && !s2_bad;
      s3_op <= s2_rec[`SVM_WORK_OP_F];
      s3_copy <= s2_rec[`SVM_WORK_OP_F] == `SVM_WORK_COPY && !s2_bad;
      s3_complete <= (s2_rec[`SVM_WORK_FLAGS_F] & `SVM_FLAG_COMPLETE) != 8'd0;
      s3_index <= s2_index;
      s3_start <= s2_start;
      s3_user <= {s2_rec[`SVM_WORK_REQUESTER_F], s2_rec[`SVM_WORK_PASID_F]};
      s3_va <= s2_va;
      s3_src <= s2_src;
      s3_data <= s2_data;
      s3_pattern <= s2_twice[127:64];
      s3_words_m1 <= s2_span[LB+17:LB];
      s3_end <= s2_va_last[LB-1:0];
      s3_mask <= smear(s2_line ^ s2_va_last[VA_W-1:LOG_GRAIN]);
      s3_src_mask <= smear(s2_src_line ^ s2_src_last[VA_W-1:LOG_GRAIN]);
    end
  end

  always @(posedge clk) begin
    if (rst) s3_full <= 1'b0;
    else if (s2_go) s3_full <= 1'b1;
    else if (s3_go) s3_full <= 1'b0;
  end

  // What a slot in flight covers; the source of a copy stands with its context.
  reg [SLOTS-1:0] slot_valid;
  reg slot_wr[0:SLOTS-1];
  reg [19:0] slot_pasid[0:SLOTS-1];
  reg [LINE_W-1:0] slot_line[0:SLOTS-1];
  reg [LINE_W-1:0] slot_mask[0:SLOTS-1];
  reg [COPIES-1:0] src_valid;
  reg [SLOT_W-1:0] src_slot[0:COPIES-1];
  reg [19:0] src_pasid[0:COPIES-1];
  reg [LINE_W-1:0] src_line[0:COPIES-1];
  reg [LINE_W-1:0] src_mask[0:COPIES-1];

  wire [LINE_W-1:0] s3_line = s3_va[VA_W-1:LOG_GRAIN];
  wire [LINE_W-1:0] s3_src_line = s3_src[VA_W-1:LOG_GRAIN];
  wire [19:0] s3_pasid = s3_user[19:0];

  reg s4_full;
  reg s4_bad;
  reg s4_wr;
  reg s4_copy;
  reg [7:0] s4_op;
  reg s4_complete;
  reg [31:0] s4_index;
  reg [31:0] s4_start;
  reg [27:0] s4_user;
  reg [63:0] s4_va;
  reg [63:0] s4_src;
  reg [63:0] s4_data;
  reg [63:0] s4_pattern;
  reg [17:0] s4_words_m1;
  reg [LB-1:0] s4_end;
  reg [LINE_W-1:0] s4_mask;
  reg [LINE_W-1:0] s4_src_mask;
  reg [SLOTS-1:0] s4_wait;

  wire [LINE_W-1:0] s4_line = s4_va[VA_W-1:LOG_GRAIN];
  wire [LINE_W-1:0] s4_src_line = s4_src[VA_W-1:LOG_GRAIN];

  reg next_valid;
  reg [SLOT_W-1:0] next_slot;

  reg [SLOTS-1:0] s3_conflict;
  reg s3_hits_s4;
  integer k;
  always @* begin
    s3_hits_s4 = s3_pasid == s4_user[19:0] && (
        ((s3_wr || s4_wr) && ((s3_line ^ s4_line) & ~(s3_mask | s4_mask)) == {LINE_W{1'b0}})
        || (s3_copy && s4_wr && ((s3_src_line ^ s4_line) & ~(s3_src_mask | s4_mask)) == {LINE_W{1'b0}})
        || (s4_copy && s3_wr && ((s3_line ^ s4_src_line) & ~(s3_mask | s4_src_mask)) == {LINE_W{1'b0}}));
    s3_conflict = {SLOTS{1'b0}};
    k = 0;
    if (s3_full) begin
      for (k = 0; k < SLOTS; k = k + 1) begin
        if (slot_valid[k] && slot_pasid[k] == s3_pasid)
          s3_conflict[k] =
              ((s3_wr || slot_wr[k]) && ((s3_line ^ slot_line[k]) & ~(s3_mask | slot_mask[k])) == {LINE_W{1'b0}})
              || (s3_copy && slot_wr[k]
                  && ((s3_src_line ^ slot_line[k]) & ~(s3_src_mask | slot_mask[k])) == {LINE_W{1'b0}});
      end
      for (k = 0; k < COPIES; k = k + 1) begin
        if (src_valid[k] && s3_wr && src_pasid[k] == s3_pasid
            && ((s3_line ^ src_line[k]) & ~(s3_mask | src_mask[k])) == {LINE_W{1'b0}})
          s3_conflict[src_slot[k]] = 1'b1;
      end
      if (issue && s3_hits_s4) s3_conflict[next_slot] = 1'b1;
    end
  end

  // --- s4: waits until no slot that it overlaps is in flight, then issues.
  wire s4_clear = (s4_wait & slot_valid) == {SLOTS{1'b0}};
  wire s4_may = s4_full && s4_clear && next_valid;

  assign out_bad = s4_may && s4_bad;
  assign out_read = s4_may && !s4_bad && s4_op == `SVM_WORK_READ;
  assign out_write = s4_may && !s4_bad && (s4_op == `SVM_WORK_WRITE || s4_op == `SVM_WORK_FILL);
  assign out_copy = s4_may && s4_copy;
  assign out_cas = s4_may && !s4_bad && s4_op == `SVM_WORK_CAS;
  assign issue = (out_bad && ready_bad) || (out_read && ready_read) || (out_write && ready_write)
      || (out_copy && ready_copy) || (out_cas && ready_cas);
  assign s3_go = s3_full && (!s4_full || issue);

  always @(posedge clk) begin
    if (s3_go) begin
      s4_bad <= s3_bad;
      s4_wr <= s3_wr;
      s4_copy <= s3_copy;
      s4_op <= s3_op;
      s4_complete <= s3_complete;
      s4_index <= s3_index;
      s4_start <= s3_start;
      s4_user <= s3_user;
      s4_va <= s3_va;
      s4_src <= s3_src;
      s4_data <= s3_data;
      s4_pattern <= s3_pattern;
      s4_words_m1 <= s3_words_m1;
      s4_end <= s3_end;
      s4_mask <= s3_mask;
      s4_src_mask <= s3_src_mask;
    end
  end

  always @(posedge clk) begin
    if (s3_go) s4_wait <= s3_bad ? {SLOTS{1'b0}} : s3_conflict;
    else s4_wait <= s4_wait & slot_valid;
  end

  always @(posedge clk) begin
    if (rst) s4_full <= 1'b0;
    else if (s3_go) s4_full <= 1'b1;
    else if (issue) s4_full <= 1'b0;
  end

  assign out_slot = next_slot;
  assign out_op = s4_op;
  assign out_complete = s4_complete;
  assign out_index = s4_index;
  assign out_start = s4_start;
  assign out_user = s4_user;
  assign out_va = s4_va;
  assign out_src = s4_src;
  assign out_data = s4_data;
  assign out_pattern = s4_pattern;
  assign out_words_m1 = s4_words_m1;
  assign out_end = s4_end;

  // --- slots: the lowest free one is chosen a cycle ahead.
  reg [SLOTS-1:0] issue_bit;
  reg [SLOTS-1:0] free_bit;
  reg [SLOTS-1:0] next_bit;
  always @* begin
    issue_bit = {SLOTS{1'b0}};
    issue_bit[next_slot] = issue;
    free_bit = {SLOTS{1'b0}};
    free_bit[free_slot] = free_valid;
    next_bit = {SLOTS{1'b0}};
    next_bit[next_slot] = next_valid;
  end

  wire [SLOTS-1:0] choice = ~slot_valid & ~next_bit;
  reg [SLOT_W-1:0] choice_slot;
  integer j;
  always @* begin
    choice_slot = {SLOT_W{1'b0}};
    for (j = SLOTS - 1; j >= 0; j = j - 1) if (choice[j]) choice_slot = j[SLOT_W-1:0];
  end

  always @(posedge clk) begin
    if (rst) begin
      slot_valid <= {SLOTS{1'b0}};
      next_valid <= 1'b0;
      next_slot  <= {SLOT_W{1'b0}};
    end else begin
      slot_valid <= (slot_valid & ~free_bit) | issue_bit;
      if (issue || !next_valid) begin
        next_valid <= choice != {SLOTS{1'b0}};
        next_slot  <= choice_slot;
      end
    end
  end

  always @(posedge clk) begin
    if (issue) begin
      slot_wr[next_slot] <= s4_wr;
      slot_pasid[next_slot] <= s4_user[19:0];
      slot_line[next_slot] <= s4_line;
      slot_mask[next_slot] <= s4_mask;
    end
  end

  genvar c;
  generate
    for (c = 0; c < COPIES; c = c + 1) begin : gen_src
      localparam [LOG_COPIES-1:0] C = c;
      wire take = issue && s4_copy && copy_context == C;
      always @(posedge clk) begin
        if (rst) src_valid[c] <= 1'b0;
        else if (take) src_valid[c] <= 1'b1;
        else if (free_valid && free_slot == src_slot[c]) src_valid[c] <= 1'b0;
      end
      always @(posedge clk) begin
        if (take) begin
          src_slot[c]  <= next_slot;
          src_pasid[c] <= s4_user[19:0];
          src_line[c]  <= s4_src_line;
          src_mask[c]  <= s4_src_mask;
        end
      end
    end
  endgenerate

  reg [SLOT_W:0] count;
  assign in_flight = count;
  assign idle = !s1_full && !s2_full && !s3_full && !s4_full && count == {(SLOT_W + 1) {1'b0}};

  always @(posedge clk) begin
    if (rst) count <= {(SLOT_W + 1) {1'b0}};
    else count <= count + {{SLOT_W{1'b0}}, issue} - {{SLOT_W{1'b0}}, free_valid};
  end

  wire unused_bits = &{1'b0, s1_va_last, s1_src_last, s2_rec, s2_va_last, s2_src_last, s2_span, s2_twice};

endmodule

`default_nettype wire
