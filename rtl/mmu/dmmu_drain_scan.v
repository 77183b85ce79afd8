`resetall
`timescale 1ns / 1ps
`default_nettype none

// The set of accesses that one completion waits for. copy takes the live slots; afterwards one slot a cycle is compared
// and dropped if it does not matter: sent on after the effect, or no overlap with the range. Freed slots drop out at once.
// Two cycles from the choice of a slot to its drop.
// PARKED = 1, for a detach: the set is visited again and again. A parked access of the PASID that would look up again is made
// to end (kill). One that is sure to end but is held, by the order of its ID, behind an access that waits for the host is
// stuck and drops out: a completion never waits for the answer to a fault.
// Invariant: the set never grows after copy; a slot that matters leaves it only when it is freed (or stuck).
module dmmu_drain_scan #(
    parameter LOG_SLOTS = 6,
    parameter VPN_W = 36,
    parameter PARKED = 0
) (
    input wire clk,
    input wire rst,

    input wire copy,
    input wire [(1<<LOG_SLOTS)-1:0] live,
    input wire [(1<<LOG_SLOTS)-1:0] freed,

    output reg [LOG_SLOTS-1:0] slot,
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
  localparam [SLOTS-1:0] ONE = {{(SLOTS - 1) {1'b0}}, 1'b1};
  localparam [SLOTS-1:0] NONE = {SLOTS{1'b0}};

  reg [SLOTS-1:0] set;
  reg [SLOTS-1:0] todo;
  reg slot_valid;

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

  wire [SLOTS-1:0] next = todo & (~todo + ONE);
  wire keeps = overlaps && (PARKED == 0 || !stuck);
  wire [SLOTS-1:0] drop = (slot_valid && !keeps) ? ONE << slot : NONE;
  wire [SLOTS-1:0] stays = set & ~freed & ~drop;
  wire [LOG_SLOTS-1:0] next_index;

  encode #(
      .LOG_N(LOG_SLOTS)
  ) next_slot (
      .onehot(next),
      .index(next_index)
  );

  assign none = set == NONE;
  assign kill = PARKED != 0 && slot_valid && set[slot] && overlaps;

  always @(posedge clk) slot <= next_index;

  always @(posedge clk) begin
    if (rst) begin
      set <= NONE;
      todo <= NONE;
      slot_valid <= 1'b0;
    end else begin
      slot_valid <= !copy && todo != NONE;
      set <= copy ? live & ~freed : stays;
      todo <= copy ? live & ~freed : (PARKED != 0 && todo == NONE) ? stays : todo & ~freed & ~next;
    end
  end

endmodule

`default_nettype wire
