`resetall
`timescale 1ns / 1ps
`default_nettype none

// Visits the accesses in flight for one completion, those of the reads first, one slot a cycle, and marks each one that was
// sent on before the effect and uses a translation that overlaps the range.
// go in t, over in t + r_high + w_high + 10, until clear; the trackers' marked is right from over on.
// age, with now_valid: effect + ~now of two cycles before, that is -1 - (now - effect).
// Invariant: the effect is not after go, so no access that matters enters behind the visit.
module dmmu_drain_scan #(
    parameter LOG_SLOTS = 6,
    parameter VPN_W = 36
) (
    input wire clk,

    input wire clear,
    input wire go,
    output reg over,

    // stamp, PASID, page, size: zero for a tracker that is not asked
    input wire [LOG_SLOTS:0] r_high,
    output reg r_scan,
    input wire [32+20+VPN_W+2-1:0] r_data,
    output wire r_mark,
    input wire [LOG_SLOTS:0] w_high,
    output reg w_scan,
    input wire [32+20+VPN_W+2-1:0] w_data,
    output wire w_mark,
    output wire [LOG_SLOTS-1:0] scan_slot,
    output reg [LOG_SLOTS-1:0] mark_slot,

    input wire all,
    input wire whole,
    input wire [19:0] pasid,
    input wire [VPN_W-1:0] start,
    input wire [VPN_W-1:0] last,
    input wire [31:0] effect,

    input wire now_valid,
    input wire [31:0] now,
    output reg [31:0] age
);

  localparam [LOG_SLOTS:0] ZERO = {(LOG_SLOTS + 1) {1'b0}};

  // ------------------------------------------------------------------ slots, from the highest one down
  reg in_r;
  reg in_w;
  reg [LOG_SLOTS:0] at;
  wire at_end = at == ZERO;
  reg [6:0] ending;

  assign scan_slot = at[LOG_SLOTS-1:0];

  always @(posedge clk) begin
    if (go) at <= r_high;
    else if (in_r && at_end) at <= w_high;
    else at <= at - {{LOG_SLOTS{1'b0}}, 1'b1};
  end

  // ------------------------------------------------------------------ read (a, b), compared (b to d), marked (e)
  // The page numbers are compared in three parts, lowest first, a stage each. A translation of a larger page covers every
  // value of the parts below its size, so there a carry is forced.
  localparam TOP_W = VPN_W - 18;
  reg [1:0] a_valid;
  reg [1:0] b_valid;
  reg [1:0] c_valid;
  reg [1:0] d_valid;
  reg [1:0] e_valid;
  reg [LOG_SLOTS-1:0] a_slot;
  reg [LOG_SLOTS-1:0] b_slot;
  reg [LOG_SLOTS-1:0] c_slot;
  reg [LOG_SLOTS-1:0] d_slot;
  reg [TOP_W+8:0] c_vpn;
  reg [TOP_W-1:0] d_vpn;
  reg [1:0] c_size;
  reg d_huge;
  reg [31:0] c_effect;
  reg [31:0] c_since;
  reg e_before;
  // In pairs of bits.
  reg [9:0] c_pasid;
  reg d_pasid;
  reg e_pasid;
  // start is after the translation's last page; last is not before its first page.
  reg c_after;
  reg d_after;
  reg e_after;
  reg c_reach;
  reg d_reach;
  reg e_reach;
  reg e_all;
  reg e_whole;

  wire [31:0] stamp;
  wire [19:0] of_pasid;
  wire [VPN_W-1:0] vpn;
  wire [1:0] size;
  assign {stamp, of_pasid, vpn, size} = r_data | w_data;

  integer pair;

  wire [9:0] b_after_sum = {1'b0, start[8:0]} + {1'b0, ~vpn[8:0]};
  wire [9:0] b_reach_sum = {1'b0, last[8:0]} + {1'b0, ~vpn[8:0]} + 10'd1;
  wire [9:0] c_after_sum = {1'b0, start[17:9]} + {1'b0, ~c_vpn[8:0]} + {9'd0, c_after && c_size == 2'd0};
  wire [9:0] c_reach_sum = {1'b0, last[17:9]} + {1'b0, ~c_vpn[8:0]} + {9'd0, c_reach || c_size != 2'd0};
  wire [TOP_W:0] d_after_sum = {1'b0, start[VPN_W-1:18]} + {1'b0, ~d_vpn} + {{TOP_W{1'b0}}, d_after && !d_huge};
  wire [TOP_W:0] d_reach_sum = {1'b0, last[VPN_W-1:18]} + {1'b0, ~d_vpn} + {{TOP_W{1'b0}}, d_reach || d_huge};
  wire unused = &{
    1'b0,
    b_after_sum[8:0], b_reach_sum[8:0], c_after_sum[8:0], c_reach_sum[8:0],
    d_after_sum[TOP_W-1:0], d_reach_sum[TOP_W-1:0]
  };
  wire covers = e_before && (e_all || (e_pasid && (e_whole || (!e_after && e_reach))));

  assign r_mark = e_valid[0] && covers;
  assign w_mark = e_valid[1] && covers;

  always @(posedge clk) begin
    a_slot <= scan_slot;
    b_slot <= a_slot;
    c_slot <= b_slot;
    d_slot <= c_slot;
    mark_slot <= d_slot;
    c_vpn <= vpn[VPN_W-1:9];
    d_vpn <= c_vpn[TOP_W+8:9];
    c_size <= size;
    d_huge <= c_size[1];
    c_after <= b_after_sum[9];
    d_after <= c_after_sum[9];
    e_after <= d_after_sum[TOP_W];
    c_reach <= b_reach_sum[9];
    d_reach <= c_reach_sum[9];
    e_reach <= d_reach_sum[TOP_W];
    e_all <= all;
    e_whole <= whole;
    for (pair = 0; pair < 10; pair = pair + 1) c_pasid[pair] <= of_pasid[pair*2+:2] == pasid[pair*2+:2];
    d_pasid <= &c_pasid;
    e_pasid <= d_pasid;
    // Not negative: sent on before the effect.
    c_effect <= effect;
    c_since <= now_valid ? now : stamp;
    age <= c_effect + ~c_since;
    e_before <= !age[31];
  end

  always @(posedge clk) begin
    if (clear) begin
      in_r <= 1'b0;
      in_w <= 1'b0;
      r_scan <= 1'b0;
      w_scan <= 1'b0;
      a_valid <= 2'd0;
      b_valid <= 2'd0;
      c_valid <= 2'd0;
      d_valid <= 2'd0;
      e_valid <= 2'd0;
      ending <= 7'd0;
      over <= 1'b0;
    end else begin
      in_r <= go || (in_r && !at_end);
      in_w <= at_end ? in_r : in_w;
      r_scan <= in_r && !at_end;
      w_scan <= in_w && !at_end;
      a_valid <= {w_scan, r_scan};
      b_valid <= a_valid;
      c_valid <= b_valid;
      d_valid <= c_valid;
      e_valid <= d_valid;
      ending <= {ending[5:0], in_w && at_end};
      over <= over || ending[6];
    end
  end

endmodule

`default_nettype wire
