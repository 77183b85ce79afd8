`resetall
`timescale 1ns / 1ps
`default_nettype none

// One lookup port of a page-size class: its copy of the entries and of the referenced bits.
// Latency: rd_* in one cycle, hit/fn/perm combinational against cmp_* in the next. One lookup per cycle.
// Invariant: a read in the cycle of a write returns the old word.
module dmmu_tlb_port #(
    parameter WAYS = 4,
    parameter LOG_SETS = 8,
    parameter PN_W = 36,
    parameter FN_W = 36
) (
    input wire clk,
    input wire rst,

    input wire rd_en,
    input wire [LOG_SETS-1:0] rd_row,
    input wire [PN_W-1:0] cmp_pn,
    input wire [19:0] cmp_pasid,
    output wire hit,
    output wire [FN_W-1:0] fn,
    output wire [1:0] perm,
    input wire touch,

    input wire [WAYS-1:0] wr_way,
    input wire [LOG_SETS-1:0] wr_row,
    input wire [1+2+20+PN_W-LOG_SETS+FN_W-1:0] wr_word,

    input wire ref_rd_en,
    input wire [LOG_SETS-1:0] ref_rd_row,
    output wire [WAYS-1:0] ref_rd,
    input wire ref_wr,
    input wire [WAYS-1:0] ref_wr_bits
);

  localparam LOG_WAYS = $clog2(WAYS);
  localparam TAG_W = PN_W - LOG_SETS;
  localparam EW = 1 + 2 + 20 + TAG_W + FN_W;

  wire [WAYS-1:0] way_hit;
  // A power of two for each way, so that the number of the way selects without a product.
  wire [(64<<LOG_WAYS)-1:0] way_data;

  assign hit = |way_hit;

  reg touch_valid;
  reg [LOG_SETS-1:0] touch_row;
  reg [WAYS-1:0] touch_way;

  genvar w;
  generate
    if ((1 << LOG_WAYS) != WAYS) begin : gen_pad
      assign way_data[(64<<LOG_WAYS)-1:WAYS*64] = {(((1 << LOG_WAYS) - WAYS) * 64) {1'b0}};
    end
    for (w = 0; w < WAYS; w = w + 1) begin : gen_way
      wire [EW-1:0] word;

      ram_1r1w #(
          .W(EW),
          .LOG_DEPTH(LOG_SETS)
      ) entries (
          .clk(clk),
              .wr_en(wr_way[w]),
          .wr_addr(wr_row),
          .wr_data(wr_word),
          .rd_en(rd_en),
          .rd_addr(rd_row),
          .rd_data(word)
      );

      assign way_hit[w] = word[EW-1] && word[FN_W+TAG_W+:20] == cmp_pasid
          && word[FN_W+:TAG_W] == cmp_pn[PN_W-1:LOG_SETS];
      assign way_data[w*64+:64] = {{(62 - FN_W) {1'b0}}, word[EW-3+:2], word[FN_W-1:0]};

      // A fill's update wins over a lookup's: the lookup's way is marked by its next use.
      ram_1r1w #(
          .W(1),
          .LOG_DEPTH(LOG_SETS)
      ) referenced (
          .clk(clk),
              .wr_en(ref_wr || (touch_valid && touch_way[w])),
          .wr_addr(ref_wr ? wr_row : touch_row),
          .wr_data(ref_wr ? ref_wr_bits[w] : 1'b1),
          .rd_en(ref_rd_en),
          .rd_addr(ref_rd_row),
          .rd_data(ref_rd[w])
      );
    end
  endgenerate

  // The number of the way that hits selects; without a hit fn and perm mean nothing.
  wire [LOG_WAYS-1:0] way;

  encode #(
      .LOG_N(LOG_WAYS)
  ) hit_way (
      .onehot({{((1 << LOG_WAYS) - WAYS) {1'b0}}, way_hit}),
      .index(way)
  );

  assign {perm, fn} = way_data[{way, 6'd0}+:FN_W+2];

  always @(posedge clk) begin
    touch_row <= cmp_pn[LOG_SETS-1:0] ^ cmp_pasid[LOG_SETS-1:0];
    touch_way <= way_hit;
  end

  always @(posedge clk) begin
    if (rst) touch_valid <= 1'b0;
    else touch_valid <= touch && hit;
  end

endmodule

`default_nettype wire
