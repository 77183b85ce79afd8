`resetall
`timescale 1ns / 1ps
`default_nettype none

// One lookup port of a page-size class: its copy of the entries and of the referenced bits.
// Latency: the row is addressed in s0, cmp_* is there in s1. RAW = 1, for block RAMs: the words are compared with it in pairs of
// bits in s1, as a whole in s2; hit, allowed and fn are there in s3. RAW = 0: compared in s1, there in s2. The stages below are
// named for RAW = 1. One lookup per cycle, none ever waits.
// A lookup that reads a row in the cycle of a write gets nothing that it may use: who looks up knows the rows written.
module dmmu_tlb_port #(
    parameter WAYS = 4,
    parameter LOG_SETS = 8,
    parameter PN_W = 36,
    parameter FN_W = 36,
    parameter WRITE = 0,
    parameter LOG_PASIDS = 4,
    parameter RAW = 1
) (
    input wire clk,
    input wire rst,

    input wire rd_en,
    input wire [LOG_SETS-1:0] rd_row,
    input wire [PN_W-1:0] cmp_pn,
    // low part of the PASID, and its entry in the attach table
    input wire [LOG_SETS-1:0] cmp_pasid,
    input wire [(1<<LOG_PASIDS)-1:0] cmp_match,
    output wire hit,
    output wire allowed,
    output wire [FN_W-1:0] fn,
    input wire touch,

    input wire [WAYS-1:0] wr_way,
    input wire [LOG_SETS-1:0] wr_row,
    input wire [1+2+LOG_PASIDS+PN_W-LOG_SETS+FN_W-1:0] wr_word,

    input wire ref_rd_en,
    input wire [LOG_SETS-1:0] ref_rd_row,
    output wire [WAYS-1:0] ref_rd,
    input wire ref_wr,
    input wire [WAYS-1:0] ref_wr_bits
);

  localparam TAG_W = PN_W - LOG_SETS;
  // An entry has the index of its PASID in the attach table.
  localparam EW = 1 + 2 + LOG_PASIDS + TAG_W + FN_W;
  localparam PAIRS = (TAG_W + 1) / 2;

  // ------------------------------------------------------------------ s1, s2: compare
  wire [TAG_W-1:0] cmp = cmp_pn[PN_W-1:LOG_SETS];
  wire [LOG_PASIDS-1:0] cmp_index;
  reg s2_known;
  reg [LOG_PASIDS-1:0] s2_index;

  encode #(
      .LOG_N(LOG_PASIDS)
  ) position (
      .onehot(cmp_match),
      .index(cmp_index)
  );

  // For RAW = 1.
  wire unused_index = &{1'b0, s2_known, s2_index};

  always @(posedge clk) begin
    s2_known <= cmp_match != {(1 << LOG_PASIDS) {1'b0}};
    s2_index <= cmp_index;
  end
  wire [WAYS-1:0] s3_hit;
  wire [WAYS-1:0] s3_allowed;
  wire [WAYS*FN_W-1:0] s3_fns;

  genvar w;
  generate
    for (w = 0; w < WAYS; w = w + 1) begin : gen_way
      wire [EW-1:0] read;
      wire [FN_W-1:0] read_fn = read[FN_W-1:0];
      wire [TAG_W-1:0] read_tag = read[FN_W+:TAG_W];
      wire [LOG_PASIDS-1:0] read_owner = read[FN_W+TAG_W+:LOG_PASIDS];
      wire read_perm = read[EW-3+WRITE];
      wire unused_perm = &{1'b0, read[EW-3+:2]};

      ram_1r1w #(
          .W(EW),
          .LOG_DEPTH(LOG_SETS),
          .OLD(0)
      ) entries (
          .clk(clk),
          .wr_en(wr_way[w]),
          .wr_addr(wr_row),
          .wr_data(wr_word),
          .rd_en(rd_en),
          .rd_addr(rd_row),
          .rd_data(read)
      );

      reg [FN_W-1:0] s3_fn;
      assign s3_fns[w*FN_W+:FN_W] = s3_fn & {FN_W{s3_hit[w]}};

      if (RAW != 0) begin : gen_raw
        reg [PAIRS-1:0] pairs;
        reg valid;
        reg perm;
        reg [LOG_PASIDS-1:0] owner;
        reg [FN_W-1:0] raw_fn;
        wire same = valid && (&pairs) && s2_known && owner == s2_index;
        reg hits;
        reg allows;
        integer p;
        assign s3_hit[w] = hits;
        assign s3_allowed[w] = allows;
        always @(posedge clk) begin
          for (p = 0; p < TAG_W / 2; p = p + 1) pairs[p] <= read_tag[2*p+:2] == cmp[2*p+:2];
          if (TAG_W % 2 != 0) pairs[PAIRS-1] <= read_tag[TAG_W-1] == cmp[TAG_W-1];
          valid <= read[EW-1];
          perm <= read_perm;
          raw_fn <= read_fn;
          owner <= read_owner;
          hits <= same;
          allows <= same && perm;
          s3_fn <= raw_fn;
        end
      end else begin : gen_read
        // The result has time: it is put together behind the registers.
        reg [1:0] halves;
        reg perm;
        assign s3_hit[w] = &halves;
        assign s3_allowed[w] = &halves && perm;
        always @(posedge clk) begin
          halves[0] <= read[EW-1] && cmp_match[read_owner];
          halves[1] <= read_tag == cmp;
          perm <= read_perm;
          s3_fn <= read_fn;
        end
      end
    end
  endgenerate

  // ------------------------------------------------------------------ s3: at most one way hits
  reg [FN_W-1:0] any_fn;
  integer i;
  always @* begin
    any_fn = {FN_W{1'b0}};
    for (i = 0; i < WAYS; i = i + 1) any_fn = any_fn | s3_fns[i*FN_W+:FN_W];
  end

  assign hit = |s3_hit;
  assign allowed = |s3_allowed;
  assign fn = any_fn;

  // ------------------------------------------------------------------ s4 to s6: mark the way used
  // A fill's update wins over a lookup's, and the later of two lookups over the earlier: what is lost is marked by its next
  // use. One copy of the bits is read for that, one for the next fill.
  reg [LOG_SETS-1:0] s2_row;
  reg [LOG_SETS-1:0] s3_row_q;
  wire [LOG_SETS-1:0] s3_row = (RAW != 0) ? s3_row_q : s2_row;
  reg s4_touch;
  reg [LOG_SETS-1:0] s4_row;
  reg [WAYS-1:0] s4_way;
  wire [WAYS-1:0] s4_old;
  reg s5_touch;
  reg [LOG_SETS-1:0] s5_row;
  reg [WAYS-1:0] s5_way;
  reg [WAYS-1:0] s5_old;
  reg mark;
  reg [LOG_SETS-1:0] mark_row;
  reg [WAYS-1:0] mark_bits;

  ram_banks #(
      .W(WAYS),
      .LOG_DEPTH(LOG_SETS)
  ) marks (
      .clk(clk),
      .wr_en(mark),
      .wr_addr(mark_row),
      .wr_data(mark_bits),
      .rd_en(1'b1),
      .rd_addr(s3_row),
      .rd_data(s4_old)
  );

  ram_banks #(
      .W(WAYS),
      .LOG_DEPTH(LOG_SETS)
  ) fill_marks (
      .clk(clk),
      .wr_en(mark),
      .wr_addr(mark_row),
      .wr_data(mark_bits),
      .rd_en(ref_rd_en),
      .rd_addr(ref_rd_row),
      .rd_data(ref_rd)
  );

  always @(posedge clk) begin
    s2_row <= cmp_pn[LOG_SETS-1:0] ^ cmp_pasid;
    s3_row_q <= s2_row;
    s4_row <= s3_row;
    s4_way <= s3_hit;
    s5_row <= s4_row;
    s5_way <= s4_way;
    s5_old <= s4_old;
    mark_row <= ref_wr ? wr_row : s5_row;
    mark_bits <= ref_wr ? ref_wr_bits : s5_old | s5_way;
  end

  always @(posedge clk) begin
    if (rst) begin
      s4_touch <= 1'b0;
      s5_touch <= 1'b0;
      mark <= 1'b0;
    end else begin
      s4_touch <= touch;
      s5_touch <= s4_touch;
      mark <= ref_wr || s5_touch;
    end
  end

endmodule

`default_nettype wire
