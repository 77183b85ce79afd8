`resetall
`timescale 1ns / 1ps
`default_nettype none

// DMA writer: AXI4 write bursts at bus addresses become RQ memory writes.
// Beats merge into one TLP up to a boundary of Max_Payload bytes (so none crosses 4 KiB). A hole in the strobes ends
// the TLP; a beat whose holes PCIe cannot express goes out as one-dword TLPs. A beat without strobes sends nothing.
// B is given when the last TLP of the burst has been taken on RQ, in AW order; a burst that is not INCR, or that
// meets enable = 0 (bus master off), gets SLVERR and sends nothing (further).
// The AT field and s_axi_awuser (requester, PASID) travel with each TLP: the seam for ATS and the PASID prefix.
// Latency: last W beat of a TLP to RQ valid 4 cycles. Throughput: one RQ beat a cycle.
// Invariant: a TLP is described only after all of its data is buffered, so RQ never waits for W inside a TLP.
module pcie_dma_wr #(
    parameter DATA_W = 128,
    parameter ID_W = 6,
    parameter USER_W = 28,
    parameter LOG_DEPTH = (DATA_W == 128) ? 7 : (DATA_W == 256) ? 6 : 5,
    parameter RQ_USER_W = (DATA_W == 512) ? 137 : 62
) (
    input wire clk,
    input wire rst,

    input wire enable,
    input wire [1:0] max_payload,

    input wire [ID_W-1:0] s_axi_awid,
    input wire [63:0] s_axi_awaddr,
    input wire [2:0] s_axi_awsize,
    input wire [1:0] s_axi_awburst,
    input wire [1:0] s_axi_awat,
    input wire [USER_W-1:0] s_axi_awuser,
    input wire s_axi_awvalid,
    output wire s_axi_awready,
    input wire [DATA_W-1:0] s_axi_wdata,
    input wire [DATA_W/8-1:0] s_axi_wstrb,
    input wire s_axi_wlast,
    input wire s_axi_wvalid,
    output wire s_axi_wready,
    output wire [ID_W-1:0] s_axi_bid,
    output wire [1:0] s_axi_bresp,
    output wire s_axi_bvalid,
    input wire s_axi_bready,

    output wire [DATA_W-1:0] m_axis_rq_tdata,
    output wire [DATA_W/32-1:0] m_axis_rq_tkeep,
    output wire m_axis_rq_tlast,
    output wire [RQ_USER_W-1:0] m_axis_rq_tuser,
    output wire [USER_W-1:0] m_axis_rq_info,
    output wire m_axis_rq_tvalid,
    input wire m_axis_rq_tready
);

  initial begin
    if (DATA_W != 128 && DATA_W != 256 && DATA_W != 512) begin
      $display("pcie_dma_wr: DATA_W must be 128, 256 or 512");
      $finish;
    end
    if ((DATA_W / 8) << LOG_DEPTH < 1024) begin
      $display("pcie_dma_wr: the buffer must hold a Max_Payload of 1024 bytes");
      $finish;
    end
  end

  localparam N = DATA_W / 32;
  localparam LN = (N == 4) ? 2 : (N == 8) ? 3 : 4;
  localparam ROW = LN + 2;
  localparam DESC_W = 62 + 9 + 4 + 4 + 2 + USER_W + ID_W + 3;
  localparam HEADER_END = (N == 4) ? 0 : 4;
  localparam [LN-1:0] HEADER_LANES = HEADER_END[LN-1:0];
  localparam [N-1:0] ONE_LANE = {{(N - 1) {1'b0}}, 1'b1};

  // ---- s1: a W beat and what its strobes say
  reg s1_valid;
  reg [DATA_W-1:0] s1_data;
  reg [DATA_W/8-1:0] s1_strb;
  reg s1_last;
  wire s1_take;

  assign s_axi_wready = !s1_valid || s1_take;

  always @(posedge clk) begin
    if (s_axi_wready) begin
      s1_data <= s_axi_wdata;
      s1_strb <= s_axi_wstrb;
      s1_last <= s_axi_wlast;
    end
  end

  always @(posedge clk) begin
    if (rst) s1_valid <= 1'b0;
    else if (s_axi_wready) s1_valid <= s_axi_wvalid;
  end

  // A lane is a dword: used with any strobe, full with all four.
  wire [N-1:0] used;
  wire [N-1:0] full;
  genvar g;
  generate
    for (g = 0; g < N; g = g + 1) begin : gen_lane
      assign used[g] = s1_strb[4*g+:4] != 4'd0;
      assign full[g] = s1_strb[4*g+:4] == 4'hF;
    end
  endgenerate

  reg [LN-1:0] low;
  reg [LN-1:0] high;
  integer i;
  always @* begin
    low  = {LN{1'b0}};
    high = {LN{1'b0}};
    for (i = N - 1; i >= 0; i = i - 1) if (used[i]) low = i[LN-1:0];
    for (i = 0; i < N; i = i + 1) if (used[i]) high = i[LN-1:0];
  end

  wire [3:0] low_be = s1_strb[{low, 2'b00}+:4];
  wire [3:0] high_be = s1_strb[{high, 2'b00}+:4];
  wire one = low == high;
  wire starts_well = low_be == 4'hF || low_be == 4'hE || low_be == 4'hC || low_be == 4'h8;
  wire ends_well = high_be == 4'hF || high_be == 4'h7 || high_be == 4'h3 || high_be == 4'h1;
  wire [N-1:0] after_low = ~((ONE_LANE << low) | ((ONE_LANE << low) - ONE_LANE));
  wire [N-1:0] before_high = (ONE_LANE << high) - ONE_LANE;
  wire no_hole = (after_low & before_high & ~full) == {N{1'b0}};
  wire silent = used == {N{1'b0}};
  wire plain = one || (no_hole && starts_well && ends_well);
  wire reaches_end = (&high) && (one ? starts_well : high_be == 4'hF);
  wire joins = low == {LN{1'b0}} && plain && !silent && (one ? ends_well : low_be == 4'hF);

  // ---- AW
  wire [ID_W-1:0] aw_id;
  wire [63:0] aw_addr;
  wire [2:0] aw_size;
  wire [1:0] aw_burst;
  wire [1:0] aw_at;
  wire [USER_W-1:0] aw_user;
  wire aw_valid;
  wire [3:0] unused_aw_level;

  fifo #(
      .W(ID_W + 64 + 3 + 2 + 2 + USER_W),
      .LOG_DEPTH(3)
  ) aw_fifo (
      .clk(clk),
      .rst(rst),
      .in_valid(s_axi_awvalid),
      .in_ready(s_axi_awready),
      .in_data({s_axi_awid, s_axi_awaddr, s_axi_awsize, s_axi_awburst, s_axi_awat, s_axi_awuser}),
      .out_valid(aw_valid),
      .out_ready(s1_take && s1_last),
      .out_data({aw_id, aw_addr, aw_size, aw_burst, aw_at, aw_user}),
      .level(unused_aw_level)
  );

  reg in_burst;
  reg [63:0] next_addr;
  wire [63:0] addr = in_burst ? next_addr : aw_addr;
  wire [63:0] step = 64'd1 << aw_size;
  wire incr = aw_burst == 2'b01;

  always @(posedge clk) begin
    if (s1_take) next_addr <= (addr & ~(step - 64'd1)) + step;
  end

  always @(posedge clk) begin
    if (rst) in_burst <= 1'b0;
    else if (s1_take) in_burst <= !s1_last;
  end

  // ---- s2: beats merge into TLPs
  reg open;
  reg [61:0] open_addr;
  reg [8:0] open_count;
  reg [3:0] open_first_be;
  reg [3:0] open_last_be;
  reg [N-1:0] sent;

  wire [N-1:0] rest = used & ~sent;
  wire [N-1:0] pick = rest & (~rest + ONE_LANE);
  wire rest_ends = rest == pick;
  reg [LN-1:0] pick_lane;
  integer j;
  always @* begin
    pick_lane = {LN{1'b0}};
    for (j = 0; j < N; j = j + 1) if (pick[j]) pick_lane = pick_lane | j[LN-1:0];
  end

  // The next row starts a block of Max_Payload bytes.
  wire [9:0] row_end = {addr[9:ROW], {ROW{1'b1}}};
  wire [9:0] block = (10'd128 << max_payload) - 10'd1;
  wire block_ends = (row_end & block) == block;

  wire [8:0] lanes = {{(9 - LN) {1'b0}}, high - low} + 9'd1;
  wire work = s1_valid && aw_valid;
  wire continues = open && joins;
  wire flush = work && open && !joins;
  wire skip = work && !open && (silent || !incr);
  wire split = work && !open && incr && !silent && !plain;
  wire merge = work && (!open || joins) && incr && !silent && plain;
  wire closes = s1_last || !reaches_end || block_ends;

  wire [61:0] row_addr = {addr[63:ROW], {LN{1'b0}}};
  wire [61:0] merge_addr = continues ? open_addr : row_addr | {{(62 - LN) {1'b0}}, low};
  wire [8:0] merge_count = (continues ? open_count : 9'd0) + lanes;
  wire [3:0] merge_first_be = continues ? open_first_be : low_be;

  wire data_ready;
  wire desc_ready;
  wire room = data_ready && desc_ready;

  assign s1_take = room && (skip || (split && rest_ends) || merge);
  wire data_push = room && (split || merge);
  wire desc_push = room && (flush || (skip && s1_last) || split || (merge && closes));
  wire desc_ends_burst = !flush && s1_last && (!split || rest_ends);
  wire [61:0] desc_addr = flush ? open_addr : split ? row_addr | {{(62 - LN) {1'b0}}, pick_lane} : merge_addr;
  wire [8:0] desc_count = flush ? open_count : skip ? 9'd0 : split ? 9'd1 : merge_count;
  wire [3:0] desc_first_be = flush ? open_first_be : split ? s1_strb[{pick_lane, 2'b00}+:4] : merge_first_be;
  wire [3:0] desc_last_be = (desc_count == 9'd1) ? 4'd0 : flush ? open_last_be : high_be;

  always @(posedge clk) begin
    if (room && merge) begin
      open_addr <= merge_addr;
      open_count <= merge_count;
      open_first_be <= merge_first_be;
      open_last_be <= high_be;
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      open <= 1'b0;
      sent <= {N{1'b0}};
    end else if (room) begin
      if (flush) open <= 1'b0;
      else if (merge) open <= !closes;
      if (split) sent <= rest_ends ? {N{1'b0}} : sent | pick;
    end
  end

  wire src_valid;
  wire [LOG_DEPTH:0] unused_data_level;
  wire src_pop;
  wire [DATA_W-1:0] src_data;

  fifo #(
      .W(DATA_W),
      .LOG_DEPTH(LOG_DEPTH)
  ) data_fifo (
      .clk(clk),
      .rst(rst),
      .in_valid(data_push),
      .in_ready(data_ready),
      .in_data(s1_data),
      .out_valid(src_valid),
      .out_ready(src_pop),
      .out_data(src_data),
      .level(unused_data_level)
  );

  wire d_valid;
  wire [4:0] unused_desc_level;
  wire d_pop;
  wire [61:0] d_addr;
  wire [8:0] d_count;
  wire [3:0] d_first_be;
  wire [3:0] d_last_be;
  wire [1:0] d_at;
  wire [USER_W-1:0] d_user;
  wire [ID_W-1:0] d_id;
  wire d_ends_burst;
  wire d_bad;
  wire d_empty;

  fifo #(
      .W(DESC_W),
      .LOG_DEPTH(4)
  ) desc_fifo (
      .clk(clk),
      .rst(rst),
      .in_valid(desc_push),
      .in_ready(desc_ready),
      .in_data({
        desc_addr,
        desc_count,
        desc_first_be,
        desc_last_be,
        aw_at,
        aw_user,
        aw_id,
        desc_ends_burst,
        !incr,
        desc_count == 9'd0
      }),
      .out_valid(d_valid),
      .out_ready(d_pop),
      .out_data({d_addr, d_count, d_first_be, d_last_be, d_at, d_user, d_id, d_ends_burst, d_bad, d_empty}),
      .level(unused_desc_level)
  );

  // ---- s3: the TLP being framed. Source lane l of a row goes to stream lane (l + s3_turn) mod N: lanes from s3_turn
  // upward of an RQ beat come from the newest row, those below from the row before it.
  reg s3_valid;
  reg s3_drop;
  reg s3_empty;
  reg s3_ends_burst;
  reg s3_bad;
  reg s3_first;
  reg s3_preload;
  reg s3_header_only;
  reg [127:0] s3_header;
  reg [3:0] s3_first_be;
  reg [3:0] s3_last_be;
  reg [LN-1:0] s3_turn;
  reg [8:0] s3_rows;
  reg [9:0] s3_dwords;
  reg [USER_W-1:0] s3_user;
  reg [ID_W-1:0] s3_id;
  reg [DATA_W-1:0] s3_before;

  wire [LN-1:0] d_lane = d_addr[LN-1:0];
  wire [9:0] d_span = {1'b0, d_count} + {{(10 - LN) {1'b0}}, d_lane} + N[9:0] - 10'd1;

  wire rq_room;
  wire b_room;
  wire no_more_rows = s3_rows == 9'd0;
  wire wants_row = !no_more_rows && !s3_header_only;
  wire row_ok = !wants_row || src_valid;
  wire s3_final = s3_dwords <= N[9:0];
  wire s3_skip = s3_valid && (s3_drop || s3_empty);
  wire s3_load = s3_valid && !s3_skip && s3_preload && src_valid;
  wire s3_send = s3_valid && !s3_skip && !s3_preload && row_ok && rq_room && (b_room || !s3_final);
  wire s3_idle;
  // What sends nothing gives its B only after every TLP before it has left.
  wire s3_skip_done = s3_skip && no_more_rows && b_room && s3_idle;
  wire s3_done = (s3_send && s3_final) || s3_skip_done;

  assign d_pop   = d_valid && (!s3_valid || s3_done);
  assign src_pop = src_valid && ((s3_skip && !no_more_rows) || s3_load || (s3_send && wants_row));

  wire [2*DATA_W-1:0] turned_twice = {src_data, src_data} << {s3_turn, 5'd0};
  wire [DATA_W-1:0] turned = turned_twice[2*DATA_W-1:DATA_W];
  wire [N-1:0] newest = {N{1'b1}} << s3_turn;
  wire [DATA_W-1:0] mixed;
  generate
    for (g = 0; g < N; g = g + 1) begin : gen_mix
      assign mixed[32*g+:32] = newest[g] ? turned[32*g+:32] : s3_before[32*g+:32];
    end
  endgenerate
  wire [N-1:0] s3_keep = s3_final ? ~({N{1'b1}} << s3_dwords[LN:0]) : {N{1'b1}};

  always @(posedge clk) begin
    if (d_pop) begin
      s3_drop <= !enable || d_bad;
      s3_empty <= d_empty;
      s3_ends_burst <= d_ends_burst;
      s3_first <= 1'b1;
      s3_preload <= {{(10 - LN) {1'b0}}, d_lane} > 10'd4;
      s3_header_only <= N == 4 && d_lane == {LN{1'b0}};
      s3_header <= {32'd0, 16'd0, 1'b0, 4'd1, 2'd0, d_count, d_addr, d_at};
      s3_first_be <= d_first_be;
      s3_last_be <= d_last_be;
      s3_turn <= HEADER_LANES - d_lane;
      s3_rows <= d_empty ? 9'd0 : {{(LN - 1) {1'b0}}, d_span[9:LN]};
      s3_dwords <= {1'b0, d_count} + 10'd4;
      s3_user <= d_user;
      s3_id <= d_id;
    end else begin
      if (src_pop) s3_rows <= s3_rows - 9'd1;
      if (s3_load) s3_preload <= 1'b0;
      if (s3_send) begin
        s3_first <= 1'b0;
        s3_header_only <= 1'b0;
        s3_dwords <= s3_dwords - N[9:0];
      end
    end
    if (src_pop) s3_before <= turned;
  end

  // Whether a TLP of the burst has been dropped.
  wire s3_failed = s3_bad || (s3_drop && !s3_empty);
  wire d_carries = d_pop && d_bad;
  always @(posedge clk) begin
    if (rst) begin
      s3_valid <= 1'b0;
      s3_bad   <= 1'b0;
    end else begin
      if (d_pop) s3_valid <= 1'b1;
      else if (s3_done) s3_valid <= 1'b0;
      if (s3_done) s3_bad <= d_carries || (s3_failed && !s3_ends_burst);
      else if (d_carries) s3_bad <= 1'b1;
    end
  end

  // ---- s4: the RQ beat
  reg s4_valid;
  reg [DATA_W-1:0] s4_data;
  reg [N-1:0] s4_keep;
  reg s4_last;
  reg s4_sop;
  reg [7:0] s4_be;
  reg [LN-1:0] s4_end_lane;
  reg [USER_W-1:0] s4_user;
  reg [ID_W-1:0] s4_id;
  reg s4_gives_b;
  reg s4_bad;

  assign rq_room = !s4_valid || m_axis_rq_tready;
  assign s3_idle = !s4_valid;

  always @(posedge clk) begin
    if (rq_room) begin
      s4_data <= mixed;
      if (s3_first) s4_data[127:0] <= s3_header;
      s4_keep <= s3_keep;
      s4_last <= s3_final;
      s4_sop <= s3_first;
      s4_be <= {s3_last_be, s3_first_be};
      s4_end_lane <= s3_dwords[LN-1:0] - {{(LN - 1) {1'b0}}, 1'b1};
      s4_user <= s3_user;
      s4_id <= s3_id;
      s4_gives_b <= s3_final && s3_ends_burst;
      s4_bad <= s3_failed;
    end
  end

  always @(posedge clk) begin
    if (rst) s4_valid <= 1'b0;
    else if (rq_room) s4_valid <= s3_send;
  end

  assign m_axis_rq_tdata  = s4_data;
  assign m_axis_rq_tkeep  = s4_keep;
  assign m_axis_rq_tlast  = s4_last;
  assign m_axis_rq_info   = s4_user;
  assign m_axis_rq_tvalid = s4_valid;

  generate
    if (DATA_W == 512) begin : gen_user_512
      assign m_axis_rq_tuser = {
        105'd0, s4_end_lane, 1'b0, s4_last, 4'd0, 1'b0, s4_sop, 4'd0, 4'd0, s4_be[7:4], 4'd0, s4_be[3:0]
      };
    end else begin : gen_user
      wire unused_end = &{1'b0, s4_end_lane, s4_sop};
      assign m_axis_rq_tuser = {{(RQ_USER_W - 8) {1'b0}}, s4_be};
    end
  endgenerate

  // ---- B
  wire [4:0] b_level;
  wire b_from_rq = s4_valid && m_axis_rq_tready && s4_gives_b;
  wire b_from_skip = s3_skip_done && s3_ends_burst;
  wire b_fail = b_from_rq ? s4_bad : s3_failed;
  wire unused_b_ready;
  assign b_room = b_level < 5'd14;

  fifo #(
      .W(ID_W + 1),
      .LOG_DEPTH(4)
  ) b_fifo (
      .clk(clk),
      .rst(rst),
      .in_valid(b_from_rq || b_from_skip),
      .in_ready(unused_b_ready),
      .in_data({b_from_rq ? s4_id : s3_id, b_fail}),
      .out_valid(s_axi_bvalid),
      .out_ready(s_axi_bready),
      .out_data({s_axi_bid, s_axi_bresp[1]}),
      .level(b_level)
  );
  assign s_axi_bresp[0] = 1'b0;

  wire unused = &{
    1'b0,
    unused_b_ready,
    unused_aw_level,
    unused_data_level,
    unused_desc_level,
    turned_twice[DATA_W-1:0],
    d_span[LN-1:0]
  };

endmodule

`default_nettype wire
