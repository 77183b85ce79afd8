`resetall
`timescale 1ns / 1ps
`default_nettype none

// Set-associative translations of one page size. Reads and writes look up in copies of their own (dmmu_tlb_port); a third
// copy of the tags serves fills and invalidations, so that maintenance never takes a lookup's turn.
// Maintenance: op_start (x0 of the first row) visits the rows of the pages op_lo to op_hi, all of them with op_many: one row a
// cycle (SERIAL = 0), or one way a cycle with a single comparison (SERIAL = 1). busy is high from the cycle after op_start
// until and with the last x0. The tags are read in x1 and compared in x3, the way is chosen in x4, and the row is written in
// W = x0 + 5 (of the last way for a fill).
// op_* hold from op_start until the first cycle with neither op_start nor busy, and PASID, index and perm until W.
// A fill is a visit of a single page, every second cycle; the next one comes when busy is low.
// Invariant: the three copies hold the same valid tags; at most one way of a row matches a {PASID, page}. An entry belongs to
// an attached PASID and knows it by its index in the attach table.
module dmmu_tlb #(
    parameter WAYS = 4,
    parameter LOG_SETS = 8,
    parameter PN_W = 36,
    parameter FN_W = 36,
    parameter LOG_PASIDS = 4,
    parameter RAW = 1,
    parameter SERIAL = 0
) (
    input wire clk,
    input wire rst,
    output wire ready,

    input wire r_rd_en,
    input wire [LOG_SETS-1:0] r_rd_row,
    input wire [PN_W-1:0] r_cmp_pn,
    input wire [LOG_SETS-1:0] r_cmp_pasid,
    input wire [(1<<LOG_PASIDS)-1:0] r_cmp_match,
    output wire r_hit,
    output wire r_allowed,
    output wire [FN_W-1:0] r_fn,
    input wire r_touch,

    input wire w_rd_en,
    input wire [LOG_SETS-1:0] w_rd_row,
    input wire [PN_W-1:0] w_cmp_pn,
    input wire [LOG_SETS-1:0] w_cmp_pasid,
    input wire [(1<<LOG_PASIDS)-1:0] w_cmp_match,
    output wire w_hit,
    output wire w_allowed,
    output wire [FN_W-1:0] w_fn,
    input wire w_touch,

    // maintenance, x0
    input wire op_start,
    output wire busy,
    input wire op_fill,
    input wire op_every,
    input wire op_many,
    input wire [PN_W-1:0] op_lo,
    input wire [PN_W-1:0] op_hi,
    input wire [LOG_SETS-1:0] op_pasid,
    input wire [LOG_PASIDS-1:0] op_index,
    input wire [FN_W-1:0] op_fn,
    input wire [1:0] op_perm,

    // W: a row is written, by a fill
    output reg wr,
    output wire fill_write,
    output wire [LOG_SETS-1:0] fill_row,
    output reg evicted,
    output reg [3:0] dropped
);

  localparam TAG_W = PN_W - LOG_SETS;
  localparam TW = 1 + LOG_PASIDS + TAG_W;
  localparam LOG_WAYS = $clog2(WAYS);
  // Ways compared at once, and the rows of their RAM.
  localparam N = (SERIAL != 0) ? 1 : WAYS;
  localparam LOG_ROWS = (SERIAL != 0) ? LOG_SETS + LOG_WAYS : LOG_SETS;

  // ------------------------------------------------------------------ x0: rows
  // After rst every row is visited and cleared.
  reg clear;
  reg walks;
  reg [LOG_SETS-1:0] step;
  wire way_last;
  wire go = op_start || walks;
  wire [LOG_SETS:0] low = {1'b0, op_lo[LOG_SETS-1:0]} + {1'b0, step};
  wire [LOG_SETS-1:0] x0_row = low[LOG_SETS-1:0] ^ op_pasid;
  // Rows behind the first; there one cycle after op_start.
  reg [LOG_SETS-1:0] span;
  wire row_last = op_many ? &step : op_start ? op_lo[LOG_SETS-1:0] == op_hi[LOG_SETS-1:0] : step == span;
  wire on = go && !(row_last && way_last);

  always @(posedge clk) begin
    if (rst) begin
      walks <= 1'b1;
      clear <= 1'b1;
    end else begin
      walks <= on;
      clear <= clear && on;
    end
  end

  always @(posedge clk) begin
    span <= op_hi[LOG_SETS-1:0] - op_lo[LOG_SETS-1:0];
    if (rst || !go) step <= {LOG_SETS{1'b0}};
    else if (way_last) step <= step + {{(LOG_SETS - 1) {1'b0}}, 1'b1};
  end

  // ------------------------------------------------------------------ x1, x2: the tags are read
  reg x1_go;
  reg x1_clear;
  reg x1_last;
  reg x1_before;
  reg [LOG_SETS-1:0] x1_low;
  reg [LOG_SETS-1:0] x1_row;
  // Whether the low part of the page number lies beyond that of the last page.
  wire [LOG_SETS:0] beyond = {1'b0, op_hi[LOG_SETS-1:0]} - {1'b0, x1_low};
  wire unused_beyond = &{1'b0, beyond[LOG_SETS-1:0]};
  reg x2_go;
  reg x2_clear;
  reg x2_last;
  reg x2_before;
  reg x2_beyond;
  reg [LOG_SETS-1:0] x2_row;

  always @(posedge clk) begin
    x1_last <= way_last;
    // Whether the low part lies before that of the first page.
    x1_before <= low[LOG_SETS];
    x1_low <= low[LOG_SETS-1:0];
    x1_row <= x0_row;
    x2_last <= x1_last;
    x2_before <= x1_before;
    x2_beyond <= beyond[LOG_SETS];
    x2_row <= x1_row;
  end

  // ------------------------------------------------------------------ x3: compare
  reg x3_go;
  reg x3_clear;
  reg x3_last;
  reg x3_before;
  reg x3_beyond;
  reg [LOG_SETS-1:0] x3_row;
  reg x3_fill;
  reg x3_every;
  reg [LOG_PASIDS-1:0] x3_index;
  reg [TAG_W-1:0] x3_lo;
  reg [TAG_W-1:0] x3_hi;
  reg [FN_W-1:0] x3_fn;
  reg [WAYS-1:0] x3_ref;
  wire [N-1:0] x3_valid;
  wire [WAYS-1:0] r_ref;
  wire [WAYS-1:0] w_ref;

  always @(posedge clk) begin
    x3_last <= x2_last;
    x3_before <= x2_before;
    x3_beyond <= x2_beyond;
    x3_row <= x2_row;
    x3_ref <= r_ref | w_ref;
    if (x1_go) begin
      x3_fill <= op_fill;
      x3_every <= op_every;
      x3_index <= op_index;
      x3_lo <= op_lo[PN_W-1:LOG_SETS];
      x3_hi <= op_hi[PN_W-1:LOG_SETS];
      x3_fn <= op_fn;
    end
  end

  // Not recently used, in turn; all ways when all are referenced.
  wire x4_evict;
  wire [WAYS-1:0] x3_victim;
  arb_rr #(
      .N(WAYS)
  ) victim (
      .clk(clk),
      .rst(rst),
      .req((&x3_ref) ? {WAYS{1'b1}} : ~x3_ref),
      .grant(x3_victim),
      .advance(x4_evict)
  );

  // ------------------------------------------------------------------ x4: choose
  reg x4_go;
  reg x4_clear;
  reg x4_last;
  reg x4_fill;
  reg [LOG_SETS-1:0] x4_row;
  reg [WAYS-1:0] x4_ref;
  reg [TAG_W-1:0] x4_tag;
  reg [FN_W-1:0] x4_fn;
  reg [N-1:0] x4_mine;
  reg [N-1:0] x4_below;
  reg [N-1:0] x4_above;
  wire [N-1:0] x4_covered = x4_mine & ~x4_below & ~x4_above;
  wire [WAYS-1:0] x4_way;
  wire x4_write;

  always @(posedge clk) begin
    x4_last <= x3_last;
    x4_fill <= x3_fill;
    x4_row <= x3_row;
    x4_ref <= x3_ref;
    x4_tag <= x3_lo;
    x4_fn <= x3_fn;
  end

  // ------------------------------------------------------------------ W
  reg x5_fill;
  reg x5_clear;
  reg [WAYS-1:0] x5_way;
  reg [LOG_SETS-1:0] x5_row;
  reg [TAG_W-1:0] x5_tag;
  reg [FN_W-1:0] x5_fn;
  reg [LOG_PASIDS-1:0] x5_index;
  reg [1:0] x5_perm;
  reg [WAYS-1:0] x5_ref;
  wire [TW-1:0] x5_tag_word = {x5_fill, x5_index, x5_tag};
  wire [1+2+LOG_PASIDS+TAG_W+FN_W-1:0] x5_word = {x5_fill, x5_perm, x5_index, x5_tag, x5_fn};
  // The way filled is marked; when all are, only that one.
  wire [WAYS-1:0] x5_old = (&(x5_ref | x5_way)) ? {WAYS{1'b0}} : x5_ref;
  wire [WAYS-1:0] x5_marks = x5_clear ? {WAYS{1'b0}} : x5_old | x5_way;

  always @(posedge clk) begin
    x5_row   <= x4_row;
    x5_tag   <= x4_tag;
    x5_fn    <= x4_fn;
    x5_index <= op_index;
    x5_perm  <= op_perm;
    x5_ref   <= x4_ref;
  end

  always @(posedge clk) begin
    if (rst) begin
      {x1_go, x2_go, x3_go, x4_go} <= 4'b0000;
      {x1_clear, x2_clear, x3_clear, x4_clear, x5_clear} <= 5'b11111;
      x5_fill <= 1'b0;
      x5_way <= {WAYS{1'b0}};
      wr <= 1'b0;
      evicted <= 1'b0;
    end else begin
      {x1_go, x2_go, x3_go, x4_go} <= {go, x1_go, x2_go, x3_go};
      {x1_clear, x2_clear, x3_clear, x4_clear, x5_clear} <= {clear, x1_clear, x2_clear, x3_clear, x4_clear};
      x5_fill <= x4_write && x4_fill && !x4_clear;
      x5_way <= x4_way;
      wr <= x4_write;
      evicted <= x4_evict;
    end
  end

  assign ready = !x5_clear;
  assign fill_write = x5_fill;
  assign fill_row = x5_row;

  reg [3:0] drops;
  integer i;
  always @* begin
    drops = 4'd0;
    for (i = 0; i < WAYS; i = i + 1) drops = drops + {3'd0, x5_way[i] && !x5_fill && !x5_clear};
  end

  always @(posedge clk) dropped <= drops;

  // ------------------------------------------------------------------ tags and comparison
  wire [LOG_ROWS-1:0] rd_addr;
  wire [LOG_ROWS-1:0] wr_addr;
  wire [N-1:0] wr_tag;

  genvar w;
  generate
    for (w = 0; w < N; w = w + 1) begin : gen_way
      wire [TW-1:0] read;
      reg [TW-1:0] word;
      wire [TAG_W-1:0] tag = word[TAG_W-1:0];

      ram_1r1w #(
          .W(TW),
          .LOG_DEPTH(LOG_ROWS),
          .OLD(0)
      ) tags (
          .clk(clk),
          .wr_en(wr_tag[w]),
          .wr_addr(wr_addr),
          .wr_data(x5_tag_word),
          .rd_en(x1_go),
          .rd_addr(rd_addr),
          .rd_data(read)
      );

      // The page lies below the first, or above the last: a borrow.
      wire [TAG_W+1:0] below = {1'b0, tag, !x3_before} - {1'b0, x3_lo, 1'b1};
      wire [TAG_W+1:0] above = {1'b0, x3_hi, 1'b0} - {1'b0, tag, x3_beyond};
      wire unused = &{1'b0, below[TAG_W:0], above[TAG_W:0]};

      assign x3_valid[w] = word[TW-1];

      always @(posedge clk) begin
        word <= read;
        x4_mine[w] <= word[TW-1] && (x3_every || word[TAG_W+:LOG_PASIDS] == x3_index);
        x4_below[w] <= below[TAG_W+1];
        x4_above[w] <= above[TAG_W+1];
      end
    end

    if (SERIAL != 0) begin : gen_serial
      // The ways of a row in turn; for a fill the first empty one and that of the same page are remembered.
      reg [WAYS-1:0] x0_turn;
      reg [WAYS-1:0] x1_turn;
      reg [WAYS-1:0] x2_turn;
      reg [WAYS-1:0] x3_turn;
      reg [WAYS-1:0] x4_turn;
      reg x4_empty;
      reg [WAYS-1:0] x4_victim;
      reg found;
      reg [WAYS-1:0] found_way;
      wire here = (x4_covered != 1'b0) || (x4_empty && !found);
      wire [(1<<LOG_WAYS)-1:0] rd_way;
      wire [(1<<LOG_WAYS)-1:0] wr_way;

      assign way_last = x0_turn[WAYS-1];
      assign busy = walks;
      assign x4_write = x4_clear || (x4_go && (x4_fill ? x4_last : x4_covered != 1'b0));
      assign x4_way = !x4_write ? {WAYS{1'b0}}
          : (x4_clear || !x4_fill || here) ? x4_turn : found ? found_way : x4_victim;
      assign x4_evict = x4_go && x4_fill && x4_last && !x4_clear && !here && !found;
      assign wr_tag = x5_way != {WAYS{1'b0}};

      if ((1 << LOG_WAYS) != WAYS) begin : gen_pad
        assign rd_way[(1<<LOG_WAYS)-1:WAYS] = {((1 << LOG_WAYS) - WAYS) {1'b0}};
        assign wr_way[(1<<LOG_WAYS)-1:WAYS] = {((1 << LOG_WAYS) - WAYS) {1'b0}};
      end
      assign rd_way[WAYS-1:0] = x1_turn;
      assign wr_way[WAYS-1:0] = x5_way;
      assign rd_addr[LOG_ROWS-1:LOG_WAYS] = x1_row;
      assign wr_addr[LOG_ROWS-1:LOG_WAYS] = x5_row;

      encode #(
          .LOG_N(LOG_WAYS)
      ) rd_encode (
          .onehot(rd_way),
          .index(rd_addr[LOG_WAYS-1:0])
      );
      encode #(
          .LOG_N(LOG_WAYS)
      ) wr_encode (
          .onehot(wr_way),
          .index(wr_addr[LOG_WAYS-1:0])
      );

      always @(posedge clk) begin
        if (rst) x0_turn <= {{(WAYS - 1) {1'b0}}, 1'b1};
        else if (go) x0_turn <= {x0_turn[WAYS-2:0], x0_turn[WAYS-1]};
      end

      always @(posedge clk) begin
        x1_turn <= x0_turn;
        x2_turn <= x1_turn;
        x3_turn <= x2_turn;
        x4_turn <= x3_turn;
        x4_empty <= !x3_valid[0];
        x4_victim <= x3_victim;
        if (here) found_way <= x4_turn;
        if (x4_last || !x4_go) found <= 1'b0;
        else if (here) found <= 1'b1;
      end
    end else begin : gen_parallel
      // The first empty way, else the victim.
      reg [WAYS-1:0] x4_pick;
      reg x4_full;
      wire [WAYS-1:0] empty = ~x3_valid;
      wire [WAYS-1:0] first_empty = empty & (~empty + {{(WAYS - 1) {1'b0}}, 1'b1});
      wire same = x4_covered != {WAYS{1'b0}};
      wire takes = x4_go && x4_fill && !same;
      wire unused_last = &{1'b0, x4_last};

      assign way_last = 1'b1;
      assign rd_addr = x1_row;
      assign wr_addr = x5_row;
      assign wr_tag = x5_way;
      assign x4_write = x4_clear || (x4_go && (x4_fill || same));
      assign x4_way = {WAYS{x4_clear}} | ({WAYS{x4_go}} & x4_covered) | ({WAYS{takes}} & x4_pick);
      assign x4_evict = takes && x4_full && !x4_clear;

      always @(posedge clk) begin
        x4_pick <= (empty == {WAYS{1'b0}}) ? x3_victim : first_empty;
        x4_full <= empty == {WAYS{1'b0}};
      end

      if (LOG_SETS == 1) begin : gen_hold
        // The next page but one has the row of this one: it reads behind the write.
        reg hold;
        always @(posedge clk) begin
          if (rst) hold <= 1'b0;
          else hold <= op_start && op_fill;
        end
        assign busy = walks || hold;
      end else begin : gen_free
        assign busy = walks;
      end
    end
  endgenerate

  // ------------------------------------------------------------------ lookups
  dmmu_tlb_port #(
      .WAYS(WAYS),
      .LOG_SETS(LOG_SETS),
      .PN_W(PN_W),
      .FN_W(FN_W),
      .WRITE(0),
      .LOG_PASIDS(LOG_PASIDS),
      .RAW(RAW)
  ) port_r (
      .clk(clk),
      .rst(rst),
      .rd_en(r_rd_en),
      .rd_row(r_rd_row),
      .cmp_pn(r_cmp_pn),
      .cmp_pasid(r_cmp_pasid),
      .cmp_match(r_cmp_match),
      .hit(r_hit),
      .allowed(r_allowed),
      .fn(r_fn),
      .touch(r_touch),
      .wr_way(x5_way),
      .wr_row(x5_row),
      .wr_word(x5_word),
      .ref_rd_en(x1_go),
      .ref_rd_row(x1_row),
      .ref_rd(r_ref),
      .ref_wr(x5_fill || x5_clear),
      .ref_wr_bits(x5_marks)
  );

  dmmu_tlb_port #(
      .WAYS(WAYS),
      .LOG_SETS(LOG_SETS),
      .PN_W(PN_W),
      .FN_W(FN_W),
      .WRITE(1),
      .LOG_PASIDS(LOG_PASIDS),
      .RAW(RAW)
  ) port_w (
      .clk(clk),
      .rst(rst),
      .rd_en(w_rd_en),
      .rd_row(w_rd_row),
      .cmp_pn(w_cmp_pn),
      .cmp_pasid(w_cmp_pasid),
      .cmp_match(w_cmp_match),
      .hit(w_hit),
      .allowed(w_allowed),
      .fn(w_fn),
      .touch(w_touch),
      .wr_way(x5_way),
      .wr_row(x5_row),
      .wr_word(x5_word),
      .ref_rd_en(x1_go),
      .ref_rd_row(x1_row),
      .ref_rd(w_ref),
      .ref_wr(x5_fill || x5_clear),
      .ref_wr_bits({WAYS{1'b0}})
  );

endmodule

`default_nettype wire
