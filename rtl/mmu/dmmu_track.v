`resetall
`timescale 1ns / 1ps
`default_nettype none

// Accesses in flight on the bus side of one direction: the translation that each one uses, oldest first within an ID, and
// which of them the oldest completion waits for (marked).
// issue_* enters an access, stamped with cycle and counted in the cycle after; free_* (a response of an ID, in t) ends the
// oldest access of that ID: freed in t + 3, idle without it from t + 4 on, marked from t + 5 on. One of each per cycle.
// The accesses of an ID are numbered: order has the slot of each {ID, number}, tail the next number to issue, head the next
// one to end. So neither side ever reads what the other side writes, but order.
// Free slots are kept on a stack, so the slots in use stay below high, the most accesses at a time since the tracker was last
// idle.
// A state of one bit that two sides change is the XOR of two RAM bits, one written by each side; numbers and bits are set up
// after rst, one a cycle, before ready rises.
// Invariants: never more than 2^LOG_SLOTS accesses between issue and freed (a slot is used again from the cycle after freed
// on); no response without an access, nor before the cycle after its issue; every slot below high has been used since rst.
module dmmu_track #(
    parameter ID_W = 6,
    parameter LOG_SLOTS = 6,
    parameter DATA_W = 58,
    parameter TABLES = "distributed"
) (
    input wire clk,
    input wire rst,
    output wire ready,
    input wire [31:0] cycle,

    input wire issue_valid,
    input wire [ID_W-1:0] issue_id,
    input wire [DATA_W-1:0] issue_data,

    input wire free_valid,
    input wire [ID_W-1:0] free_id,
    output reg freed,

    // answered two cycles later, with every issue up to two cycles before query_id in it
    input wire [ID_W-1:0] query_id,
    output reg query_busy,

    // to dmmu_drain: scan_slot in t, its {stamp, data} in t + 2 (zero without scan_en), mark and mark_slot in t + 5: for the
    // access that was in the slot in t, if it is still in flight
    output reg idle,
    output reg [LOG_SLOTS:0] high,
    input wire scan_en,
    input wire [LOG_SLOTS-1:0] scan_slot,
    output reg [DATA_W+31:0] scan_data,
    input wire mark,
    input wire [LOG_SLOTS-1:0] mark_slot,
    output reg marked
);

  initial begin
    if (TABLES != "distributed" && TABLES != "block") begin
      $display("dmmu_track: TABLES must be distributed or block");
      $finish;
    end
  end

  localparam SLOTS = 1 << LOG_SLOTS;
  localparam IDS = 1 << ID_W;
  localparam CLEAR_W = (ID_W > LOG_SLOTS) ? ID_W : LOG_SLOTS;
  localparam [LOG_SLOTS:0] ONE = {{LOG_SLOTS{1'b0}}, 1'b1};
  localparam [LOG_SLOTS:0] ZERO = {(LOG_SLOTS + 1) {1'b0}};

  // Written by issue: tail, order, data, phase. By free: head, stack, done, mark_off. By the scan: mark_set. A word of order or
  // data is never wanted in the cycle that writes it: an access ends later, and see scan_live.
  (* ram_style = "distributed" *) reg [LOG_SLOTS:0] tail[0:IDS-1];
  (* ram_style = "distributed" *) reg [LOG_SLOTS:0] head[0:IDS-1];
  // {phase, slot}
  (* ram_style = "block", no_rw_check *) reg [LOG_SLOTS:0] order[0:IDS*SLOTS-1];
  (* ram_style = "distributed" *) reg [LOG_SLOTS-1:0] stack[0:SLOTS-1];
  (* ram_style = TABLES, no_rw_check *) reg [DATA_W+31:0] data[0:SLOTS-1];
  // Of the access that is in the slot, or was.
  (* ram_style = "distributed" *) reg phase[0:SLOTS-1];
  // Of the last access in the slot that ended.
  (* ram_style = "distributed" *) reg done[0:SLOTS-1];
  (* ram_style = "distributed" *) reg mark_set[0:SLOTS-1];
  (* ram_style = "distributed" *) reg mark_off[0:SLOTS-1];

  // ------------------------------------------------------------------ after rst
  reg [CLEAR_W:0] clear_at;
  reg clear;
  // Two cycles more than the largest table: all but the tables of the IDs are cleared behind registers.
  wire [ID_W-1:0] clear_id = clear_at[ID_W-1:0];
  wire [LOG_SLOTS-1:0] clear_slot = clear_at[LOG_SLOTS-1:0];
  assign ready = !clear;

  always @(posedge clk) begin
    if (rst) begin
      clear <= 1'b1;
      clear_at <= {(CLEAR_W + 1) {1'b0}};
    end else begin
      clear <= !(clear_at[CLEAR_W] && clear_at[1]);
      clear_at <= clear_at + {{CLEAR_W{1'b0}}, clear};
    end
  end

  // ------------------------------------------------------------------ free slots
  // The top of the stack is in a register, the entry below it is at next: level + 1.
  reg [LOG_SLOTS:0] level;
  reg [LOG_SLOTS:0] next;
  reg [LOG_SLOTS-1:0] top_slot;
  // The top slot has not been used since idle: it is slot number level, as are those below it.
  reg top_new;
  reg [LOG_SLOTS-1:0] g_slot;
  wire next_new = top_new || next == high;
  wire take = issue_valid;
  wire give = freed;

  always @(posedge clk) begin
    if (give) stack[level[LOG_SLOTS-1:0]] <= top_slot;
  end

  always @(posedge clk) begin
    if (idle && !take) top_slot <= {LOG_SLOTS{1'b0}};
    else if (give) top_slot <= g_slot;
    else if (take) top_slot <= next_new ? next[LOG_SLOTS-1:0] : stack[next[LOG_SLOTS-1:0]];
  end

  always @(posedge clk) begin
    if (rst) begin
      level <= ZERO;
      next <= ONE;
      high <= ZERO;
      top_new <= 1'b1;
      idle <= 1'b1;
    end else begin
      if (take && !give) begin
        level <= level + ONE;
        next  <= next + ONE;
      end else if (give && !take) begin
        level <= level - ONE;
        next  <= next - ONE;
      end
      idle <= !take && (idle || (give && level == ONE));
      if (idle && !take) high <= ZERO;
      else if (take && top_new) high <= high + ONE;
      if (idle && !take) top_new <= 1'b1;
      else if (give) top_new <= 1'b0;
      else if (take) top_new <= next_new;
    end
  end

  // ------------------------------------------------------------------ issue
  reg i_valid;
  reg [ID_W-1:0] i_id;
  reg [LOG_SLOTS:0] i_number;
  reg [LOG_SLOTS:0] i_hold;
  wire [LOG_SLOTS:0] i_after = i_number + ONE;

  always @(posedge clk) begin
    i_valid <= issue_valid;
    i_id <= issue_id;
    i_number <= (i_valid && i_id == issue_id) ? i_after : tail[issue_id];
    i_hold <= {!done[top_slot], top_slot};
    if (clear || i_valid) tail[clear ? clear_id : i_id] <= clear ? ZERO : i_after;
    if (i_valid) phase[i_hold[LOG_SLOTS-1:0]] <= i_hold[LOG_SLOTS];
  end

  always @(posedge clk) begin
    if (i_valid) order[{i_id, i_number[LOG_SLOTS-1:0]}] <= i_hold;
  end

  always @(posedge clk) begin
    if (issue_valid) data[top_slot] <= {cycle, issue_data};
  end

  // ------------------------------------------------------------------ free: number (f), slot (h, g)
  reg f_valid;
  reg [ID_W-1:0] f_id;
  reg [LOG_SLOTS:0] f_number;
  wire [LOG_SLOTS:0] f_after = f_number + ONE;
  reg h_valid;
  reg [LOG_SLOTS:0] h_hold;
  reg g_phase;

  always @(posedge clk) begin
    h_hold <= order[{f_id, f_number[LOG_SLOTS-1:0]}];
  end

  always @(posedge clk) begin
    f_id <= free_id;
    f_number <= (f_valid && f_id == free_id) ? f_after : head[free_id];
    if (clear || f_valid) head[clear ? clear_id : f_id] <= clear ? ZERO : f_after;
    g_slot <= clear ? clear_slot : h_hold[LOG_SLOTS-1:0];
    g_phase <= !clear && h_hold[LOG_SLOTS];
    if (clear || freed) done[g_slot] <= g_phase;
  end

  always @(posedge clk) begin
    if (rst) begin
      f_valid <= 1'b0;
      h_valid <= 1'b0;
      freed   <= 1'b0;
    end else begin
      f_valid <= free_valid;
      h_valid <= f_valid;
      freed   <= h_valid;
    end
  end

  // ------------------------------------------------------------------ query
  reg [LOG_SLOTS:0] q_head;
  reg [LOG_SLOTS:0] q_tail;

  always @(posedge clk) begin
    q_head <= head[query_id];
    q_tail <= tail[query_id];
    query_busy <= q_head != q_tail;
  end

  // ------------------------------------------------------------------ scan and marks
  reg scan_read;
  reg [DATA_W+31:0] scan_word;
  // Of the slot read, up to its mark: done, and that an access was in flight. No slot ends two accesses within that.
  reg [4:0] scan_done;
  reg scan_phase;
  reg [3:0] scan_live;
  reg [LOG_SLOTS:0] marks;
  reg alive;
  reg set_q;
  reg [LOG_SLOTS-1:0] set_slot;
  reg set_to;
  reg off_valid;
  reg [LOG_SLOTS-1:0] off_slot;
  reg off_to;
  reg unmark;
  wire g_set = mark_set[g_slot];
  // Still in flight, and does not end in this cycle.
  wire set = alive && !(freed && g_slot == set_slot);

  always @(posedge clk) begin
    set_slot <= clear ? clear_slot : mark_slot;
    set_to <= !clear && !mark_off[mark_slot];
    if (clear || set) mark_set[set_slot] <= set_to;
  end

  always @(posedge clk) begin
    off_slot <= g_slot;
    off_to <= !clear && g_set;
    if (clear || off_valid) mark_off[off_slot] <= off_to;
  end

  always @(posedge clk) begin
    scan_word <= data[scan_slot];
  end

  always @(posedge clk) begin
    scan_read <= scan_en;
    scan_done <= {scan_done[3:0], done[scan_slot]};
    scan_phase <= phase[scan_slot];
    scan_live <= {scan_live[2:0], scan_done[0] ^ scan_phase};
    if (!scan_read) scan_data <= {(DATA_W + 32) {1'b0}};
    else scan_data <= scan_word;
  end

  always @(posedge clk) begin
    if (rst) begin
      alive <= 1'b0;
      set_q <= 1'b0;
      off_valid <= 1'b0;
      unmark <= 1'b0;
      marks <= ZERO;
      marked <= 1'b0;
    end else begin
      alive <= mark && scan_live[3] && scan_done[4] == done[mark_slot] && !(freed && g_slot == mark_slot);
      set_q <= set;
      off_valid <= freed;
      unmark <= freed && (g_set ^ mark_off[g_slot]);
      if (set_q && !unmark) marks <= marks + ONE;
      else if (unmark && !set_q) marks <= marks - ONE;
      marked <= set_q || marks[LOG_SLOTS:1] != ZERO[LOG_SLOTS:1] || (marks[0] && !unmark);
    end
  end

endmodule

`default_nettype wire
