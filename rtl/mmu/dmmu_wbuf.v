`resetall
`timescale 1ns / 1ps
`default_nettype none

// Write data. The beats of an arrival go straight to the bus side, or, when it is parked, into chunks of 8 beats that were
// reserved before its lookup (cr_*): a parked write always takes its beats, so the port never stalls behind it.
// rt_* says where the beats of each arrival go, in the order of the port; ws_* where the beats of each access on the bus
// side come from, in the order of the bus side. One beat per cycle each way.
// Invariants: reserved + used chunks <= CHUNKS; forwarded accesses have the same order in both queues.
module dmmu_wbuf #(
    parameter DATA_W = 128,
    parameter LOG_PARK = 6,
    parameter LOG_CHUNKS = 7
) (
    input wire clk,
    input wire rst,

    // reservation
    input wire [7:0] cr_len,
    output wire cr_ok,
    input wire cr_take,
    input wire cr_return,
    input wire [7:0] commit_len,
    input wire [LOG_PARK-1:0] commit_slot,

    input wire rt_valid,
    output wire rt_ready,
    input wire rt_park,
    input wire ws_valid,
    output wire ws_ready,
    input wire [1:0] ws_kind,

    output wire wdone_valid,
    output wire [LOG_PARK-1:0] wdone_slot,

    input wire [DATA_W-1:0] s_wdata,
    input wire [DATA_W/8-1:0] s_wstrb,
    input wire s_wvalid,
    output wire s_wready,

    output wire [DATA_W-1:0] m_wdata,
    output wire [DATA_W/8-1:0] m_wstrb,
    output wire m_wlast,
    output wire m_wvalid,
    input wire m_wready
);

  localparam CHUNKS = 1 << LOG_CHUNKS;
  localparam PARK = 1 << LOG_PARK;
  localparam BEAT_W = DATA_W + DATA_W / 8;
  localparam LOG_OUT = 3;

  localparam [1:0] FORWARD = 2'd0;
  localparam [1:0] DISCARD = 2'd2;

  wire [LOG_PARK+2:0] route_level;
  wire [LOG_PARK+2:0] source_level;
  wire out_ready;
  wire unused = &{1'b0, cr_len[2:0], route_level, source_level, out_ready};

  // ------------------------------------------------------------------ reservation
  reg [LOG_CHUNKS:0] credits;
  wire give;
  wire [LOG_CHUNKS:0] need = {{(LOG_CHUNKS - 4) {1'b0}}, cr_len[7:3]} + {{LOG_CHUNKS{1'b0}}, 1'b1};
  wire [LOG_CHUNKS:0] back = {{(LOG_CHUNKS - 4) {1'b0}}, commit_len[7:3]} + {{LOG_CHUNKS{1'b0}}, 1'b1};
  assign cr_ok = credits >= need;

  always @(posedge clk) begin
    if (rst) credits <= {1'b1, {LOG_CHUNKS{1'b0}}};
    else begin
      credits <= credits - (cr_take ? need : {(LOG_CHUNKS + 1) {1'b0}})
          + (cr_return ? back : {(LOG_CHUNKS + 1) {1'b0}}) + {{LOG_CHUNKS{1'b0}}, give};
    end
  end

  // ------------------------------------------------------------------ port
  wire s_valid;
  wire s_take;
  wire [BEAT_W-1:0] s_beat;

  skid #(
      .W(BEAT_W)
  ) port (
      .clk(clk),
      .rst(rst),
      .in_valid(s_wvalid),
      .in_ready(s_wready),
      .in_data({s_wstrb, s_wdata}),
      .out_valid(s_valid),
      .out_ready(s_take),
      .out_data(s_beat)
  );

  wire rt_has;
  wire rt_pop;
  wire to_park;
  wire [LOG_PARK-1:0] to_slot;
  wire [7:0] to_len;

  fifo #(
      .W(1 + LOG_PARK + 8),
      .LOG_DEPTH(LOG_PARK + 2)
  ) route (
      .clk(clk),
      .rst(rst),
      .in_valid(rt_valid),
      .in_ready(rt_ready),
      .in_data({rt_park, commit_slot, commit_len}),
      .out_valid(rt_has),
      .out_ready(rt_pop),
      .out_data({to_park, to_slot, to_len}),
      .level(route_level)
  );

  // ------------------------------------------------------------------ chunks
  wire nf_valid;
  wire [LOG_CHUNKS-1:0] nf;
  wire nf_take;
  wire [LOG_CHUNKS-1:0] give_chunk;

  pool #(
      .LOG_N(LOG_CHUNKS)
  ) chunks (
      .clk(clk),
      .rst(rst),
      .valid(nf_valid),
      .index(nf),
      .take(nf_take),
      .give(give),
      .give_index(give_chunk)
  );

  reg [LOG_CHUNKS-1:0] first[0:PARK-1];
  reg [LOG_CHUNKS-1:0] next[0:CHUNKS-1];

  // ------------------------------------------------------------------ beats in
  reg [7:0] in_beat;
  reg [LOG_CHUNKS-1:0] in_chunk;
  wire in_last = in_beat == to_len;
  wire in_new = in_beat[2:0] == 3'd0;
  wire in_store = rt_has && to_park && s_valid && (!in_new || nf_valid);
  wire in_forward;
  wire [LOG_CHUNKS-1:0] in_at = in_new ? nf : in_chunk;

  assign s_take = in_store || in_forward;
  assign rt_pop = s_take && in_last;
  assign nf_take = in_store && in_new;
  assign wdone_valid = in_store && in_last;
  assign wdone_slot = to_slot;

  always @(posedge clk) begin
    if (nf_take) begin
      in_chunk <= nf;
      if (in_beat == 8'd0) first[to_slot] <= nf;
      else next[in_chunk] <= nf;
    end
  end

  always @(posedge clk) begin
    if (rst) in_beat <= 8'd0;
    else if (s_take) in_beat <= in_last ? 8'd0 : in_beat + 8'd1;
  end

  // ------------------------------------------------------------------ beats out
  wire ws_has;
  wire ws_pop;
  wire [1:0] from_kind;
  wire [LOG_CHUNKS-1:0] from_first;
  wire [7:0] from_len;

  fifo #(
      .W(2 + LOG_CHUNKS + 8),
      .LOG_DEPTH(LOG_PARK + 2)
  ) source (
      .clk(clk),
      .rst(rst),
      .in_valid(ws_valid),
      .in_ready(ws_ready),
      .in_data({ws_kind, first[commit_slot], commit_len}),
      .out_valid(ws_has),
      .out_ready(ws_pop),
      .out_data({from_kind, from_first, from_len}),
      .level(source_level)
  );

  reg [7:0] out_beat;
  reg [LOG_CHUNKS-1:0] out_chunk;
  reg read_valid;
  reg read_last;
  wire [BEAT_W-1:0] read_beat;
  wire [LOG_OUT:0] out_level;
  wire out_space = out_level < {2'b01, {(LOG_OUT - 1) {1'b0}}};
  wire from_buffer = ws_has && from_kind != FORWARD;
  wire discards = from_kind == DISCARD;
  // Discarding goes a chunk at a time.
  wire out_last = out_beat[7:3] == from_len[7:3] && (discards || out_beat[2:0] == from_len[2:0]);
  wire out_turn = discards || out_beat[2:0] == 3'd7;
  wire [LOG_CHUNKS-1:0] out_at = (out_beat == 8'd0) ? from_first : out_chunk;
  wire out_read = from_buffer && (discards || out_space);

  assign in_forward = rt_has && !to_park && s_valid && ws_has && !from_buffer && !read_valid && out_space;
  assign ws_pop = (out_read && out_last) || (in_forward && in_last);
  assign give = out_read && (out_last || out_turn);
  assign give_chunk = out_at;

  ram_1r1w #(
      .W(BEAT_W),
      .LOG_DEPTH(LOG_CHUNKS + 3)
  ) beats (
      .clk(clk),
      .wr_en(in_store),
      .wr_addr({in_at, in_beat[2:0]}),
      .wr_data(s_beat),
      .rd_en(out_read),
      .rd_addr({out_at, out_beat[2:0]}),
      .rd_data(read_beat)
  );

  always @(posedge clk) begin
    read_last <= out_last;
    if (out_read) out_chunk <= out_turn ? next[out_at] : out_at;
  end

  always @(posedge clk) begin
    if (rst) begin
      out_beat   <= 8'd0;
      read_valid <= 1'b0;
    end else begin
      read_valid <= out_read && !discards;
      if (out_read) out_beat <= out_last ? 8'd0 : discards ? {out_beat[7:3] + 5'd1, 3'd0} : out_beat + 8'd1;
    end
  end

  fifo #(
      .W(BEAT_W + 1),
      .LOG_DEPTH(LOG_OUT)
  ) out (
      .clk(clk),
      .rst(rst),
      .in_valid(read_valid || in_forward),
      .in_ready(out_ready),
      .in_data(read_valid ? {read_last, read_beat} : {in_last, s_beat}),
      .out_valid(m_wvalid),
      .out_ready(m_wready),
      .out_data({m_wlast, m_wstrb, m_wdata}),
      .level(out_level)
  );

endmodule

`default_nettype wire
