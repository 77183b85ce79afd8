`resetall
`timescale 1ns / 1ps
`default_nettype none

// Accesses in flight on the bus side of one direction: which translation each one uses, oldest first within an ID.
// issue_* enters an access; free_* (a response of an ID) ends the oldest access of that ID. One of each per cycle.
// The lists are RAMs with one writer each. An ID's state of one bit that both sides change is the XOR of two RAM bits, one
// written by each side; they are cleared after rst, one ID a cycle, before issue_ready rises.
// Invariant: an access sent on holds its slot until it is answered; a slot is not reused in the cycle that frees it.
module dmmu_track #(
    parameter ID_W = 6,
    parameter LOG_SLOTS = 6,
    parameter DATA_W = 58
) (
    input wire clk,
    input wire rst,

    output wire issue_ready,
    input wire issue_valid,
    input wire [ID_W-1:0] issue_id,
    input wire [DATA_W-1:0] issue_data,

    input wire free_valid,
    input wire [ID_W-1:0] free_id,

    input wire [ID_W-1:0] query_id,
    output wire query_busy,

    // the access that enters takes issue_slot; the one that ends leaves freed_slot
    output wire [LOG_SLOTS-1:0] issue_slot,
    output wire freed,
    output wire [LOG_SLOTS-1:0] freed_slot,
    input wire [LOG_SLOTS-1:0] scan_slot,
    output wire [DATA_W-1:0] scan_data
);

  localparam SLOTS = 1 << LOG_SLOTS;
  localparam IDS = 1 << ID_W;

  // first: the access that entered an idle ID. rest: the oldest one after a response, once moved.
  reg [LOG_SLOTS-1:0] first[0:IDS-1];
  reg [LOG_SLOTS-1:0] rest[0:IDS-1];
  reg [LOG_SLOTS-1:0] tail[0:IDS-1];
  reg [LOG_SLOTS-1:0] next[0:SLOTS-1];
  reg [DATA_W-1:0] data[0:SLOTS-1];
  reg busy_issue[0:IDS-1];
  reg busy_free[0:IDS-1];
  reg moved_issue[0:IDS-1];
  reg moved_free[0:IDS-1];

  // The top bit rises when the last ID has been cleared.
  reg [ID_W:0] clear_id;
  wire clear = !clear_id[ID_W];
  wire slot_ready;
  wire [LOG_SLOTS-1:0] slot;

  wire free_moved = moved_issue[free_id] ^ moved_free[free_id];
  wire free_busy = busy_issue[free_id] ^ busy_free[free_id];
  wire issue_busy = busy_issue[issue_id] ^ busy_free[issue_id];
  wire [LOG_SLOTS-1:0] old = free_moved ? rest[free_id] : first[free_id];
  wire do_free = free_valid && free_busy;
  wire do_issue = issue_valid && issue_ready;
  wire last = old == tail[free_id];
  wire [LOG_SLOTS-1:0] issue_tail = tail[issue_id];
  // An ID whose only access ends in this cycle is empty for an access that enters in it.
  wire same = do_free && free_id == issue_id;
  wire was_empty = !issue_busy || (same && last);

  assign issue_ready = slot_ready && !clear;
  assign query_busy = busy_issue[query_id] ^ busy_free[query_id];
  assign issue_slot = slot;
  assign freed = do_free;
  assign freed_slot = old;
  assign scan_data = data[scan_slot];

  pool #(
      .LOG_N(LOG_SLOTS)
  ) slots (
      .clk(clk),
      .rst(rst),
      .valid(slot_ready),
      .index(slot),
      .take(do_issue),
      .give(do_free),
      .give_index(old)
  );

  always @(posedge clk) begin
    if (do_issue) begin
      data[slot] <= issue_data;
      tail[issue_id] <= slot;
    end
    if (do_issue && was_empty) first[issue_id] <= slot;
    if (do_issue && !was_empty) next[issue_tail] <= slot;
  end

  // The list's next link and an access that enters behind the last one never meet: that case is was_empty.
  always @(posedge clk) begin
    if (do_free) rest[free_id] <= next[old];
  end

  wire [ID_W-1:0] issue_bit_id = clear ? clear_id[ID_W-1:0] : issue_id;
  wire [ID_W-1:0] free_bit_id = clear ? clear_id[ID_W-1:0] : free_id;

  always @(posedge clk) begin
    if (clear || (do_issue && was_empty)) begin
      // An ID that the other side empties in this cycle ends up busy.
      busy_issue[issue_bit_id]  <= !clear && !(busy_free[issue_id] ^ (same && last));
      moved_issue[issue_bit_id] <= !clear && moved_free[issue_id];
    end
    if (clear || (do_free && last)) busy_free[free_bit_id] <= !clear && busy_issue[free_id];
    if (clear || (do_free && !last)) moved_free[free_bit_id] <= !clear && !moved_issue[free_id];
  end

  always @(posedge clk) begin
    if (rst) clear_id <= {(ID_W + 1) {1'b0}};
    else if (clear) clear_id <= clear_id + {{ID_W{1'b0}}, 1'b1};
  end

endmodule

`default_nettype wire
