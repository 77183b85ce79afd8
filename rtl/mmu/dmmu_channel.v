`resetall
`timescale 1ns / 1ps
`default_nettype none

// Lookups, parked accesses and error responses of one direction.
// Pipeline: s0 port register, s1 cache read (an arrival or a replay), s2 compare, s3 commit, then the bus-side register:
// an access accepted in cycle t is on the bus side in t + 4. One lookup per cycle; a lookup that waits in s2 reads again
// every cycle, so what it compares is at most one cycle old.
// Commit is the one place where accesses enter and leave the park table and the bus side, so an ID's order is the order of
// commits. Every access owns a park slot in advance (s_axready), so commit never waits for the host.
// Invariants: a parked slot is in exactly one of the sets ready, wait, wfree, err, eblk, retire, or in the pipeline;
// only the oldest parked access of an ID (head) is sent on or ended, and no younger one overtakes it.
module dmmu_channel #(
    parameter WRITE = 0,
    parameter ID_W = 6,
    parameter VA_W = 48,
    parameter PA_W = 48,
    parameter USER_W = 28,
    parameter LOG_PARK = 6,
    parameter LOG_SETS = 8
) (
    input wire clk,
    input wire rst,
    input wire enable,

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

    // cache: read address (s1), compare side (s2)
    output wire tlb_rd_en,
    output wire [VA_W-13:0] tlb_rd_vpn,
    output wire [19:0] tlb_rd_pasid,
    output wire [VA_W-13:0] tlb_cmp_vpn,
    output wire [19:0] tlb_cmp_pasid,
    output wire tlb_touch,
    input wire hit_4k,
    input wire [PA_W-13:0] fn_4k,
    input wire [1:0] perm_4k,
    input wire hit_2m,
    input wire [PA_W-22:0] fn_2m,
    input wire [1:0] perm_2m,
    input wire hit_1g,
    input wire [PA_W-31:0] fn_1g,
    input wire [1:0] perm_1g,

    // what an invalidation in progress covers
    input wire flt_on,
    input wire flt_load,
    input wire [1:0] flt_scope,
    input wire [19:0] flt_pasid,
    input wire [VA_W-13:0] flt_start,
    input wire [VA_W-13:0] flt_end,
    // rows that a fill writes in this cycle
    input wire fill_4k,
    input wire [LOG_SETS-1:0] fill_row,
    input wire fill_big,

    // misses out, verdicts and answers in
    output reg ms_valid,
    input wire ms_ready,
    output reg [LOG_PARK-1:0] ms_slot,
    output reg [19:0] ms_pasid,
    output reg [VA_W-13:0] ms_vpn,
    output reg [7:0] ms_requester,
    output wire ms_dirty,
    input wire rs_ready,
    input wire rs_wait,
    input wire rs_wfree,
    input wire rs_err,
    input wire [LOG_PARK-1:0] rs_slot,
    input wire [(1<<LOG_PARK)-1:0] an_wake,
    input wire [(1<<LOG_PARK)-1:0] an_end,
    input wire an_decerr,
    input wire wfree_wake,

    // accesses in flight
    input wire trk_ready,
    output wire trk_issue,
    output wire [ID_W-1:0] trk_id,
    output wire [20+VA_W-12+2-1:0] trk_data,
    input wire trk_freed,
    output wire [ID_W-1:0] trk_query_id,
    input wire trk_query_busy,

    // write data (WRITE only)
    output wire [7:0] cr_len,
    input wire cr_ok,
    output wire cr_take,
    output wire cr_return,
    output wire [7:0] commit_len,
    output wire [LOG_PARK-1:0] commit_slot,
    output wire rt_valid,
    output wire rt_park,
    input wire rt_ready,
    output wire ws_valid,
    output wire [1:0] ws_kind,
    input wire ws_ready,
    input wire wdone_valid,
    input wire [LOG_PARK-1:0] wdone_slot,

    // error responses
    output reg er_valid,
    input wire er_ready,
    output reg [ID_W-1:0] er_id,
    output reg er_decerr,
    output wire er_last,

    // for a detach
    output wire park_enter,
    output wire [LOG_PARK-1:0] park_enter_slot,
    output wire park_leave,
    output wire [LOG_PARK-1:0] park_leave_slot,
    input wire [LOG_PARK-1:0] park_scan_slot,
    output wire [19:0] park_scan_pasid,
    output wire park_scan_stuck,
    input wire park_kill,
    input wire [LOG_PARK-1:0] park_kill_slot,
    output wire pipe_idle,
    output wire pipe_commit,

    // counters
    output wire ev_accept,
    output wire ev_hit,
    output wire ev_miss,
    output wire ev_error,
    output wire ev_stall_park,
    output wire ev_stall_bus
);

  localparam PARK = 1 << LOG_PARK;
  localparam IDS = 1 << ID_W;
  localparam VPN_W = VA_W - 12;
  // {user, qos, prot, cache, lock, burst, size, len, va, id}
  localparam AX_W = USER_W + 4 + 3 + 4 + 1 + 2 + 3 + 8 + VA_W + ID_W;
  localparam ID_L = 0;
  localparam VA_L = ID_W;
  localparam LEN_L = VA_L + VA_W;
  localparam SIZE_L = LEN_L + 8;
  localparam BURST_L = SIZE_L + 3;
  localparam USER_L = BURST_L + 2 + 1 + 4 + 3 + 4;

  localparam [1:0] OP_FRESH = 2'd0;
  localparam [1:0] OP_REPLAY = 2'd1;
  localparam [1:0] OP_RETIRE = 2'd2;
  localparam [1:0] OP_ERROR = 2'd3;

  localparam [1:0] WS_FORWARD = 2'd0;
  localparam [1:0] WS_BUFFER = 2'd1;
  localparam [1:0] WS_DISCARD = 2'd2;

  localparam [PARK-1:0] ONE = {{(PARK - 1) {1'b0}}, 1'b1};
  localparam [PARK-1:0] NONE = {PARK{1'b0}};

  // ------------------------------------------------------------------ acceptance
  // Accesses accepted and neither sent on nor ended.
  reg [LOG_PARK:0] held;
  wire can_hold = !held[LOG_PARK];
  wire port_ready;
  wire accept = s_axvalid && s_axready;
  wire f_valid;
  wire f_take;
  wire [AX_W:0] f_word;

  assign s_axready = port_ready && can_hold && enable;
  assign ev_accept = accept;

  skid #(
      .W(AX_W + 1)
  ) port (
      .clk(clk),
      .rst(rst),
      .in_valid(s_axvalid && can_hold && enable),
      .in_ready(port_ready),
      .in_data({
        s_axaddr[63:VA_W] != {(64 - VA_W) {1'b0}},
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
      }),
      .out_valid(f_valid),
      .out_ready(f_take),
      .out_data(f_word)
  );

  wire f_can = f_valid && (WRITE == 0 || cr_ok);
  assign cr_len  = f_word[LEN_L+:8];
  assign cr_take = f_take && f_valid;
  assign ev_stall_park = (s_axvalid && enable && !can_hold) || (f_valid && WRITE != 0 && !cr_ok);

  // ------------------------------------------------------------------ park table: state
  reg [PARK-1:0] v_ready;
  reg [PARK-1:0] v_wait;
  reg [PARK-1:0] v_wfree;
  reg [PARK-1:0] v_err;
  reg [PARK-1:0] v_eblk;
  reg [PARK-1:0] v_retire;
  reg [PARK-1:0] is_head;
  reg [PARK-1:0] follow;
  reg [PARK-1:0] has_next;
  reg [PARK-1:0] decerr;
  reg [PARK-1:0] wdone;
  reg [IDS-1:0] id_parked;
  reg [LOG_PARK-1:0] id_tail[0:IDS-1];
  reg [LOG_PARK-1:0] next[0:PARK-1];
  reg [19:0] pasids[0:PARK-1];
  reg [ID_W-1:0] ids[0:PARK-1];
  reg [LOG_PARK-1:0] id_head[0:IDS-1];

  assign park_scan_pasid = pasids[park_scan_slot];
  // Sure to end with an error, but only after an older access of its ID that waits for the host.
  wire [LOG_PARK-1:0] scan_head = id_head[ids[park_scan_slot]];
  wire scan_head_waits = v_wait[scan_head] || v_wfree[scan_head];
  assign park_scan_stuck = v_err[park_scan_slot] && !is_head[park_scan_slot] && scan_head_waits;

  reg [LOG_PARK-1:0] s3_slot;
  wire nf_valid;
  wire [LOG_PARK-1:0] nf_slot;
  wire enqueue;
  wire dequeue;

  pool #(
      .LOG_N(LOG_PARK)
  ) slots (
      .clk(clk),
      .rst(rst),
      .valid(nf_valid),
      .index(nf_slot),
      .take(enqueue),
      .give(dequeue),
      .give_index(s3_slot)
  );

  assign park_enter = enqueue;
  assign park_enter_slot = nf_slot;
  assign park_leave = dequeue;
  assign park_leave_slot = s3_slot;

  wire [PARK-1:0] enq_oh = enqueue ? ONE << nf_slot : NONE;

  // ------------------------------------------------------------------ replay: select (q), park RAM (r)
  reg q_valid;
  reg [LOG_PARK-1:0] q_slot;
  reg [1:0] q_op;
  reg r_valid;
  reg [LOG_PARK-1:0] r_slot;
  reg [ID_W-1:0] r_id;
  reg [1:0] r_op;
  wire [AX_W-1:0] r_ax;
  wire r_take;
  wire q_go = !r_valid || r_take;
  wire sel_go = !q_valid || q_go;
  reg e_idle;

  wire [PARK-1:0] may_look = v_ready & (is_head | follow) & wdone;
  wire [PARK-1:0] may_end = e_idle ? v_err & is_head & wdone : NONE;
  wire [PARK-1:0] may = may_look | may_end | v_retire;
  wire [PARK-1:0] grant;
  wire [LOG_PARK-1:0] grant_slot;
  wire select = sel_go && may != NONE;
  wire [PARK-1:0] sel_oh = sel_go ? grant : NONE;

  arb_rr #(
      .N(PARK)
  ) turn (
      .clk(clk),
      .rst(rst),
      .req(may),
      .grant(grant),
      .advance(sel_go)
  );

  encode #(
      .LOG_N(LOG_PARK)
  ) granted (
      .onehot(grant),
      .index(grant_slot)
  );

  wire s3_park_write;
  wire [AX_W-1:0] s3_ax_w;

  ram_1r1w #(
      .W(AX_W),
      .LOG_DEPTH(LOG_PARK)
  ) park (
      .clk(clk),
      .wr_en(s3_park_write),
      .wr_addr(nf_slot),
      .wr_data(s3_ax_w),
      .rd_en(q_valid && q_go),
      .rd_addr(q_slot),
      .rd_data(r_ax)
  );

  always @(posedge clk) begin
    if (sel_go) begin
      q_slot <= grant_slot;
      q_op   <= ((grant & v_retire) != NONE) ? OP_RETIRE : ((grant & v_ready) != NONE) ? OP_REPLAY : OP_ERROR;
    end
    if (q_go) begin
      r_slot <= q_slot;
      r_id   <= ids[q_slot];
      r_op   <= q_op;
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      q_valid <= 1'b0;
      r_valid <= 1'b0;
    end else begin
      if (sel_go) q_valid <= select;
      if (q_go) r_valid <= q_valid;
    end
  end

  // ------------------------------------------------------------------ s1: an arrival or a replay
  reg s2_valid;
  reg s3_valid;
  wire s3_done;
  wire adv = !s3_valid || s3_done;

  reg [1:0] turns;
  wire r_looks = r_valid && r_op != OP_ERROR;
  wire s1_replay = r_looks && !(f_can && turns == 2'd3);
  wire s1_valid = s1_replay || f_can;
  wire [AX_W-1:0] s1_ax = s1_replay ? r_ax : f_word[AX_W-1:0];

  assign r_take = r_valid && (r_op == OP_ERROR || (adv && s1_replay));
  assign f_take = adv && f_can && !s1_replay;

  // A burst that leaves its page: the last byte of an incrementing burst lies beyond the page, or a wrap is too long.
  wire [7:0] f_len = f_word[LEN_L+:8];
  wire [2:0] f_size = f_word[SIZE_L+:3];
  wire [1:0] f_burst = f_word[BURST_L+:2];
  wire [15:0] f_bytes = ({8'd0, f_len} + 16'd1) << f_size;
  wire [11:0] f_base = f_word[VA_L+:12] & ~((12'd1 << f_size) - 12'd1);
  wire [16:0] f_last = {5'd0, f_base} + {1'b0, f_bytes};
  wire f_cross = (f_burst == 2'd0) ? 1'b0 : (f_burst == 2'd2) ? f_bytes > 16'd4096 : f_last > 17'd4096;

  reg [1:0] s2_op;
  reg [LOG_PARK-1:0] s2_slot;
  reg [AX_W-1:0] s2_ax;
  reg s2_bad;
  reg s2_dirty;

  assign tlb_rd_en = adv ? s1_valid : s2_valid;
  assign tlb_rd_vpn = adv ? s1_ax[VA_L+12+:VPN_W] : s2_ax[VA_L+12+:VPN_W];
  assign tlb_rd_pasid = adv ? s1_ax[USER_L+:20] : s2_ax[USER_L+:20];

  wire s1_dirty = fill_big
      || (fill_4k && fill_row == (s1_ax[VA_L+12+:LOG_SETS] ^ s1_ax[USER_L+:LOG_SETS]));
  wire s2_dirty_now = fill_big
      || (fill_4k && fill_row == (s2_ax[VA_L+12+:LOG_SETS] ^ s2_ax[USER_L+:LOG_SETS]));

  always @(posedge clk) begin
    if (adv) begin
      s2_op <= s1_replay ? r_op : OP_FRESH;
      s2_slot <= r_slot;
      s2_ax <= s1_ax;
      s2_bad <= !s1_replay && (f_word[AX_W] || f_cross);
      s2_dirty <= s1_dirty;
    end else begin
      // The row read now is the old one.
      s2_dirty <= s2_dirty_now;
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      s2_valid <= 1'b0;
      turns <= 2'd0;
    end else begin
      if (adv) s2_valid <= s1_valid;
      if (f_take) turns <= 2'd0;
      else if (adv && s1_replay && f_can) turns <= turns + 2'd1;
    end
  end

  // ------------------------------------------------------------------ s2: compare
  wire [VPN_W-1:0] s2_vpn = s2_ax[VA_L+12+:VPN_W];
  assign tlb_cmp_vpn = s2_vpn;
  assign tlb_cmp_pasid = s2_ax[USER_L+:20];
  assign tlb_touch = s2_valid && adv && !s2_op[1];

  wire s2_scope = flt_on && (flt_scope == 2'd2 || flt_pasid == tlb_cmp_pasid);
  wire s2_whole = flt_scope != 2'd0;
  wire cov_4k = s2_whole || (s2_vpn >= flt_start && s2_vpn <= flt_end);
  wire cov_2m = s2_whole || (s2_vpn[VPN_W-1:9] >= flt_start[VPN_W-1:9] && s2_vpn[VPN_W-1:9] <= flt_end[VPN_W-1:9]);
  wire cov_1g = s2_whole || (s2_vpn[VPN_W-1:18] >= flt_start[VPN_W-1:18] && s2_vpn[VPN_W-1:18] <= flt_end[VPN_W-1:18]);

  wire s2_perm = hit_4k ? perm_4k[WRITE] : hit_2m ? perm_2m[WRITE] : perm_1g[WRITE];
  wire s2_cov = s2_scope && (hit_4k ? cov_4k : hit_2m ? cov_2m : cov_1g);
  wire s2_usable = (hit_4k || hit_2m || hit_1g) && s2_perm && !s2_cov;
  wire [PA_W-13:0] s2_fn = hit_4k ? fn_4k : hit_2m ? {fn_2m, s2_vpn[8:0]} : {fn_1g, s2_vpn[17:0]};

  reg [1:0] s3_op;
  reg [AX_W-1:0] s3_ax;
  reg s3_bad;
  reg s3_usable;
  reg s3_again;
  reg s3_dirty;
  reg [PA_W-13:0] s3_fn;
  reg [1:0] s3_size;

  wire s3_dirty_now = fill_big
      || (fill_4k && fill_row == (s3_ax[VA_L+12+:LOG_SETS] ^ s3_ax[USER_L+:LOG_SETS]));

  always @(posedge clk) begin
    if (adv) begin
      s3_op <= s2_op;
      s3_slot <= s2_slot;
      s3_ax <= s2_ax;
      s3_bad <= s2_bad;
      s3_usable <= s2_usable;
      s3_fn <= s2_fn;
      s3_size <= hit_4k ? 2'd0 : hit_2m ? 2'd1 : 2'd2;
      s3_dirty <= s2_dirty || s2_dirty_now;
      s3_again <= 1'b0;
    end else begin
      s3_dirty <= s3_dirty || s3_dirty_now;
      // Compared before the invalidation was known and not sent on: look up again.
      s3_again <= s3_again || flt_load;
    end
  end

  always @(posedge clk) begin
    if (rst) s3_valid <= 1'b0;
    else if (adv) s3_valid <= s2_valid;
  end

  // ------------------------------------------------------------------ s3: commit
  wire [ID_W-1:0] s3_id = s3_ax[ID_L+:ID_W];
  wire s3_fresh = s3_op == OP_FRESH;
  wire s3_replay = s3_op == OP_REPLAY;
  wire s3_retire = s3_op == OP_RETIRE;
  wire s3_behind = s3_fresh ? id_parked[s3_id] : !is_head[s3_slot];
  wire s3_look_again = s3_again || (!s3_usable && (s3_dirty || s3_dirty_now));

  wire do_error = s3_fresh && s3_bad;
  wire do_issue = !s3_retire && !do_error && !s3_look_again && s3_usable && !s3_behind;
  wire do_ready = !s3_retire && !do_error && (s3_look_again || (s3_usable && s3_behind));
  wire do_miss = !s3_retire && !do_error && !s3_look_again && !s3_usable;
  wire do_park = s3_fresh && (do_error || do_ready || do_miss);

  wire m_ready;
  wire rt_ok = WRITE == 0 || !s3_fresh || rt_ready;
  wire ws_ok = WRITE == 0 || ws_ready;
  wire can_issue = m_ready && trk_ready && rt_ok && ws_ok;
  wire can_park = !s3_fresh || (nf_valid && rt_ok);
  wire can_miss = can_park && (!ms_valid || ms_ready);

  assign s3_done = s3_retire ? ws_ok : do_issue ? can_issue : do_miss ? can_miss : can_park;
  wire commit = s3_valid && s3_done;

  assign enqueue = commit && do_park;
  assign dequeue = commit && (s3_retire || (s3_replay && do_issue));
  assign s3_park_write = enqueue;
  assign s3_ax_w = s3_ax;

  assign pipe_commit = commit && s3_fresh;
  // An arrival that waits for write buffers counts as still at the port.
  assign pipe_idle = !f_can && !s2_valid && !s3_valid;
  assign ev_hit = commit && s3_fresh && !s3_bad && s3_usable;
  assign ev_miss = commit && do_miss;
  assign ev_stall_bus = s3_valid && do_issue && !can_issue;

  // Bus side.
  wire issue = commit && do_issue;
  skid #(
      .W(AX_W - VA_W + PA_W)
  ) bus (
      .clk(clk),
      .rst(rst),
      .in_valid(issue),
      .in_ready(m_ready),
      .in_data({s3_ax[AX_W-1:LEN_L], s3_fn, s3_ax[VA_L+:12], s3_id}),
      .out_valid(m_axvalid),
      .out_ready(m_axready),
      .out_data({
        m_axuser, m_axqos, m_axprot, m_axcache, m_axlock, m_axburst, m_axsize, m_axlen, m_axaddr, m_axid
      })
  );

  assign trk_issue = issue;
  assign trk_id = s3_id;
  assign trk_data = {s3_ax[USER_L+:20], s3_ax[VA_L+12+:VPN_W], s3_size};

  // Write data: where the beats of an arrival go, and where the beats of the bus side come from.
  assign commit_len = s3_ax[LEN_L+:8];
  assign commit_slot = s3_fresh ? nf_slot : s3_slot;
  assign rt_valid = commit && s3_fresh;
  assign rt_park = do_park;
  assign ws_valid = issue || (commit && s3_retire);
  assign ws_kind = s3_retire ? WS_DISCARD : s3_fresh ? WS_FORWARD : WS_BUFFER;
  assign cr_return = issue && s3_fresh;

  // Miss register.
  reg ms_dirty_reg;
  wire ms_dirty_now = fill_big || (fill_4k && fill_row == (ms_vpn[LOG_SETS-1:0] ^ ms_pasid[LOG_SETS-1:0]));
  assign ms_dirty = ms_dirty_reg || ms_dirty_now;

  always @(posedge clk) begin
    if (commit && do_miss) begin
      ms_slot <= s3_fresh ? nf_slot : s3_slot;
      ms_pasid <= s3_ax[USER_L+:20];
      ms_vpn <= s3_ax[VA_L+12+:VPN_W];
      ms_requester <= s3_ax[USER_L+20+:8];
      ms_dirty_reg <= 1'b0;
    end else begin
      ms_dirty_reg <= ms_dirty;
    end
  end

  always @(posedge clk) begin
    if (rst) ms_valid <= 1'b0;
    else if (commit && do_miss) ms_valid <= 1'b1;
    else if (ms_ready) ms_valid <= 1'b0;
  end

  // ------------------------------------------------------------------ error responses, one access at a time
  reg [LOG_PARK-1:0] e_slot;
  reg [7:0] e_left;
  wire r_ends = r_valid && r_op == OP_ERROR;
  wire e_block = r_ends && trk_query_busy;
  wire e_start = r_ends && !trk_query_busy;
  wire e_end = er_valid && er_ready && er_last;
  wire [PARK-1:0] r_oh = ONE << r_slot;

  assign trk_query_id = r_id;
  assign er_last = e_left == 8'd0;
  assign ev_error = e_start;

  always @(posedge clk) begin
    if (e_start) begin
      e_slot <= r_slot;
      er_id <= r_id;
      er_decerr <= decerr[r_slot];
      e_left <= (WRITE != 0) ? 8'd0 : r_ax[LEN_L+:8];
    end else if (er_valid && er_ready) begin
      e_left <= e_left - 8'd1;
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      er_valid <= 1'b0;
      e_idle   <= 1'b1;
    end else begin
      if (e_start) er_valid <= 1'b1;
      else if (e_end) er_valid <= 1'b0;
      if ((sel_oh & v_err) != NONE) e_idle <= 1'b0;
      else if (e_end || e_block) e_idle <= 1'b1;
    end
  end

  // ------------------------------------------------------------------ park table: next state
  wire [PARK-1:0] commit_oh = s3_fresh ? ONE << nf_slot : ONE << s3_slot;
  wire [PARK-1:0] set_ready = (commit && do_ready) ? commit_oh : NONE;
  wire [PARK-1:0] set_err = (commit && do_error) ? commit_oh : NONE;
  wire [PARK-1:0] deq_oh = dequeue ? ONE << s3_slot : NONE;
  wire [PARK-1:0] rs_oh = ONE << rs_slot;
  wire [PARK-1:0] set_rs_ready = rs_ready ? rs_oh : NONE;
  wire [PARK-1:0] set_rs_wait = rs_wait ? rs_oh : NONE;
  wire [PARK-1:0] set_rs_wfree = rs_wfree ? rs_oh : NONE;
  wire [PARK-1:0] set_rs_err = rs_err ? rs_oh : NONE;
  wire [LOG_PARK-1:0] s3_tail = id_tail[s3_id];
  wire [PARK-1:0] tail_oh = ONE << s3_tail;
  wire [PARK-1:0] next_oh = ONE << next[s3_slot];
  wire [PARK-1:0] q_next_oh = ONE << next[q_slot];
  wire q_follow = q_valid && q_go && q_op == OP_REPLAY && has_next[q_slot];
  // A response of the direction may have emptied the ID that a blocked error waits for.
  wire [PARK-1:0] e_block_oh = e_block ? r_oh : NONE;

  // A detach ends accesses that would look up again.
  wire [PARK-1:0] kill_oh = park_kill ? v_ready & ~sel_oh & (ONE << park_kill_slot) : NONE;

  always @(posedge clk) begin
    is_head <= (is_head & ~enq_oh & ~deq_oh) | (id_parked[s3_id] ? NONE : enq_oh)
        | ((dequeue && has_next[s3_slot]) ? next_oh : NONE);
    follow <= (follow | (q_follow ? q_next_oh : NONE)) & ~enq_oh & ~sel_oh;
    has_next <= (has_next & ~enq_oh) | ((enqueue && id_parked[s3_id]) ? tail_oh : NONE);
    decerr <= (decerr & ~an_end) | set_err | set_rs_err | kill_oh | (an_decerr ? an_end : NONE);
    wdone <= (WRITE == 0) ? {PARK{1'b1}} : (wdone & ~enq_oh) | (wdone_valid ? ONE << wdone_slot : NONE);
    if (enqueue) begin
      id_tail[s3_id] <= nf_slot;
      pasids[nf_slot] <= s3_ax[USER_L+:20];
      ids[nf_slot] <= s3_id;
      if (id_parked[s3_id]) next[s3_tail] <= nf_slot;
    end
    if (dequeue || (enqueue && !id_parked[s3_id])) id_head[s3_id] <= enqueue ? nf_slot : next[s3_slot];
  end

  always @(posedge clk) begin
    if (rst) begin
      v_ready <= NONE;
      v_wait <= NONE;
      v_wfree <= NONE;
      v_err <= NONE;
      v_eblk <= NONE;
      v_retire <= NONE;
      id_parked <= {IDS{1'b0}};
      held <= {(LOG_PARK + 1) {1'b0}};
    end else begin
      v_ready <= (v_ready & ~sel_oh & ~kill_oh) | set_ready | set_rs_ready | an_wake | (wfree_wake ? v_wfree : NONE);
      v_wait <= (v_wait & ~an_wake & ~an_end) | set_rs_wait;
      v_wfree <= (wfree_wake ? NONE : v_wfree) | set_rs_wfree;
      v_err <= (v_err & ~sel_oh) | set_err | set_rs_err | an_end | kill_oh | (trk_freed ? v_eblk | e_block_oh : NONE);
      v_eblk <= trk_freed ? NONE : v_eblk | e_block_oh;
      v_retire <= (v_retire & ~sel_oh) | (e_end ? ONE << e_slot : NONE);
      if (enqueue) id_parked[s3_id] <= 1'b1;
      else if (dequeue && !has_next[s3_slot]) id_parked[s3_id] <= 1'b0;
      held <= held + {{LOG_PARK{1'b0}}, accept} - {{LOG_PARK{1'b0}}, issue || (commit && s3_retire)};
    end
  end

endmodule

`default_nettype wire
