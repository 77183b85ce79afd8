`resetall
`timescale 1ns / 1ps
`default_nettype none

// The set of accesses that one invalidation waits for. copy takes the live slots; afterwards one slot a cycle is compared
// and dropped if it was sent on after the effect or its translation does not overlap the range; freed slots drop out at once.
// Two cycles from the choice of a slot to its drop.
// Invariant: the set never grows after copy, and a slot that overlaps leaves it only when it is freed.
module dmmu_drain_scan #(
    parameter LOG_SLOTS = 6,
    parameter VPN_W = 36
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
  wire [SLOTS-1:0] drop = (slot_valid && !overlaps) ? ONE << slot : NONE;
  reg [LOG_SLOTS-1:0] next_index;
  integer i;
  always @* begin
    next_index = {LOG_SLOTS{1'b0}};
    for (i = 0; i < SLOTS; i = i + 1) if (next[i]) next_index = next_index | i[LOG_SLOTS-1:0];
  end

  assign none = set == NONE;

  always @(posedge clk) slot <= next_index;

  always @(posedge clk) begin
    if (rst) begin
      set <= NONE;
      todo <= NONE;
      slot_valid <= 1'b0;
    end else begin
      slot_valid <= !copy && todo != NONE;
      set <= copy ? live & ~freed : set & ~freed & ~drop;
      todo <= copy ? live & ~freed : todo & ~freed & ~next;
    end
  end

endmodule

`default_nettype wire
