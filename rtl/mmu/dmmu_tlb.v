`resetall
`timescale 1ns / 1ps
`default_nettype none

// Set-associative translations of one page size. Reads and writes look up in copies of their own (dmmu_tlb_port); a third
// copy of the tags serves fills and invalidations, so that maintenance never takes a lookup's turn.
// Maintenance: x0 op_* presents a row, x1 its tags are compared, x2 the row is written. One row per cycle, but the
// next fill of the same row at least three cycles later.
// Invariant: the three copies hold the same valid tags; at most one way of a row matches a {PASID, page}.
module dmmu_tlb #(
    parameter WAYS = 4,
    parameter LOG_SETS = 8,
    parameter PN_W = 36,
    parameter FN_W = 36
) (
    input wire clk,
    input wire rst,
    output wire ready,

    input wire r_rd_en,
    input wire [PN_W-1:0] r_rd_pn,
    input wire [19:0] r_rd_pasid,
    input wire [PN_W-1:0] r_cmp_pn,
    input wire [19:0] r_cmp_pasid,
    output wire r_hit,
    output wire [FN_W-1:0] r_fn,
    output wire [1:0] r_perm,
    input wire r_touch,

    input wire w_rd_en,
    input wire [PN_W-1:0] w_rd_pn,
    input wire [19:0] w_rd_pasid,
    input wire [PN_W-1:0] w_cmp_pn,
    input wire [19:0] w_cmp_pasid,
    output wire w_hit,
    output wire [FN_W-1:0] w_fn,
    output wire [1:0] w_perm,
    input wire w_touch,

    // maintenance, x0
    input wire op_fill,
    input wire op_inv,
    input wire [PN_W-1:0] op_pn,
    input wire [19:0] op_pasid,
    input wire [FN_W-1:0] op_fn,
    input wire [1:0] op_perm,
    // what an invalidation covers; stable from x1 on
    input wire [1:0] inv_scope,
    input wire [19:0] inv_pasid,
    input wire [PN_W-1:0] inv_start,
    input wire [PN_W-1:0] inv_end,

    // x2
    output wire fill_write,
    output wire [LOG_SETS-1:0] fill_row,
    output reg evicted,
    output reg [3:0] dropped
);

  localparam TAG_W = PN_W - LOG_SETS;
  localparam EW = 1 + 2 + 20 + TAG_W + FN_W;
  localparam TW = 1 + 20 + TAG_W;

  // After rst the write port empties every row; the top bit rises with the last one.
  reg [LOG_SETS:0] clear_row;
  assign ready = clear_row[LOG_SETS];

  always @(posedge clk) begin
    if (rst) clear_row <= {(LOG_SETS + 1) {1'b0}};
    else if (!ready) clear_row <= clear_row + {{LOG_SETS{1'b0}}, 1'b1};
  end

  wire [LOG_SETS-1:0] x0_row = op_pn[LOG_SETS-1:0] ^ op_pasid[LOG_SETS-1:0];

  reg x1_fill;
  reg x1_inv;
  reg [LOG_SETS-1:0] x1_row;
  reg [TAG_W-1:0] x1_tag;
  reg [19:0] x1_pasid;
  reg [FN_W-1:0] x1_fn;
  reg [1:0] x1_perm;

  reg x2_fill;
  reg x2_clear;
  reg [WAYS-1:0] x2_way;
  reg [LOG_SETS-1:0] x2_row;
  reg [EW-1:0] x2_word;
  reg [WAYS-1:0] x2_ref_old;
  wire [WAYS-1:0] x2_ref_next = x2_ref_old | x2_way;
  // The way filled is marked; when all are, only that one.
  wire [WAYS-1:0] x2_ref = x2_clear ? {WAYS{1'b0}} : (&x2_ref_next) ? x2_way : x2_ref_next;

  wire [WAYS-1:0] r_ref;
  wire [WAYS-1:0] w_ref;
  wire [WAYS-1:0] x1_ref = r_ref | w_ref;
  wire [WAYS-1:0] x1_valid;
  wire [WAYS-1:0] x1_same;
  wire [WAYS-1:0] x1_covered;

  wire [WAYS-1:0] x1_empty = ~x1_valid;
  wire [WAYS-1:0] x1_first_empty = x1_empty & (~x1_empty + {{(WAYS - 1) {1'b0}}, 1'b1});
  wire [WAYS-1:0] x1_victim;
  wire x1_evict = x1_fill && x1_same == {WAYS{1'b0}} && x1_empty == {WAYS{1'b0}};
  wire [WAYS-1:0] x1_way = (x1_same != {WAYS{1'b0}}) ? x1_same
      : (x1_empty != {WAYS{1'b0}}) ? x1_first_empty : x1_victim;

  // Not recently used, in turn; all ways when all are referenced.
  arb_rr #(
      .N(WAYS)
  ) victim (
      .clk(clk),
      .rst(rst),
      .req((&x1_ref) ? {WAYS{1'b1}} : ~x1_ref),
      .grant(x1_victim),
      .advance(x1_evict)
  );

  genvar w;
  generate
    for (w = 0; w < WAYS; w = w + 1) begin : gen_way
      wire [TW-1:0] word;
      wire [19:0] pasid = word[TAG_W+:20];
      wire [PN_W-1:0] pn = {word[TAG_W-1:0], x1_row ^ pasid[LOG_SETS-1:0]};

      ram_1r1w #(
          .W(TW),
          .LOG_DEPTH(LOG_SETS)
      ) tags (
          .clk(clk),
              .wr_en(x2_way[w]),
          .wr_addr(x2_row),
          .wr_data({x2_word[EW-1], x2_word[FN_W+:20+TAG_W]}),
          .rd_en(op_fill || op_inv),
          .rd_addr(x0_row),
          .rd_data(word)
      );

      assign x1_valid[w] = word[TW-1];
      assign x1_same[w] = word[TW-1] && pasid == x1_pasid && word[TAG_W-1:0] == x1_tag;
      assign x1_covered[w] = word[TW-1] && (inv_scope == 2'd2
          || (pasid == inv_pasid && (inv_scope == 2'd1 || (pn >= inv_start && pn <= inv_end))));
    end
  endgenerate

  always @(posedge clk) begin
    x1_row <= x0_row;
    x1_tag <= op_pn[PN_W-1:LOG_SETS];
    x1_pasid <= op_pasid;
    x1_fn <= op_fn;
    x1_perm <= op_perm;
  end

  always @(posedge clk) begin
    if (rst) begin
      x1_fill <= 1'b0;
      x1_inv  <= 1'b0;
    end else begin
      x1_fill <= op_fill;
      x1_inv  <= op_inv;
    end
  end

  integer i;
  always @(posedge clk) begin
    x2_row <= ready ? x1_row : clear_row[LOG_SETS-1:0];
    x2_word <= {x1_fill, x1_perm, x1_pasid, x1_tag, x1_fn};
    x2_ref_old <= x1_ref;
  end

  always @(posedge clk) begin
    if (rst) begin
      x2_fill  <= 1'b0;
      x2_clear <= 1'b0;
      x2_way   <= {WAYS{1'b0}};
      evicted  <= 1'b0;
    end else begin
      x2_fill  <= x1_fill;
      x2_clear <= !ready;
      x2_way   <= !ready ? {WAYS{1'b1}} : x1_fill ? x1_way : x1_inv ? x1_covered : {WAYS{1'b0}};
      evicted  <= x1_evict;
    end
  end

  always @* begin
    dropped = 4'd0;
    for (i = 0; i < WAYS; i = i + 1) dropped = dropped + {3'd0, x2_way[i] && !x2_fill && !x2_clear};
  end

  assign fill_write = x2_fill;
  assign fill_row   = x2_row;

  dmmu_tlb_port #(
      .WAYS(WAYS),
      .LOG_SETS(LOG_SETS),
      .PN_W(PN_W),
      .FN_W(FN_W)
  ) port_r (
      .clk(clk),
      .rst(rst),
      .rd_en(r_rd_en),
      .rd_row(r_rd_pn[LOG_SETS-1:0] ^ r_rd_pasid[LOG_SETS-1:0]),
      .cmp_pn(r_cmp_pn),
      .cmp_pasid(r_cmp_pasid),
      .hit(r_hit),
      .fn(r_fn),
      .perm(r_perm),
      .touch(r_touch),
      .wr_way(x2_way),
      .wr_row(x2_row),
      .wr_word(x2_word),
      .ref_rd_en(op_fill),
      .ref_rd_row(x0_row),
      .ref_rd(r_ref),
      .ref_wr(x2_fill || x2_clear),
      .ref_wr_bits(x2_ref)
  );

  dmmu_tlb_port #(
      .WAYS(WAYS),
      .LOG_SETS(LOG_SETS),
      .PN_W(PN_W),
      .FN_W(FN_W)
  ) port_w (
      .clk(clk),
      .rst(rst),
      .rd_en(w_rd_en),
      .rd_row(w_rd_pn[LOG_SETS-1:0] ^ w_rd_pasid[LOG_SETS-1:0]),
      .cmp_pn(w_cmp_pn),
      .cmp_pasid(w_cmp_pasid),
      .hit(w_hit),
      .fn(w_fn),
      .perm(w_perm),
      .touch(w_touch),
      .wr_way(x2_way),
      .wr_row(x2_row),
      .wr_word(x2_word),
      .ref_rd_en(op_fill),
      .ref_rd_row(x0_row),
      .ref_rd(w_ref),
      .ref_wr(x2_fill || x2_clear),
      .ref_wr_bits({WAYS{1'b0}})
  );

  wire unused = &{1'b0, r_rd_pn, r_rd_pasid, w_rd_pn, w_rd_pasid};

endmodule

`default_nettype wire
