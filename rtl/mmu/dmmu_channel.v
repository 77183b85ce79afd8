`resetall
`timescale 1ns / 1ps
`default_nettype none

// Lookups, parked accesses and error responses of one direction.
// Pipeline: s0 row address (an arrival straight from the port, or a replay), s1 row read, s2 compare, s3 way and decision, s4
// bus side: an access accepted in cycle t is on the bus side in t + 4. One lookup per cycle.
// No stage ever waits: a lookup starts only when the bus side and the tracker have a place for it, and every access owns a
// park slot from its acceptance on. What cannot be sent on is parked and looked up again.
// A miss that the fault unit has no room for stays asleep and is looked up again as a probe, which never goes to the bus side:
// so accesses behind others of their ID raise their faults at once.
// The decision (s3) is the one place where accesses enter and leave the park table and the bus side, so an ID's order is the
// order of decisions. Parked accesses of an ID form a list; only its head is looked up again or ended.
// Invariants: a parked head is in exactly one place: asleep (the fault unit names it), in a queue (look, err), in the pipeline,
// in the error unit, or waiting for its last write beat; the bits of a slot change in one stage (e), one slot a cycle.
module dmmu_channel #(
    parameter WRITE = 0,
    parameter ID_W = 6,
    parameter VA_W = 48,
    parameter PA_W = 48,
    parameter USER_W = 28,
    parameter LOG_PARK = 6,
    parameter LOG_TRACK = 6,
    parameter LOG_SETS_4K = 8,
    parameter LOG_SETS_2M = 5,
    parameter LOG_SETS_1G = 2
) (
    input wire clk,
    input wire rst,
    input wire enable,
    output wire ready,

    // virtual side
    input wire [ID_W-1:0] s_axid,
    input wire [63:0] s_axaddr,
    input wire [7:0] s_axlen,
    input wire [2:0] s_axsize,
    input wire [1:0] s_axburst,
    input wire s_axlock,
    input wire [3:0] s_axcache,
    input wire [2:0] s_axprot,
    input wire [3:0] s_axqos,
    input wire [USER_W-1:0] s_axuser,
    input wire s_axvalid,
    output wire s_axready,

    // bus side
    output wire [ID_W-1:0] m_axid,
    output wire [PA_W-1:0] m_axaddr,
    output wire [7:0] m_axlen,
    output wire [2:0] m_axsize,
    output wire [1:0] m_axburst,
    output wire m_axlock,
    output wire [3:0] m_axcache,
    output wire [2:0] m_axprot,
    output wire [3:0] m_axqos,
    output wire [USER_W-1:0] m_axuser,
    output wire m_axvalid,
    input wire m_axready,

    // caches: rows and PASID (s0), compare sides (s1), result (4K in s3, larger pages in s2)
    output wire [LOG_SETS_4K-1:0] row_4k,
    output wire [LOG_SETS_2M-1:0] row_2m,
    output wire [LOG_SETS_1G-1:0] row_1g,
    output wire [19:0] row_pasid,
    output wire [VA_W-13:0] cmp_vpn,
    output wire [19:0] cmp_pasid,
    output wire [VA_W-22:0] big_pn,
    output wire [19:0] big_pasid,
    output wire touch,
    output wire big_touch,
    input wire hit_4k,
    input wire allowed_4k,
    input wire [PA_W-13:0] fn_4k,
    input wire hit_2m,
    input wire allowed_2m,
    input wire [PA_W-22:0] fn_2m,
    input wire allowed_1g,
    input wire [PA_W-31:0] fn_1g,

    // rows written in this cycle
    input wire wr_4k,
    input wire [LOG_SETS_4K-1:0] wr_row,
    input wire wr_big,

    // misses out (room: a miss may come in the next cycle), names of accesses in
    output wire ms_valid,
    input wire ms_room,
    output wire [LOG_PARK-1:0] ms_slot,
    output wire [19:0] ms_pasid,
    output wire [VA_W-13:0] ms_vpn,
    output wire [7:0] ms_requester,
    input wire rs_valid,
    output wire rs_ready,
    input wire [LOG_PARK-1:0] rs_slot,
    input wire rs_err,
    input wire rs_decerr,

    // accesses in flight
    output wire trk_issue,
    output wire [ID_W-1:0] trk_id,
    output wire [20+VA_W-12+2-1:0] trk_data,
    input wire trk_freed,
    output wire [ID_W-1:0] trk_query_id,
    input wire trk_query_busy,

    // write data (WRITE only)
    input wire cr_next,
    output wire c_valid,
    output wire c_park,
    output wire ws_valid,
    output wire [1:0] ws_kind,
    output wire [LOG_PARK-1:0] c_slot,
    output wire [7:0] c_len,
    input wire wdone_valid,
    output wire wdone_ready,
    input wire [LOG_PARK-1:0] wdone_slot,

    // error responses
    output wire er_valid,
    input wire er_ready,
    output wire [ID_W-1:0] er_id,
    output wire er_decerr,
    output wire er_last,

    // detach: parked accesses of a PASID end (marked), and have ended as far as they can without the host (clear)
    input wire kill_start,
    input wire [19:0] kill_pasid,
    output reg kill_marked,
    output reg kill_clear,

    // counters
    output reg ev_accept,
    output wire ev_hit,
    output wire ev_miss,
    output reg ev_error,
    output reg ev_stall_park,
    output reg ev_stall_bus
);

  localparam PARK = 1 << LOG_PARK;
  localparam IDS = 1 << ID_W;
  localparam VPN_W = VA_W - 12;
  localparam LOG_CLEAR = (ID_W > LOG_PARK) ? ID_W : LOG_PARK;
  localparam LOG_BUS = 4;
  // {user, qos, prot, cache, lock, burst, size, len, va, id}
  localparam AX_W = USER_W + 4 + 3 + 4 + 1 + 2 + 3 + 8 + VA_W + ID_W;
  localparam VA_L = ID_W;
  localparam LEN_L = VA_L + VA_W;
  localparam SIZE_L = LEN_L + 8;
  localparam BURST_L = SIZE_L + 3;
  localparam USER_L = BURST_L + 2 + 1 + 4 + 3 + 4;
  localparam VPN_L = VA_L + 12;

  localparam [1:0] WS_FORWARD = 2'd0;
  localparam [1:0] WS_BUFFER = 2'd1;
  localparam [1:0] WS_DISCARD = 2'd2;

  // Bits of a slot. The lower two: asleep 0, to look up again 1, to end with SLVERR 2 or DECERR 3.
  // HEAD: head of its ID's list. DATA: every write beat has been stored.
  localparam ERR = 1;
  localparam HEAD = 2;
  localparam DATA = 3;

  // ------------------------------------------------------------------ after rst: empty tables
  reg [LOG_CLEAR:0] clear_at;
  wire clearing = !clear_at[LOG_CLEAR];
  assign ready = !clearing;

  always @(posedge clk) begin
    if (rst) clear_at <= {(LOG_CLEAR + 1) {1'b0}};
    else if (clearing) clear_at <= clear_at + {{LOG_CLEAR{1'b0}}, 1'b1};
  end

  // ------------------------------------------------------------------ s0: an arrival or a replay
  reg s0_replay;
  // Not s0_replay, for the caches' rows; and s0_replay for words. Both lead all over the place, so they are registers of their
  // own (the last one by its reset value, which nobody sees: go is low).
  reg s0_arrival;
  reg s0_words;
  reg s0_retire;
  reg s0_probe;
  reg [LOG_PARK-1:0] s0_slot;
  reg [AX_W-1:0] s0_ax;
  reg go;
  wire slot_valid;
  wire [LOG_PARK-1:0] slot_index;
  reg open;
  wire accept = s_axvalid && s_axready;
  wire launch = go && (s0_replay || (s_axvalid && open && slot_valid));
  wire leaves;
  reg [LOG_PARK-1:0] s4_slot;

  assign s_axready = go && !s0_replay && open && slot_valid;

  wire [AX_W-1:0] port_ax = {
    s_axuser,
    s_axqos,
    s_axprot,
    s_axcache,
    s_axlock,
    s_axburst,
    s_axsize,
    s_axlen,
    s_axaddr[VA_W-1:0],
    s_axid
  };

  wire [AX_W-1:0] s0_next = s0_words ? s0_ax : port_ax;

  // Rows of a replay.
  reg [LOG_SETS_4K-1:0] s0_row_4k;
  reg [LOG_SETS_2M-1:0] s0_row_2m;
  reg [LOG_SETS_1G-1:0] s0_row_1g;
  assign row_4k = s0_arrival ? s_axaddr[12+:LOG_SETS_4K] ^ s_axuser[LOG_SETS_4K-1:0] : s0_row_4k;
  assign row_2m = s0_arrival ? s_axaddr[21+:LOG_SETS_2M] ^ s_axuser[LOG_SETS_2M-1:0] : s0_row_2m;
  assign row_pasid = s0_arrival ? s_axuser[19:0] : s0_ax[USER_L+:20];
  assign row_1g = s0_arrival ? s_axaddr[30+:LOG_SETS_1G] ^ s_axuser[LOG_SETS_1G-1:0] : s0_row_1g;

  // Slots are fetched ahead, counted late, so that an acceptance moves few registers.
  wire free_valid;
  wire [LOG_PARK-1:0] free_index;
  reg [2:0] fetched;
  reg fetch_used;
  wire fetch = free_valid && !fetched[2];

  pool #(
      .LOG_N(LOG_PARK)
  ) slots (
      .clk(clk),
      .rst(rst),
      .valid(free_valid),
      .index(free_index),
      .take(fetch),
      .give(leaves),
      .give_index(s4_slot)
  );

  wire ahead_room;
  wire [2:0] ahead_level;
  wire unused_ahead = &{1'b0, ahead_room, ahead_level};

  fifo #(
      .W(LOG_PARK),
      .LOG_DEPTH(2)
  ) ahead (
      .clk(clk),
      .rst(rst),
      .in_valid(fetch),
      .in_ready(ahead_room),
      .in_data(free_index),
      .out_valid(slot_valid),
      .out_ready(s_axvalid && go && !s0_replay && open),
      .out_data(slot_index),
      .level(ahead_level)
  );

  always @(posedge clk) begin
    if (rst) begin
      fetched <= 3'd0;
      fetch_used <= 1'b0;
    end else begin
      fetched <= fetched + {2'd0, fetch} - {2'd0, fetch_used};
      fetch_used <= accept;
    end
  end

  // Places on the bus side, counted late and half of them kept back for that, and in the tracker: what it gives back comes a
  // cycle late.
  reg s1_valid;
  wire s4_drop;
  reg bus_left;
  reg [LOG_BUS:0] bus_used;
  reg [LOG_TRACK:0] trk_used;
  // What comes back, negated, without and with a launch: both sums at once, because launch comes late.
  reg [1:0] trk_back;
  reg [1:0] trk_back_more;
  wire [LOG_TRACK:0] trk_kept = trk_used + {{(LOG_TRACK - 1) {trk_back[1]}}, trk_back};
  wire [LOG_TRACK:0] trk_more = trk_used + {{(LOG_TRACK - 1) {trk_back_more[1]}}, trk_back_more};
  wire [LOG_TRACK:0] trk_next = launch ? trk_more : trk_kept;
  wire crowded;

  always @(posedge clk) begin
    if (rst) begin
      go <= 1'b0;
      open <= 1'b0;
      bus_left <= 1'b0;
      bus_used <= {(LOG_BUS + 1) {1'b0}};
      trk_used <= {(LOG_TRACK + 1) {1'b0}};
      trk_back <= 2'd0;
      trk_back_more <= 2'd1;
    end else begin
      trk_back <= -({1'b0, s4_drop} + {1'b0, trk_freed});
      trk_back_more <= 2'd1 - ({1'b0, s4_drop} + {1'b0, trk_freed});
      go <= !trk_next[LOG_TRACK] && bus_used < {2'b01, {(LOG_BUS - 1) {1'b0}}} && !crowded;
      open <= enable && (WRITE == 0 || cr_next);
      bus_left <= m_axvalid && m_axready;
      bus_used <= bus_used + {{LOG_BUS{1'b0}}, s1_valid} - {{LOG_BUS{1'b0}}, s4_drop} - {{LOG_BUS{1'b0}}, bus_left};
      trk_used <= trk_next;
    end
  end

  always @(posedge clk) begin
    ev_accept <= accept && !rst;
    ev_stall_park <= s_axvalid && enable && !(slot_valid && open) && !rst;
    ev_stall_bus <= s_axvalid && enable && !go && !rst;
  end

  // ------------------------------------------------------------------ s1: rows are read
  reg s1_fresh;
  reg s1_retire;
  reg s1_probe;
  reg s1_high;
  reg [LOG_PARK-1:0] s1_slot;
  reg [AX_W-1:0] s1_ax;
  reg before_4k;
  reg before_big;
  reg [LOG_SETS_4K-1:0] before_row;
  wire [LOG_SETS_4K-1:0] s1_row = s1_ax[VPN_L+:LOG_SETS_4K] ^ s1_ax[USER_L+:LOG_SETS_4K];
  wire [7:0] s1_len = s1_ax[LEN_L+:8];
  wire [2:0] s1_size = s1_ax[SIZE_L+:3];

  assign big_pn = s1_ax[VPN_L+9+:VPN_W-9];
  assign big_pasid = s1_ax[USER_L+:20];

  // A copy for the 4K cache, inverted so that synthesis keeps it: the other one leads all over the place.
  reg [19+VPN_W:0] s1_not;
  assign {cmp_pasid, cmp_vpn} = ~s1_not;

  always @(posedge clk) begin
    s1_fresh <= !s0_replay;
    s1_retire <= s0_replay && s0_retire;
    s1_probe <= s0_replay && s0_probe;
    s1_high <= !s0_replay && s_axaddr[63:VA_W] != {(64 - VA_W) {1'b0}};
    s1_slot <= s0_words ? s0_slot : slot_index;
    s1_ax <= s0_next;
    s1_not <= ~{s0_next[USER_L+:20], s0_next[VPN_L+:VPN_W]};
    before_4k <= wr_4k;
    before_big <= wr_big;
    before_row <= wr_row;
  end

  always @(posedge clk) begin
    if (rst) s1_valid <= 1'b0;
    else s1_valid <= launch;
  end

  // ------------------------------------------------------------------ s2: compare
  reg s2_valid;
  reg s2_fresh;
  reg s2_retire;
  reg s2_probe;
  reg s2_high;
  reg s2_clash;
  reg s2_dirty;
  reg [LOG_PARK-1:0] s2_slot;
  reg [AX_W-1:0] s2_ax;
  reg [14:0] s2_span;
  reg [11:0] s2_base;
  reg s2_keep;
  wire [ID_W-1:0] s2_id = s2_ax[ID_W-1:0];
  wire [1:0] s2_burst = s2_ax[BURST_L+:2];
  wire [LOG_SETS_4K-1:0] s2_row = s2_ax[VPN_L+:LOG_SETS_4K] ^ s2_ax[USER_L+:LOG_SETS_4K];

  assign big_touch = s2_valid && !s2_retire;

  always @(posedge clk) begin
    s2_fresh <= s1_fresh;
    s2_retire <= s1_retire;
    s2_probe <= s1_probe;
    s2_high <= s1_high;
    s2_slot <= s1_slot;
    s2_ax <= s1_ax;
    // Clash: the row was written in the cycle of its read, so nothing was read. Dirty: it was written since.
    s2_clash <= before_big || (before_4k && before_row == s1_row);
    s2_dirty <= wr_big || (wr_4k && wr_row == s1_row);
    // The burst's bytes less one.
    s2_span <= ({7'd0, s1_len} << s1_size) | ((15'd1 << s1_size) - 15'd1);
    s2_base <= s1_ax[VA_L+:12] & ~((12'd1 << s1_size) - 12'd1);
  end

  always @(posedge clk) begin
    if (rst) s2_valid <= 1'b0;
    else s2_valid <= s1_valid;
  end

  // Every access is kept from here on; only a parked one is read again.
  (* ram_style = "distributed" *) reg [19:0] pasids[0:PARK-1];
  (* ram_style = "distributed" *) reg [ID_W-1:0] ids[0:PARK-1];
  (* ram_style = "distributed" *) reg [ID_W+7:0] ends[0:PARK-1];

  always @(posedge clk) begin
    s2_keep <= s1_valid && s1_fresh;
    if (s2_keep) begin
      pasids[s2_slot] <= s2_ax[USER_L+:20];
      ids[s2_slot] <= s2_id;
      ends[s2_slot] <= {s2_ax[LEN_L+:8], s2_id};
    end
  end

  // A burst that leaves its page: the last byte of an incrementing burst lies beyond the page, or a wrap is too long.
  wire [15:0] s2_last = {4'd0, s2_base} + {1'b0, s2_span};
  wire unused_last = &{1'b0, s2_last[11:0]};
  wire s2_cross = s2_burst != 2'd0 && ((s2_burst == 2'd2) ? s2_span[14:12] != 3'd0 : s2_last[15:12] != 4'd0);

  // ------------------------------------------------------------------ lists of parked accesses (written in s4)
  // {not empty, tail}, and the head, of each ID; the next access of each slot.
  (* ram_style = "distributed" *) reg [LOG_PARK:0] id_tail[0:IDS-1];
  (* ram_style = "distributed" *) reg [LOG_PARK-1:0] id_head[0:IDS-1];
  (* ram_style = "distributed" *) reg [LOG_PARK-1:0] next[0:PARK-1];
  (* ram_style = "distributed" *) reg parked[0:PARK-1];

  // ------------------------------------------------------------------ s3: decide
  reg s3_valid;
  reg s3_fresh;
  reg s3_retire;
  reg s3_probe;
  reg s3_held;
  reg s3_bad;
  reg s3_clash;
  reg s3_dirty;
  reg s3_after;
  reg s3_next;
  reg s3_free;
  reg [LOG_PARK-1:0] s3_slot;
  reg [AX_W-1:0] s3_ax;
  // Of its ID, as it stands before s4: read in s1.
  reg [LOG_PARK:0] s3_tail;
  reg s4_enter;
  reg s4_leave;
  reg [ID_W-1:0] s4_id;
  wire s4_empties;
  wire s4_lists = s4_enter || s4_empties;
  wire [LOG_PARK:0] s4_list = {s4_enter, s4_slot};
  wire [ID_W-1:0] s1_id = s1_ax[ID_W-1:0];
  reg [LOG_PARK:0] s2_tail;
  // s4 has the same ID.
  reg s2_under;
  wire s2_bad = s2_fresh && (s2_high || s2_cross);
  wire s2_holds = s2_probe || (s2_fresh && (s2_tail[LOG_PARK] || (s4_enter && s2_under)));

  always @(posedge clk) begin
    s3_fresh <= s2_fresh;
    s3_retire <= s2_retire;
    s3_probe <= s2_probe;
    s3_bad <= s2_bad;
    s3_clash <= s2_clash;
    s3_dirty <= s2_clash || s2_dirty || wr_big || (wr_4k && wr_row == s2_row);
    s3_slot <= s2_slot;
    s3_ax <= s2_ax;
    s2_under <= s3_ax[ID_W-1:0] == s1_id;
    s2_tail <= (s4_lists && s4_id == s1_id) ? s4_list : id_tail[s1_id];
    s3_tail <= (s4_lists && s2_under) ? s4_list : s2_tail;
    // Accesses of the ID are parked: in the lists, or entering them (from s4 now, or from s3 in the next cycle).
    s3_held <= s2_holds;
    s3_after <= s2_id == s3_ax[ID_W-1:0];
    s3_next <= s2_fresh && s2_id == s3_ax[ID_W-1:0];
    s3_free <= s2_valid && !s2_retire && !s2_clash && !s2_bad && !rst;
  end

  always @(posedge clk) begin
    if (rst) s3_valid <= 1'b0;
    else s3_valid <= s2_valid;
  end

  // The smallest page wins.
  reg s3_big_allowed;
  reg [1:0] s3_big_size;
  reg [PA_W-13:0] s3_big_fn;
  wire usable = allowed_4k || (!hit_4k && s3_big_allowed);

  always @(posedge clk) begin
    s3_big_allowed <= allowed_2m || (!hit_2m && allowed_1g);
    s3_big_size <= hit_2m ? 2'd1 : 2'd2;
    s3_big_fn <= hit_2m ? {fn_2m, s2_ax[VPN_L+:9]} : {fn_1g, s2_ax[VPN_L+:18]};
  end

  // A probe stays behind, and so does an arrival whose ID has parked accesses.
  wire behind = s3_held || (s3_next && s4_enter);
  wire looks = s3_valid && !s3_retire && !s3_bad;
  wire issue = s3_free && !s3_held && usable && !(s3_next && s4_enter);
  wire waits = looks && usable && behind && !s3_clash;
  wire miss = looks && !usable && !s3_dirty && ms_room;
  wire retry = looks && (s3_clash || (!usable && (s3_dirty || !ms_room)));
  wire [VPN_W-1:0] s3_vpn = s3_ax[VPN_L+:VPN_W];
  // fn_4k is zero without a hit.
  wire [PA_W-13:0] s3_fn = fn_4k | (hit_4k ? {(PA_W - 12) {1'b0}} : s3_big_fn);

  assign touch = looks;

  fifo_reg #(
      .W(AX_W - VA_W + PA_W),
      .LOG_DEPTH(LOG_BUS)
  ) bus (
      .clk(clk),
      .rst(rst),
      .in_valid(issue),
      .in_data({s3_ax[AX_W-1:LEN_L], s3_fn, s3_ax[VA_L+:12], s3_ax[ID_W-1:0]}),
      .out_valid(m_axvalid),
      .out_ready(m_axready),
      .out_data({
        m_axuser, m_axqos, m_axprot, m_axcache, m_axlock, m_axburst, m_axsize, m_axlen, m_axaddr, m_axid
      })
  );

  // ------------------------------------------------------------------ s4: tracker, miss, write data, lists
  reg s4_valid;
  reg s4_fresh;
  reg s4_retire;
  reg s4_issue;
  reg s4_miss;
  reg s4_probe;
  reg s4_waits;
  reg s4_retry;
  reg s4_bad;
  reg [27:0] s4_user;
  reg [VPN_W-1:0] s4_vpn;
  reg [1:0] s4_size;
  reg [7:0] s4_len;

  always @(posedge clk) begin
    s4_fresh <= s3_fresh;
    s4_retire <= s3_retire;
    s4_bad <= s3_bad;
    s4_slot <= s3_slot;
    s4_id <= s3_ax[ID_W-1:0];
    s4_user <= s3_ax[USER_L+:28];
    s4_vpn <= s3_vpn;
    s4_size <= hit_4k ? 2'd0 : s3_big_size;
    s4_len <= s3_ax[LEN_L+:8];
    s4_probe <= s3_probe;
    s4_waits <= waits;
    s4_retry <= retry;
  end

  always @(posedge clk) begin
    if (rst) begin
      s4_valid <= 1'b0;
      s4_issue <= 1'b0;
      s4_miss <= 1'b0;
      s4_enter <= 1'b0;
      s4_leave <= 1'b0;
    end else begin
      s4_valid <= s3_valid;
      s4_issue <= issue;
      s4_miss <= miss;
      s4_enter <= s3_valid && s3_fresh && !issue;
      s4_leave <= s3_valid && !s3_fresh && (issue || s3_retire);
    end
  end


  assign s4_drop = s4_valid && !s4_issue;
  assign leaves = s4_issue || s4_leave;
  assign trk_issue = s4_issue;
  assign trk_id = s4_id;
  assign trk_data = {s4_user[19:0], s4_vpn, s4_size};
  assign ms_valid = s4_miss;
  assign ms_slot = s4_slot;
  assign ms_pasid = s4_user[19:0];
  assign ms_vpn = s4_vpn;
  assign ms_requester = s4_user[27:20];
  assign ev_miss = s4_miss;
  assign ev_hit = s4_valid && s4_fresh && (s4_issue || s4_waits);
  assign c_valid = s4_valid && s4_fresh;
  assign c_park = !s4_issue;
  assign ws_valid = leaves;
  assign ws_kind = s4_retire ? WS_DISCARD : s4_fresh ? WS_FORWARD : WS_BUFFER;
  assign c_slot = s4_slot;
  assign c_len = s4_len;

  // The ID's list as it stands behind the access in s4.
  reg s4_busy;
  reg s4_last;
  reg [LOG_PARK-1:0] s4_tail;
  assign s4_empties = s4_leave && s4_last;
  wire [LOG_PARK-1:0] s4_next = next[s4_slot];

  always @(posedge clk) begin
    s4_busy <= (s3_after && s4_enter) || (s3_tail[LOG_PARK] && !(s3_after && s4_empties));
    s4_tail <= (s3_after && s4_enter) ? s4_slot : s3_tail[LOG_PARK-1:0];
    s4_last <= s3_tail[LOG_PARK-1:0] == s3_slot && !(s3_after && s4_enter);
  end

  wire [ID_W-1:0] tail_at = clearing ? clear_at[ID_W-1:0] : s4_id;
  wire [LOG_PARK-1:0] parked_at = clearing ? clear_at[LOG_PARK-1:0] : s4_slot;

  always @(posedge clk) begin
    if (clearing || s4_lists) id_tail[tail_at] <= {!clearing && s4_enter, s4_slot};
    if (clearing || s4_enter || s4_leave) parked[parked_at] <= !clearing && s4_enter;
    if (s4_enter && s4_busy) next[s4_tail] <= s4_slot;
  end

  // ------------------------------------------------------------------ what happens to a slot: s5 first, then who waits
  // s5: an access enters, misses again, looks up again, or is found by its probe; or the one behind a leaver becomes head.
  reg s5_valid;
  reg s5_head;
  reg [ID_W-1:0] s5_id;
  reg [LOG_PARK-1:0] s5_slot;
  reg [3:0] s5_set;
  reg [3:0] s5_clear;
  reg s5_push;
  reg s5_probe;

  always @(posedge clk) begin
    s5_head <= (s4_enter && !s4_busy) || s4_leave;
    s5_id <= s4_id;
    s5_slot <= s4_leave ? s4_next : s4_slot;
    if (s5_head) id_head[s5_id] <= s5_slot;
    s5_probe <= s4_retry && (s4_fresh || s4_probe);
    s5_push <= !(s4_retry && s4_probe);
    s5_set <= 4'd0;
    s5_clear <= 4'd0;
    if (s4_enter) begin
      s5_set <= {WRITE == 0, !s4_busy, s4_bad, s4_bad || s4_waits};
      s5_clear <= 4'b1111;
    end else if (s4_leave) begin
      s5_set[HEAD] <= 1'b1;
    end else if (s4_waits) begin
      s5_set[0] <= 1'b1;
    end else if (s4_miss) begin
      s5_clear <= 4'b0011;
    end
  end

  always @(posedge clk) begin
    if (rst) s5_valid <= 1'b0;
    else s5_valid <= s4_enter || (s4_leave && !s4_last) || (s4_valid && !s4_leave && (s4_miss || s4_retry || s4_waits));
  end

  wire eu_valid;
  reg eu_retire;
  reg [LOG_PARK-1:0] eu_slot;
  reg x_valid;
  reg x_kill;
  reg [LOG_PARK-1:0] x_at;
  wire wd_valid = WRITE != 0 && wdone_valid;
  wire wd_ready = !s5_valid && !rs_valid;
  wire eu_ready = wd_ready && !wd_valid;
  wire x_ready = eu_ready && !eu_valid;
  wire ea_valid = s5_valid || rs_valid || wd_valid || eu_valid || x_valid;
  wire [LOG_PARK-1:0] ea_slot = s5_valid ? s5_slot
      : rs_valid ? rs_slot
      : wd_valid ? wdone_slot
      : eu_valid ? eu_slot
      : x_at;

  assign rs_ready = !s5_valid;
  assign wdone_ready = wd_ready;
  // Lookups leave a gap when their outcomes keep others from their turn.
  assign crowded = s5_valid && (rs_valid || wd_valid || eu_valid || x_valid);

  wire lq_valid;
  wire lq_retire;
  wire lq_probe;
  wire [LOG_PARK-1:0] lq_slot;
  reg r_valid;
  reg r_retire;
  reg r_probe;
  reg [LOG_PARK-1:0] r_slot;
  reg [1:0] turns;
  // After three replays an arrival goes first.
  reg gap;
  wire s0_leaves = !s0_replay || go;
  wire take = s0_leaves && !gap;

  // ------------------------------------------------------------------ e: the slot's bits
  (* ram_style = "distributed" *) reg [3:0] bits[0:PARK-1];
  reg e_valid;
  reg [LOG_PARK-1:0] e_slot;
  reg [3:0] e_set;
  reg [3:0] e_clear;
  reg e_push;
  reg e_retire;
  reg e_probe;
  reg e_kill;
  reg e_wake;
  reg e_read;
  wire [3:0] e_old = bits[e_slot];
  // Once set, these two stay while the access sleeps.
  wire [3:0] rs_bits = bits[rs_slot];
  wire unused_bits = &{1'b0, rs_bits[1:0]};
  wire [3:0] e_new = (e_old & ~e_clear) | e_set | {2'b00, e_kill && e_old[0], 1'b0};

  always @(posedge clk) begin
    e_slot <= ea_slot;
    e_set <= 4'd0;
    e_clear <= 4'd0;
    e_push <= s5_valid ? s5_push : rs_valid || wd_valid || (eu_valid && !eu_retire);
    e_retire <= !s5_valid && !rs_valid && !wd_valid && eu_valid && eu_retire;
    e_probe <= s5_valid && s5_probe;
    e_kill <= x_valid && x_ready && x_kill;
    if (s5_valid) begin
      e_set <= s5_set;
      e_clear <= s5_clear;
    end else if (rs_valid) begin
      e_set <= {2'b00, rs_err, !rs_err || rs_decerr};
      e_clear <= 4'b0011;
    end else if (wd_valid) begin
      e_set[DATA] <= 1'b1;
    end
    if (e_valid) bits[e_slot] <= e_new;
  end

  always @(posedge clk) begin
    if (rst) begin
      e_valid <= 1'b0;
      e_wake  <= 1'b0;
    end else begin
      e_valid <= ea_valid;
      e_wake  <= rs_valid && !s5_valid && !rs_err && rs_bits[HEAD] && rs_bits[DATA];
    end
  end

  // ------------------------------------------------------------------ replays: queue, park RAM, s0
  // One replay in two cycles. The RAM is read ahead of the queue for an access that the fault unit names.
  wire [AX_W-1:0] r_ax;
  wire direct = e_wake && e_read && take;
  wire s0_replays = take ? r_valid || (e_wake && e_read) : !s0_leaves;

  // f: a head with something to do goes into its queue, unless it went straight to s0.
  reg f_push;
  reg f_retire;
  reg f_probe;
  reg [3:0] f_bits;
  reg [LOG_PARK-1:0] f_slot;
  wire f_able = f_push && f_bits[HEAD] && f_bits[DATA];

  always @(posedge clk) begin
    f_slot <= e_slot;
    f_bits <= e_new;
  end

  always @(posedge clk) begin
    if (rst) begin
      f_push <= 1'b0;
      f_retire <= 1'b0;
      f_probe <= 1'b0;
    end else begin
      f_push <= e_valid && e_push && !direct;
      f_retire <= e_valid && e_retire;
      f_probe <= e_valid && e_probe;
    end
  end

  fifo_reg #(
      .W(2 + LOG_PARK),
      .LOG_DEPTH(LOG_PARK)
  ) look_queue (
      .clk(clk),
      .rst(rst),
      .in_valid((f_able && f_bits[1:0] == 2'd1) || f_retire || f_probe),
      .in_data({f_probe, f_retire, f_slot}),
      .out_valid(lq_valid),
      .out_ready(!r_valid),
      .out_data({lq_probe, lq_retire, lq_slot})
  );

  ram_1r1w #(
      .W(AX_W),
      .LOG_DEPTH(LOG_PARK),
      .OLD(0)
  ) park (
      .clk(clk),
      .wr_en(s2_keep),
      .wr_addr(s2_slot),
      .wr_data(s2_ax),
      .rd_en(!r_valid),
      .rd_addr(lq_valid ? lq_slot : rs_slot),
      .rd_data(r_ax)
  );

  always @(posedge clk) begin
    if (!r_valid) begin
      r_retire <= lq_retire;
      r_probe <= lq_probe;
      r_slot <= lq_slot;
    end
    e_read <= !r_valid && !lq_valid;
    if (take) begin
      s0_retire <= r_valid && r_retire;
      s0_probe <= r_valid && r_probe;
      s0_slot <= r_valid ? r_slot : e_slot;
      s0_ax <= r_ax;
      s0_row_4k <= r_ax[VPN_L+:LOG_SETS_4K] ^ r_ax[USER_L+:LOG_SETS_4K];
      s0_row_2m <= r_ax[VPN_L+9+:LOG_SETS_2M] ^ r_ax[USER_L+:LOG_SETS_2M];
      s0_row_1g <= r_ax[VPN_L+18+:LOG_SETS_1G] ^ r_ax[USER_L+:LOG_SETS_1G];
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      r_valid <= 1'b0;
      s0_replay <= 1'b0;
      s0_arrival <= 1'b1;
      s0_words <= 1'b1;
      gap <= 1'b0;
      turns <= 2'd0;
    end else begin
      r_valid <= r_valid ? !take : lq_valid;
      s0_replay <= s0_replays;
      s0_words <= s0_replays;
      s0_arrival <= !s0_replays;
      gap <= gap ? !s0_leaves : turns == 2'd3 && s_axvalid;
      if ((gap && s0_leaves) || accept) turns <= 2'd0;
      else if (s0_replay && go && turns != 2'd3) turns <= turns + 2'd1;
    end
  end

  // ------------------------------------------------------------------ error unit: one access at a time
  localparam [2:0] U_IDLE = 3'd0;
  localparam [2:0] U_READ = 3'd1;
  localparam [2:0] U_ASK = 3'd2;
  localparam [2:0] U_WAIT = 3'd3;
  localparam [2:0] U_TELL = 3'd4;
  localparam [2:0] U_SEND = 3'd5;
  localparam [2:0] U_HAND = 3'd6;

  reg [2:0] u_state;
  reg [ID_W-1:0] u_id;
  reg [7:0] u_left;
  reg u_decerr;
  wire eq_valid;
  wire eq_decerr;
  wire [LOG_PARK-1:0] eq_slot;

  fifo_reg #(
      .W(1 + LOG_PARK),
      .LOG_DEPTH(LOG_PARK)
  ) err_queue (
      .clk(clk),
      .rst(rst),
      .in_valid(f_able && f_bits[ERR]),
      .in_data({f_bits[0], f_slot}),
      .out_valid(eq_valid),
      .out_ready(u_state == U_IDLE),
      .out_data({eq_decerr, eq_slot})
  );

  assign trk_query_id = u_id;
  assign er_valid = u_state == U_SEND;
  assign eu_valid = u_state == U_HAND;
  assign er_id = u_id;
  assign er_decerr = u_decerr;
  assign er_last = u_left == 8'd0;

  always @(posedge clk) begin
    if (u_state == U_IDLE) {u_decerr, eu_slot} <= {eq_decerr, eq_slot};
    if (u_state == U_READ) {u_left, u_id} <= ends[eu_slot];
    else if (WRITE != 0) u_left <= 8'd0;
    else if (u_state == U_SEND && er_ready) u_left <= u_left - 8'd1;
  end

  always @(posedge clk) begin
    if (rst) begin
      u_state <= U_IDLE;
      eu_retire <= 1'b0;
      ev_error <= 1'b0;
    end else begin
      ev_error <= 1'b0;
      case (u_state)
        U_IDLE: if (eq_valid) u_state <= U_READ;
        U_READ: u_state <= U_ASK;
        U_ASK: u_state <= U_WAIT;
        U_WAIT: u_state <= U_TELL;
        U_TELL: begin
          // Accesses of the ID are on the bus side: their responses come first.
          u_state <= trk_query_busy ? U_HAND : U_SEND;
          eu_retire <= 1'b0;
          ev_error <= !trk_query_busy;
        end
        U_SEND: begin
          if (er_ready && er_last) begin
            u_state <= U_HAND;
            eu_retire <= 1'b1;
          end
        end
        default: begin
          if (eu_ready) u_state <= U_IDLE;
        end
      endcase
    end
  end

  // ------------------------------------------------------------------ detach: visit the slots, round by round
  // A parked access of the PASID that would look up again is made to end. The detach waits for each of them that is asleep
  // (nothing of the PASID waits for the host, so it is about to be named), head of its ID, or behind a head that is not asleep:
  // the others are held by an access that waits for the host.
  localparam [3:0] X_IDLE = 4'd0;
  localparam [3:0] X_READ = 4'd1;
  localparam [3:0] X_MATCH = 4'd2;
  localparam [3:0] X_TEST = 4'd3;
  localparam [3:0] X_KILL = 4'd4;
  localparam [3:0] X_BITS = 4'd5;
  localparam [3:0] X_KILLED = 4'd6;
  localparam [3:0] X_PEEK = 4'd7;
  localparam [3:0] X_HEAD = 4'd8;
  localparam [3:0] X_PEEKED = 4'd9;
  localparam [3:0] X_NEXT = 4'd10;

  reg [3:0] x_state;
  reg [LOG_PARK-1:0] x_slot;
  reg [19:0] x_pasid;
  reg [ID_W-1:0] x_id;
  reg x_parked;
  reg x_match;
  reg x_moved;
  reg x_waits;
  reg [LOG_PARK-1:0] x_head;
  wire x_held = f_bits[HEAD] || f_bits[1:0] == 2'd0;
  wire x_end = x_slot == {LOG_PARK{1'b1}};

  always @(posedge clk) begin
    x_pasid <= pasids[x_slot];
    x_id <= ids[x_slot];
    x_parked <= parked[x_slot];
    x_match <= x_parked && x_pasid == kill_pasid;
    x_head <= id_head[x_id];
    x_moved <= x_head != x_at;
    x_at <= (x_state == X_TEST) ? x_slot : (x_state == X_KILLED) ? x_head : x_at;
  end

  always @(posedge clk) begin
    if (rst) begin
      x_state <= X_IDLE;
      x_slot <= {LOG_PARK{1'b0}};
      x_valid <= 1'b0;
      x_kill <= 1'b0;
      x_waits <= 1'b0;
      kill_marked <= 1'b1;
      kill_clear <= 1'b1;
    end else begin
      case (x_state)
        X_IDLE: begin
          x_waits <= 1'b0;
          if (kill_start) begin
            x_state <= X_READ;
            kill_marked <= 1'b0;
            kill_clear <= 1'b0;
          end
        end
        X_READ: x_state <= X_MATCH;
        X_MATCH: x_state <= X_TEST;
        X_TEST: begin
          x_state <= x_match ? X_KILL : X_NEXT;
          x_valid <= x_match;
          x_kill <= 1'b1;
        end
        X_KILL, X_PEEK: begin
          if (x_ready) begin
            x_valid <= 1'b0;
            x_state <= (x_state == X_KILL) ? X_BITS : X_HEAD;
          end
        end
        X_BITS: x_state <= X_KILLED;
        X_KILLED: begin
          if (x_held) x_waits <= 1'b1;
          x_state <= x_held ? X_NEXT : X_PEEK;
          x_valid <= !x_held;
          x_kill <= 1'b0;
        end
        X_HEAD: x_state <= X_PEEKED;
        X_PEEKED: begin
          // A head that has left meanwhile does not hold anybody.
          if (f_bits[1:0] != 2'd0 || x_moved) x_waits <= 1'b1;
          x_state <= X_NEXT;
        end
        default: begin
          x_slot <= x_slot + {{(LOG_PARK - 1) {1'b0}}, 1'b1};
          x_state <= X_READ;
          if (x_end) begin
            kill_marked <= 1'b1;
            x_waits <= 1'b0;
            if (!x_waits) begin
              kill_clear <= 1'b1;
              x_state <= X_IDLE;
            end
          end
        end
      endcase
    end
  end

endmodule

`default_nettype wire
