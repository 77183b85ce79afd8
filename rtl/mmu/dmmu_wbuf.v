`resetall
`timescale 1ns / 1ps
`default_nettype none

// Write data. The beats of an arrival go straight to the bus side, or, when it is parked, into chunks of 8 beats that were
// reserved at its acceptance (cr_*): a parked write always takes its beats, so the port never stalls behind it.
// route says where the beats of each arrival go, in the order of the port; source where the beats of each access on the bus
// side come from, in the order of the bus side. One beat per cycle each way; a discard gives a chunk back every three cycles.
// The first beat of a forwarded write is at m_wvalid four cycles after c_valid, of a buffered one seven cycles after ws_valid.
// Invariants: reserved + used chunks <= CHUNKS; forwarded accesses have the same order in route and source; an access is
// sent on from the buffer, or discarded, only after its wdone; no queue overflows (see their depths).
module dmmu_wbuf #(
    parameter DATA_W = 128,
    parameter LOG_PARK = 6,
    parameter LOG_TRACK = 6,
    parameter LOG_CHUNKS = 7
) (
    input wire clk,
    input wire rst,

    // Reservation. cr_next: in the next cycle a burst of any length has room.
    input wire cr_accept,
    input wire [7:0] cr_len,
    output wire cr_next,

    // A fresh access leaves the pipeline, its beats are buffered or forwarded.
    input wire c_valid,
    input wire c_park,
    // An access is sent on, or a buffered one is discarded.
    input wire ws_valid,
    input wire [1:0] ws_kind,
    input wire [LOG_PARK-1:0] c_slot,
    input wire [7:0] c_len,

    // The last beat of a buffered access is stored.
    output reg wdone_valid,
    input wire wdone_ready,
    output reg [LOG_PARK-1:0] wdone_slot,

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
  // An access in route is owed beats by the port: a parked one keeps its slot until they are stored, a forwarded one is in
  // flight until they are out. So route has at most PARK + TRACK entries. An access in source is in flight, or a discard that
  // holds a chunk or more: at most TRACK + CHUNKS entries. A slot is in done at most once.
  localparam LOG_ROUTE = ((LOG_PARK > LOG_TRACK) ? LOG_PARK : LOG_TRACK) + 1;
  localparam LOG_SOURCE = ((LOG_CHUNKS > LOG_TRACK) ? LOG_CHUNKS : LOG_TRACK) + 1;
  localparam LOG_BUF = 4;

  localparam [1:0] BUFFER = 2'd1;
  localparam [1:0] DISCARD = 2'd2;

  initial begin
    if (CHUNKS < PARK + 63) begin
      $display("dmmu_wbuf: CHUNKS must be at least PARK + 63");
      $finish;
    end
  end

  // Queues that cannot overflow, and levels that nobody asks for.
  wire done_ready;
  wire buf_ready;
  wire [LOG_BUF:0] port_level;
  wire [LOG_PARK:0] done_level;
  wire unused = &{1'b0, cr_len[2:0], done_ready, buf_ready, port_level, done_level};

  // ------------------------------------------------------------------ reservation
  // Free chunks beyond those of two of the longest bursts, the one of the cycle before not counted yet; negative: no burst is
  // accepted.
  reg [LOG_CHUNKS:0] spare;
  reg [5:0] back;
  reg give;
  wire forwarded = c_valid && !c_park;
  // -(cr_len / 8 + 1)
  reg [LOG_CHUNKS:0] taken;

  // What comes back counts one cycle later.
  wire [LOG_CHUNKS:0] spare_less = spare + taken;
  assign cr_next = !spare_less[LOG_CHUNKS];

  always @(posedge clk) begin
    if (rst) begin
      spare <= CHUNKS[LOG_CHUNKS:0] - 64;
      taken <= {(LOG_CHUNKS + 1) {1'b0}};
      back  <= 6'd0;
    end else begin
      taken <= {{(LOG_CHUNKS - 4) {cr_accept}}, {5{cr_accept}} & ~cr_len[7:3]};
      spare <= spare_less + {{(LOG_CHUNKS - 5) {1'b0}}, back};
      // A number that is given now is in the pool again before its room is.
      back <= {1'b0, {5{forwarded}} & c_len[7:3]} + {5'd0, forwarded} + {5'd0, give};
    end
  end

  // ------------------------------------------------------------------ port
  wire s_valid;
  wire s_take;
  wire [BEAT_W-1:0] s_beat;

  fifo #(
      .W(BEAT_W),
      .LOG_DEPTH(LOG_BUF)
  ) port (
      .clk(clk),
      .rst(rst),
      .in_valid(s_wvalid),
      .in_ready(s_wready),
      .in_data({s_wstrb, s_wdata}),
      .out_valid(s_valid),
      .out_ready(s_take),
      .out_data(s_beat),
      .level(port_level)
  );

  // ------------------------------------------------------------------ beats in: the access at the port
  wire c_single = c_len == 8'd0;
  wire rt_has;
  wire rt_load;
  wire rt_park;
  wire rt_single;
  wire [LOG_PARK-1:0] rt_slot;
  wire [7:0] rt_len;

  dmmu_wqueue #(
      .W(2 + LOG_PARK + 8),
      .LOG_DEPTH(LOG_ROUTE)
  ) route (
      .clk(clk),
      .rst(rst),
      .in_valid(c_valid),
      .in_data({c_park, c_single, c_slot, c_len}),
      .out_valid(rt_has),
      .out_ready(rt_load),
      .out_data({rt_park, rt_single, rt_slot, rt_len})
  );

  reg in_fwd;
  reg in_park;
  reg in_any;
  reg in_first;
  // Also without an access: the next one comes.
  reg in_last;
  // The beat starts, or fills, a chunk.
  reg in_new;
  reg in_full;
  reg [LOG_PARK-1:0] in_slot;
  reg [7:0] in_left;
  reg [2:0] in_off;
  wire store = s_valid && in_park;
  wire forward;

  assign s_take  = store || forward;
  wire in_move = !in_any || s_take;
  assign rt_load = in_move && in_last;

  always @(posedge clk) begin
    if (in_move) begin
      in_slot  <= in_last ? rt_slot : in_slot;
      in_first <= in_last;
      in_left  <= in_last ? rt_len : in_left - 8'd1;
      in_new   <= in_last || in_off == 3'd7;
      in_full  <= in_last ? rt_single : in_off == 3'd6 || in_left == 8'd1;
      in_off   <= in_last ? 3'd0 : in_off + 3'd1;
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      in_any  <= 1'b0;
      in_park <= 1'b0;
      in_fwd  <= 1'b0;
      in_last <= 1'b1;
    end else if (in_move) begin
      in_any  <= in_last ? rt_has : in_any;
      in_park <= in_last ? rt_has && rt_park : in_park;
      in_fwd  <= in_last ? rt_has && !rt_park : in_fwd;
      in_last <= in_last ? !rt_has || rt_single : in_left == 8'd1;
    end
  end

  // ------------------------------------------------------------------ chunks
  // Free chunks: at first every number, then those that were given back. nf is the one that is written to, until it is full.
  // It is there whenever an access has beats: the access has a reservation, and between a reservation and its first beat are
  // more cycles than a number needs on its way to nf.
  reg [LOG_CHUNKS-1:0] nf;
  reg nf_valid;
  reg [LOG_CHUNKS:0] fresh;
  reg [LOG_CHUNKS-1:0] give_chunk;
  wire used_up = fresh[LOG_CHUNKS];
  wire nf_take = store && in_full;
  wire nf_load = !nf_valid || nf_take;
  wire free_has;
  wire [LOG_CHUNKS-1:0] free_chunk;

  dmmu_wqueue #(
      .W(LOG_CHUNKS),
      .LOG_DEPTH(LOG_CHUNKS)
  ) free (
      .clk(clk),
      .rst(rst),
      .in_valid(give),
      .in_data(give_chunk),
      .out_valid(free_has),
      .out_ready(nf_load && used_up),
      .out_data(free_chunk)
  );

  always @(posedge clk) begin
    if (nf_load) nf <= used_up ? free_chunk : fresh[LOG_CHUNKS-1:0];
  end

  always @(posedge clk) begin
    if (rst) begin
      nf_valid <= 1'b0;
      fresh <= {(LOG_CHUNKS + 1) {1'b0}};
    end else if (nf_load) begin
      nf_valid <= !used_up || free_has;
      if (!used_up) fresh <= fresh + {{LOG_CHUNKS{1'b0}}, 1'b1};
    end
  end

  (* ram_style = "distributed" *)
  reg [LOG_CHUNKS-1:0] first[0:PARK-1];
  // The link of a chunk is written long before it is read.
  (* no_rw_check, ram_style = "block" *)
  reg [LOG_CHUNKS-1:0] next[0:CHUNKS-1];
  reg [LOG_CHUNKS-1:0] in_before;
  // One cycle after the beat.
  reg link_first;
  reg link_next;
  reg link_last;
  reg [LOG_PARK-1:0] link_slot;
  reg [LOG_CHUNKS-1:0] link_chunk;
  reg [LOG_CHUNKS-1:0] link_before;

  always @(posedge clk) begin
    if (nf_take) in_before <= nf;
    link_slot   <= in_slot;
    link_chunk  <= nf;
    link_before <= in_before;
    if (link_first) first[link_slot] <= link_chunk;
    if (link_next) next[link_before] <= link_chunk;
  end

  always @(posedge clk) begin
    if (rst) begin
      link_first <= 1'b0;
      link_next  <= 1'b0;
      link_last  <= 1'b0;
    end else begin
      link_first <= store && in_first;
      link_next  <= store && in_new && !in_first;
      link_last  <= store && in_last;
    end
  end

  wire done_has;
  wire [LOG_PARK-1:0] done_slot;
  // One in two cycles: wdone_ready comes late.
  wire done_load = !wdone_valid;

  fifo #(
      .W(LOG_PARK),
      .LOG_DEPTH(LOG_PARK)
  ) done (
      .clk(clk),
      .rst(rst),
      .in_valid(link_last),
      .in_ready(done_ready),
      .in_data(link_slot),
      .out_valid(done_has),
      .out_ready(done_load),
      .out_data(done_slot),
      .level(done_level)
  );

  always @(posedge clk) begin
    if (done_load) wdone_slot <= done_slot;
  end

  always @(posedge clk) begin
    if (rst) wdone_valid <= 1'b0;
    else wdone_valid <= done_load ? done_has : !wdone_ready;
  end

  // ------------------------------------------------------------------ beats out: the access at the bus side
  // A cycle late, as the first chunk is read.
  reg late_valid;
  reg late_buf;
  reg late_dis;
  reg late_single;
  reg [LOG_CHUNKS-1:0] late_first;
  reg [7:0] late_len;
  wire ws_discard = ws_kind == DISCARD;

  always @(posedge clk) begin
    late_buf <= ws_kind == BUFFER;
    late_dis <= ws_discard;
    late_first <= first[c_slot];
    // Steps, less one: beats, or chunks of a discard.
    late_len <= ws_discard ? {3'd0, c_len[7:3]} : c_len;
    late_single <= c_len[7:3] == 5'd0 && (ws_discard || c_len[2:0] == 3'd0);
  end

  always @(posedge clk) begin
    if (rst) late_valid <= 1'b0;
    else late_valid <= ws_valid;
  end

  wire ws_has;
  wire ws_load;
  wire from_buf;
  wire from_dis;
  wire from_single;
  wire [LOG_CHUNKS-1:0] from_first;
  wire [7:0] from_len;

  dmmu_wqueue #(
      .W(3 + LOG_CHUNKS + 8),
      .LOG_DEPTH(LOG_SOURCE)
  ) source (
      .clk(clk),
      .rst(rst),
      .in_valid(late_valid),
      .in_data({late_buf, late_dis, late_single, late_first, late_len}),
      .out_valid(ws_has),
      .out_ready(ws_load),
      .out_data({from_buf, from_dis, from_single, from_first, from_len})
  );

  reg out_fwd;
  reg out_buf;
  reg out_dis;
  // A discard's second and third cycle: then the next chunk is known.
  reg out_soon;
  reg out_known;
  reg out_any;
  // Also without an access: the next one comes.
  reg out_last;
  reg out_turn;
  reg [LOG_CHUNKS-1:0] out_chunk;
  reg [LOG_CHUNKS-1:0] out_link;
  reg [LOG_CHUNKS-1:0] out_next;
  reg [7:0] out_left;
  reg [2:0] out_off;
  // The output has room for everything that is decided until its level shows it: five beats.
  reg room;
  // room, and nothing that was read is on its way to the output.
  reg may_forward;
  reg read_1;
  reg read_2;
  wire read = out_buf && room;
  wire leave = read || out_known;
  wire step = leave || forward;

  assign forward = s_valid && in_fwd && out_fwd && may_forward;
  wire out_move = !out_any || step;
  assign ws_load = out_move && out_last;

  always @(posedge clk) begin
    if (out_move) begin
      out_left  <= out_last ? from_len : out_left - 8'd1;
      out_turn  <= out_last ? from_dis : out_dis || out_off == 3'd6;
      out_off   <= out_last ? 3'd0 : out_off + 3'd1;
      out_chunk <= out_last ? from_first : out_turn ? out_next : out_chunk;
    end
    out_link   <= next[out_chunk];
    out_next   <= out_link;
    give_chunk <= out_chunk;
  end

  wire [LOG_BUF:0] buf_level;
  wire buf_low = buf_level < {2'b01, {(LOG_BUF - 1) {1'b0}}};

  always @(posedge clk) begin
    if (rst) begin
      out_any <= 1'b0;
      out_last <= 1'b1;
      out_fwd <= 1'b0;
      out_buf <= 1'b0;
      out_dis <= 1'b0;
      out_soon <= 1'b0;
      out_known <= 1'b0;
      give <= 1'b0;
      read_1 <= 1'b0;
      read_2 <= 1'b0;
      room <= 1'b0;
      may_forward <= 1'b0;
    end else begin
      if (out_move) begin
        out_any  <= out_last ? ws_has : out_any;
        out_fwd  <= out_last ? ws_has && !from_buf && !from_dis : out_fwd;
        out_buf  <= out_last ? ws_has && from_buf : out_buf;
        out_dis  <= out_last ? ws_has && from_dis : out_dis;
        out_last <= out_last ? !ws_has || from_single : out_left == 8'd1;
      end
      out_soon <= out_dis && !out_soon && !out_known;
      out_known <= out_soon;
      give <= leave && (out_last || out_turn);
      read_1 <= read;
      read_2 <= read_1;
      room <= buf_low;
      may_forward <= buf_low && !read && !read_1;
    end
  end

  // ------------------------------------------------------------------ beats
  // Everything one cycle after it was decided.
  reg [BEAT_W-1:0] in_beat;
  reg stored;
  reg [LOG_CHUNKS+2:0] store_at;
  reg [LOG_CHUNKS+2:0] read_at;
  reg out_push;
  reg last_1;
  reg last_2;
  reg last_3;
  reg ram_low;
  reg in_high;
  localparam HALF_W = BEAT_W / 2;
  wire [BEAT_W-1:0] ram_beat;
  reg [BEAT_W-1:0] read_beat;

  always @(posedge clk) begin
    in_beat <= s_beat;
    ram_low <= read_2;
    in_high <= !read_2;
    store_at <= {nf, in_off};
    read_at <= {out_chunk, out_off};
    read_beat <= ram_beat;
    last_1 <= out_last;
    last_2 <= last_1;
    last_3 <= last_2;
  end

  always @(posedge clk) begin
    if (rst) begin
      stored <= 1'b0;
      out_push <= 1'b0;
    end else begin
      stored <= store;
      out_push <= forward || read_2;
    end
  end

  // What is read in the cycle of its writing is not used.
  ram_1r1w #(
      .W(BEAT_W),
      .LOG_DEPTH(LOG_CHUNKS + 3),
      .OLD(0)
  ) beats (
      .clk(clk),
      .wr_en(stored),
      .wr_addr(store_at),
      .wr_data(in_beat),
      .rd_en(1'b1),
      .rd_addr(read_at),
      .rd_data(ram_beat)
  );

  fifo #(
      .W(BEAT_W + 1),
      .LOG_DEPTH(LOG_BUF)
  ) out (
      .clk(clk),
      .rst(rst),
      .in_valid(out_push),
      .in_ready(buf_ready),
      .in_data({
        in_high ? {last_1, in_beat[BEAT_W-1:HALF_W]} : {last_3, read_beat[BEAT_W-1:HALF_W]},
        ram_low ? read_beat[HALF_W-1:0] : in_beat[HALF_W-1:0]
      }),
      .out_valid(m_wvalid),
      .out_ready(m_wready),
      .out_data({m_wlast, m_wstrb, m_wdata}),
      .level(buf_level)
  );

endmodule

`default_nettype wire
