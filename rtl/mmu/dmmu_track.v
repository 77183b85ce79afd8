`resetall
`timescale 1ns / 1ps
`default_nettype none

// Accesses in flight on the bus side of one direction: which translation each one uses, oldest first within an ID.
// issue_* enters an access; free_* (a response of an ID) ends the oldest access of that ID. One of each per cycle.
// Invariant: live has a bit for every access sent on and not yet answered; a slot is not reused in the cycle that frees it.
module dmmu_track #(
    parameter ID_W = 6,
    parameter LOG_SLOTS = 6,
    parameter DATA_W = 58
) (
    input wire clk,
    input wire rst,

    output reg issue_ready,
    input wire issue_valid,
    input wire [ID_W-1:0] issue_id,
    input wire [DATA_W-1:0] issue_data,

    input wire free_valid,
    input wire [ID_W-1:0] free_id,

    input wire [ID_W-1:0] query_id,
    output wire query_busy,

    output reg [(1<<LOG_SLOTS)-1:0] live,
    output wire [(1<<LOG_SLOTS)-1:0] freed,
    input wire [LOG_SLOTS-1:0] scan_slot,
    output wire [DATA_W-1:0] scan_data
);

  localparam SLOTS = 1 << LOG_SLOTS;
  localparam IDS = 1 << ID_W;

  reg [LOG_SLOTS-1:0] head[0:IDS-1];
  reg [LOG_SLOTS-1:0] tail[0:IDS-1];
  reg [LOG_SLOTS-1:0] next[0:SLOTS-1];
  reg [DATA_W-1:0] data[0:SLOTS-1];
  reg [IDS-1:0] busy;

  reg [LOG_SLOTS-1:0] slot;

  wire [LOG_SLOTS-1:0] old = head[free_id];
  wire do_free = free_valid && busy[free_id];
  wire do_issue = issue_valid && issue_ready;
  wire [LOG_SLOTS-1:0] issue_tail = tail[issue_id];
  wire last = old == tail[free_id];
  // An ID whose only access ends in this cycle is empty for an access that enters in it.
  wire same = do_free && free_id == issue_id;
  wire was_empty = !busy[issue_id] || (same && last);

  assign query_busy = busy[query_id];
  assign freed = do_free ? ({{(SLOTS - 1) {1'b0}}, 1'b1} << old) : {SLOTS{1'b0}};
  assign scan_data = data[scan_slot];

  wire [SLOTS-1:0] taken = do_issue ? ({{(SLOTS - 1) {1'b0}}, 1'b1} << slot) : {SLOTS{1'b0}};
  wire [SLOTS-1:0] idle = ~(live | taken);
  wire [SLOTS-1:0] pick = idle & (~idle + {{(SLOTS - 1) {1'b0}}, 1'b1});
  reg [LOG_SLOTS-1:0] pick_index;
  integer i;
  always @* begin
    pick_index = {LOG_SLOTS{1'b0}};
    for (i = 0; i < SLOTS; i = i + 1) if (pick[i]) pick_index = pick_index | i[LOG_SLOTS-1:0];
  end

  always @(posedge clk) begin
    slot <= pick_index;
    if (do_issue) begin
      data[slot] <= issue_data;
      tail[issue_id] <= slot;
      if (!was_empty) next[issue_tail] <= slot;
    end
  end

  // The list's next link and an access that enters behind the last one never meet: that case is was_empty.
  always @(posedge clk) begin
    if (do_free) head[free_id] <= next[old];
    if (do_issue && was_empty) head[issue_id] <= slot;
  end

  always @(posedge clk) begin
    if (rst) begin
      issue_ready <= 1'b0;
      live <= {SLOTS{1'b0}};
      busy <= {IDS{1'b0}};
    end else begin
      issue_ready <= idle != {SLOTS{1'b0}};
      live <= (live | taken) & ~freed;
      if (do_free && last) busy[free_id] <= 1'b0;
      if (do_issue) busy[issue_id] <= 1'b1;
    end
  end

endmodule

`default_nettype wire
