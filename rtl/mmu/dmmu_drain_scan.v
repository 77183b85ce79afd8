`resetall
`timescale 1ns / 1ps
`default_nettype none

// The accesses that one completion waits for, among those in a table of slots. From copy on the slots are visited, one a
// cycle, groups without an access left out; an access that matters is marked: it was there before the effect and overlaps
// the range. A marked access that leaves its slot loses the mark, and when every group has been visited and no mark is
// left, nothing is waited for (none).
// PARKED = 1, for a detach: the slots are visited again and again. A parked access of the PASID that would look up again is
// made to end (kill). One that is sure to end but is held, by the order of its ID, behind an access that waits for the host
// is stuck and loses the mark: a completion never waits for the answer to a fault.
// A state of one bit that two sides change is the XOR of two RAM bits, one written by each side; cleared after rst, one
// slot a cycle, before ready rises. copy comes only when none is high.
// Invariant: left = marks. A mark is set only in the first round, and goes only when its access leaves (or is stuck).
module dmmu_drain_scan #(
    parameter LOG_SLOTS = 6,
    parameter VPN_W = 36,
    parameter PARKED = 0
) (
    input wire clk,
    input wire rst,
    output wire ready,

    // the table: never the same slot in one cycle
    input wire enter,
    input wire [LOG_SLOTS-1:0] enter_slot,
    input wire leave,
    input wire [LOG_SLOTS-1:0] leave_slot,
    output wire empty,

    input wire copy,
    // what stands in slot is wanted in the next cycle; kill means the access in kill_slot
    output wire [LOG_SLOTS-1:0] slot,
    output wire [LOG_SLOTS-1:0] kill_slot,
    input wire [19:0] pasid,
    input wire [VPN_W-1:0] vpn,
    input wire [1:0] size,
    input wire after,
    input wire stuck,
    output wire kill,

    input wire all,
    input wire whole,
    input wire [19:0] of_pasid,
    input wire [VPN_W-1:0] start,
    input wire [VPN_W-1:0] last,

    output wire none
);

  localparam SLOTS = 1 << LOG_SLOTS;
  localparam LOG_SUB = (LOG_SLOTS > 2) ? 2 : 1;
  localparam LOG_GROUPS = LOG_SLOTS - LOG_SUB;
  localparam GROUPS = 1 << LOG_GROUPS;
  localparam [LOG_SLOTS:0] ZERO = {(LOG_SLOTS + 1) {1'b0}};
  localparam [GROUPS-1:0] NONE = {GROUPS{1'b0}};

  reg live_enter[0:SLOTS-1];
  reg live_leave[0:SLOTS-1];
  reg mark_scan[0:SLOTS-1];
  reg mark_leave[0:SLOTS-1];
  reg [LOG_SLOTS:0] left;
  // The top bit rises when the last slot has been cleared.
  reg [LOG_SLOTS:0] clear_slot;
  wire clearing = !clear_slot[LOG_SLOTS];
  // Groups with an access, and those still to be visited in this round.
  wire [GROUPS-1:0] used;
  reg [GROUPS-1:0] todo;
  reg visiting;
  reg [LOG_SLOTS-1:0] at;
  reg first;
  // Read, compared: a stage each.
  reg [LOG_SLOTS-1:0] a_slot;
  reg [LOG_SLOTS-1:0] b_slot;
  reg a_valid;
  reg b_valid;
  reg a_over;
  reg over;
  reg a_here;
  reg b_here;
  reg b_overlaps;
  reg b_stuck;

  // Where the translation begins and ends, in 4-KiB pages.
  wire [VPN_W-1:0] page_mask;
  generate
    if (VPN_W > 18) begin : gen_size
      assign page_mask = (size == 2'd2) ? {{(VPN_W - 18) {1'b0}}, 18'h3ffff}
          : (size == 2'd1) ? {{(VPN_W - 9) {1'b0}}, 9'h1ff} : {VPN_W{1'b0}};
    end else begin : gen_none
      wire unused_size = &{1'b0, size};
      assign page_mask = {VPN_W{1'b0}};
    end
  endgenerate
  wire overlaps = !after
      && (all || (pasid == of_pasid && (whole || ((vpn | page_mask) >= start && (vpn & ~page_mask) <= last))));
  wire keeps = b_overlaps && (PARKED == 0 || !b_stuck);

  genvar g;
  generate
    for (g = 0; g < GROUPS; g = g + 1) begin : gen_group
      reg [LOG_SUB:0] count;
      wire more = enter && enter_slot[LOG_SLOTS-1:LOG_SUB] == g;
      wire less = leave && leave_slot[LOG_SLOTS-1:LOG_SUB] == g;
      assign used[g] = count != 0;
      always @(posedge clk) begin
        if (rst) count <= {(LOG_SUB + 1) {1'b0}};
        else if (more && !less) count <= count + {{LOG_SUB{1'b0}}, 1'b1};
        else if (less && !more) count <= count - {{LOG_SUB{1'b0}}, 1'b1};
      end
    end
  endgenerate

  wire [GROUPS-1:0] next = todo & (~todo + {{(GROUPS - 1) {1'b0}}, 1'b1});
  wire [LOG_GROUPS-1:0] next_group;
  wire turn = !visiting || (&at[LOG_SUB-1:0]);

  encode #(
      .LOG_N(LOG_GROUPS)
  ) group (
      .onehot(next),
      .index(next_group)
  );

  assign slot = at;
  assign kill_slot = b_slot;
  wire visit = b_valid && !(leave && leave_slot == b_slot);
  // What enters behind the read is not what was read.
  wire here = live_enter[slot] ^ live_leave[slot];
  wire marked = mark_scan[b_slot] ^ mark_leave[b_slot];
  wire set_mark = visit && first && b_here && keeps;
  wire drop_mark = visit && !first && marked && !keeps;
  wire leave_mark = leave && (mark_scan[leave_slot] ^ mark_leave[leave_slot]);

  assign ready = !clearing;
  assign empty = used == NONE;
  assign none  = left == ZERO && (!first || over);
  assign kill  = PARKED != 0 && visit && b_overlaps && (first ? b_here : marked);

  wire [LOG_SLOTS-1:0] enter_at = clearing ? clear_slot[LOG_SLOTS-1:0] : enter_slot;
  wire [LOG_SLOTS-1:0] leave_at = clearing ? clear_slot[LOG_SLOTS-1:0] : leave_slot;
  wire [LOG_SLOTS-1:0] mark_at = clearing ? clear_slot[LOG_SLOTS-1:0] : b_slot;

  always @(posedge clk) begin
    if (clearing || enter) live_enter[enter_at] <= !clearing && !live_leave[enter_slot];
    if (clearing || leave) live_leave[leave_at] <= !clearing && live_enter[leave_slot];
    if (clearing || set_mark || drop_mark) mark_scan[mark_at] <= !clearing && (set_mark ^ mark_leave[b_slot]);
    if (clearing || leave) mark_leave[leave_at] <= !clearing && mark_scan[leave_slot];
  end

  always @(posedge clk) begin
    a_slot <= slot;
    b_slot <= a_slot;
    a_here <= here && !(leave && leave_slot == slot);
    b_here <= a_here && !(leave && leave_slot == a_slot);
    b_overlaps <= overlaps;
    b_stuck <= stuck;
  end

  always @(posedge clk) begin
    if (rst) begin
      a_valid <= 1'b0;
      b_valid <= 1'b0;
      a_over <= 1'b0;
      over <= 1'b0;
      left <= ZERO;
      clear_slot <= ZERO;
      todo <= NONE;
      visiting <= 1'b0;
      first <= 1'b0;
    end else begin
      if (clearing) clear_slot <= clear_slot + {{LOG_SLOTS{1'b0}}, 1'b1};
      left <= left + {{LOG_SLOTS{1'b0}}, set_mark} - {{LOG_SLOTS{1'b0}}, drop_mark} - {{LOG_SLOTS{1'b0}}, leave_mark};
      a_valid <= visiting && !copy;
      b_valid <= a_valid && !copy;
      a_over <= !visiting && todo == NONE && !copy;
      over <= a_over && !visiting && todo == NONE && !copy;
      if (copy) begin
        todo <= used;
        visiting <= 1'b0;
        first <= 1'b1;
      end else if (turn) begin
        visiting <= todo != NONE;
        todo <= todo & ~next;
        if (PARKED != 0 && over && !none) begin
          todo <= used;
          first <= 1'b0;
        end
      end
    end
  end

  always @(posedge clk) begin
    if (turn) at <= {next_group, {LOG_SUB{1'b0}}};
    else at[LOG_SUB-1:0] <= at[LOG_SUB-1:0] + {{(LOG_SUB - 1) {1'b0}}, 1'b1};
  end

endmodule

`default_nettype wire
