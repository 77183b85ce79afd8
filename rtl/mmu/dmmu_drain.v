`resetall
`timescale 1ns / 1ps
`default_nettype none
`include "svm_defs.vh"

// Completions, in ring order. The oldest entry of the queue waits here for the accesses in flight that its command covers:
// each direction's slots are visited once, one a cycle, and an access that was sent on before the effect and overlaps is
// marked until it is answered; the command has completed when every slot was visited and no mark is left.
// A detach also waits for its parked accesses, as far as they can end without the host.
// Without accesses in flight an invalidation checked in cycle d is reported in d + 3; with some, at least a cycle a slot
// later. Invariant: the visit begins after the effect, so no access that matters enters behind it. Ages are 32-bit cycle
// counts.
module dmmu_drain #(
    parameter VPN_W = 36,
    parameter LOG_TRACK = 6,
    parameter LOG_PARK = 6,
    parameter LOG_QUEUE = 5
) (
    input wire clk,
    input wire rst,
    output wire ready,
    input wire [31:0] cycle,

    input wire dq_valid,
    output wire dq_ready,
    input wire dq_wait,
    input wire dq_detach,
    input wire [1:0] dq_scope,
    input wire [19:0] dq_pasid,
    input wire [VPN_W-1:0] dq_start,
    input wire [VPN_W-1:0] dq_end,
    input wire dq_complete,
    input wire [7:0] dq_error,
    input wire [15:0] dq_tag,
    input wire [15:0] dq_index,
    input wire [7:0] dq_op,
    input wire [31:0] dq_effect,

    input wire r_issue,
    input wire [LOG_TRACK-1:0] r_issue_slot,
    input wire r_freed,
    input wire [LOG_TRACK-1:0] r_freed_slot,
    output wire [LOG_TRACK-1:0] r_scan_slot,
    input wire [32+20+VPN_W+2-1:0] r_scan_data,
    input wire w_issue,
    input wire [LOG_TRACK-1:0] w_issue_slot,
    input wire w_freed,
    input wire [LOG_TRACK-1:0] w_freed_slot,
    output wire [LOG_TRACK-1:0] w_scan_slot,
    input wire [32+20+VPN_W+2-1:0] w_scan_data,

    input wire r_park_enter,
    input wire [LOG_PARK-1:0] r_park_enter_slot,
    input wire r_park_leave,
    input wire [LOG_PARK-1:0] r_park_leave_slot,
    output wire [LOG_PARK-1:0] r_park_slot,
    input wire [19:0] r_park_pasid,
    input wire r_park_stuck,
    output wire r_park_kill,
    output wire [LOG_PARK-1:0] r_park_kill_slot,
    input wire w_park_enter,
    input wire [LOG_PARK-1:0] w_park_enter_slot,
    input wire w_park_leave,
    input wire [LOG_PARK-1:0] w_park_leave_slot,
    output wire [LOG_PARK-1:0] w_park_slot,
    input wire [19:0] w_park_pasid,
    input wire w_park_stuck,
    output wire w_park_kill,
    output wire [LOG_PARK-1:0] w_park_kill_slot,
    input wire r_idle,
    input wire r_commit,
    input wire w_idle,
    input wire w_commit,

    output reg event_valid,
    input wire event_ready,
    output reg [255:0] event_data,

    output wire ev_drain,
    output wire ev_done,
    output wire [31:0] ev_latency
);

  localparam TRK_W = 32 + 20 + VPN_W + 2;
  localparam Q_W = 1 + 1 + 2 + 20 + 2 * VPN_W + 1 + 8 + 16 + 16 + 8 + 32;
  // More arrivals than the pipeline holds.
  localparam [3:0] FLUSH = 4'd6;

  wire [LOG_QUEUE:0] q_level;
  wire unused_level = &{1'b0, q_level};
  wire q_valid;
  wire q_pop;
  wire q_wait;
  wire q_detach;
  wire [1:0] q_scope;
  wire [19:0] q_pasid;
  wire [VPN_W-1:0] q_start;
  wire [VPN_W-1:0] q_end;
  wire q_complete;
  wire [7:0] q_error;
  wire [15:0] q_tag;
  wire [15:0] q_index;
  wire [7:0] q_op;
  wire [31:0] q_effect;

  fifo #(
      .W(Q_W),
      .LOG_DEPTH(LOG_QUEUE)
  ) queue (
      .clk(clk),
      .rst(rst),
      .in_valid(dq_valid),
      .in_ready(dq_ready),
      .in_data({
        dq_wait, dq_detach, dq_scope, dq_pasid, dq_start, dq_end,
        dq_complete, dq_error, dq_tag, dq_index, dq_op, dq_effect
      }),
      .out_valid(q_valid),
      .out_ready(q_pop),
      .out_data({
        q_wait, q_detach, q_scope, q_pasid, q_start, q_end, q_complete, q_error, q_tag, q_index, q_op, q_effect
      }),
      .level(q_level)
  );

  localparam [1:0] S_HEAD = 2'd0;
  localparam [1:0] S_FLUSH = 2'd1;
  localparam [1:0] S_COPY = 2'd2;
  localparam [1:0] S_WAIT = 2'd3;

  reg [1:0] state;
  reg [3:0] r_left;
  reg [3:0] w_left;
  wire copy = state == S_COPY;
  // What stands in the slots that are visited.
  reg [TRK_W-1:0] r_data;
  reg [TRK_W-1:0] w_data;
  reg [19:0] r_pasid;
  reg [19:0] w_pasid;
  reg r_stuck;
  reg w_stuck;
  always @(posedge clk) begin
    r_data <= r_scan_data;
    w_data <= w_scan_data;
    r_pasid <= r_park_pasid;
    w_pasid <= w_park_pasid;
    r_stuck <= r_park_stuck;
    w_stuck <= w_park_stuck;
  end

  // Sent on at or after the effect: it cannot have used a covered translation.
  wire [31:0] r_age = r_data[2+VPN_W+20+:32] - q_effect;
  wire [31:0] w_age = w_data[2+VPN_W+20+:32] - q_effect;
  wire r_no_kill;
  wire w_no_kill;
  wire [LOG_TRACK-1:0] r_scan_q;
  wire [LOG_TRACK-1:0] w_scan_q;
  wire unused_age = &{1'b0, r_age[30:0], w_age[30:0], r_no_kill, w_no_kill, r_scan_q, w_scan_q};

  wire [3:0] scan_ready;
  assign ready = &scan_ready;
  wire r_empty;
  wire w_empty;
  wire rp_empty;
  wire wp_empty;
  wire r_none;
  wire w_none;
  wire rp_none;
  wire wp_none;
  wire nothing = r_empty && w_empty && (!q_detach || (rp_empty && wp_empty));
  wire look = copy && !nothing;

  dmmu_drain_scan #(
      .LOG_SLOTS(LOG_TRACK),
      .VPN_W(VPN_W)
  ) scan_r (
      .clk(clk),
      .rst(rst),
      .ready(scan_ready[0]),
      .enter(r_issue),
      .enter_slot(r_issue_slot),
      .leave(r_freed),
      .leave_slot(r_freed_slot),
      .empty(r_empty),
      .copy(look),
      .slot(r_scan_slot),
      .kill_slot(r_scan_q),
      .pasid(r_data[2+VPN_W+:20]),
      .vpn(r_data[2+:VPN_W]),
      .size(r_data[1:0]),
      .after(!r_age[31]),
      .stuck(1'b0),
      .kill(r_no_kill),
      .all(q_scope[1]),
      .whole(q_scope[0]),
      .of_pasid(q_pasid),
      .start(q_start),
      .last(q_end),
      .none(r_none)
  );

  dmmu_drain_scan #(
      .LOG_SLOTS(LOG_TRACK),
      .VPN_W(VPN_W)
  ) scan_w (
      .clk(clk),
      .rst(rst),
      .ready(scan_ready[1]),
      .enter(w_issue),
      .enter_slot(w_issue_slot),
      .leave(w_freed),
      .leave_slot(w_freed_slot),
      .empty(w_empty),
      .copy(look),
      .slot(w_scan_slot),
      .kill_slot(w_scan_q),
      .pasid(w_data[2+VPN_W+:20]),
      .vpn(w_data[2+:VPN_W]),
      .size(w_data[1:0]),
      .after(!w_age[31]),
      .stuck(1'b0),
      .kill(w_no_kill),
      .all(q_scope[1]),
      .whole(q_scope[0]),
      .of_pasid(q_pasid),
      .start(q_start),
      .last(q_end),
      .none(w_none)
  );

  // Parked accesses matter to a detach only.
  dmmu_drain_scan #(
      .LOG_SLOTS(LOG_PARK),
      .VPN_W(1),
      .PARKED(1)
  ) park_r (
      .clk(clk),
      .rst(rst),
      .ready(scan_ready[2]),
      .enter(r_park_enter),
      .enter_slot(r_park_enter_slot),
      .leave(r_park_leave),
      .leave_slot(r_park_leave_slot),
      .empty(rp_empty),
      .copy(look && q_detach),
      .slot(r_park_slot),
      .kill_slot(r_park_kill_slot),
      .pasid(r_pasid),
      .vpn(1'b0),
      .size(2'd0),
      .after(1'b0),
      .stuck(r_stuck),
      .kill(r_park_kill),
      .all(1'b0),
      .whole(1'b1),
      .of_pasid(q_pasid),
      .start(1'b0),
      .last(1'b0),
      .none(rp_none)
  );

  dmmu_drain_scan #(
      .LOG_SLOTS(LOG_PARK),
      .VPN_W(1),
      .PARKED(1)
  ) park_w (
      .clk(clk),
      .rst(rst),
      .ready(scan_ready[3]),
      .enter(w_park_enter),
      .enter_slot(w_park_enter_slot),
      .leave(w_park_leave),
      .leave_slot(w_park_leave_slot),
      .empty(wp_empty),
      .copy(look && q_detach),
      .slot(w_park_slot),
      .kill_slot(w_park_kill_slot),
      .pasid(w_pasid),
      .vpn(1'b0),
      .size(2'd0),
      .after(1'b0),
      .stuck(w_stuck),
      .kill(w_park_kill),
      .all(1'b0),
      .whole(1'b1),
      .of_pasid(q_pasid),
      .start(1'b0),
      .last(1'b0),
      .none(wp_none)
  );

  wire flushed = r_left == 4'd0 && w_left == 4'd0;
  wire waited = r_none && w_none && (!q_detach || (rp_none && wp_none));
  wire done = q_valid && ((state == S_HEAD && !q_wait) || (copy && nothing) || (state == S_WAIT && waited));
  wire reports = q_complete || q_error != 8'd0;
  wire room = !event_valid || event_ready;

  assign q_pop = done && (!reports || room);
  assign ev_drain = state == S_WAIT && !waited;
  assign ev_done = q_pop && q_wait;
  assign ev_latency = cycle - q_effect;

  always @(posedge clk) begin
    if (state == S_HEAD) begin
      r_left <= FLUSH;
      w_left <= FLUSH;
    end else begin
      r_left <= r_idle ? 4'd0 : (r_commit && r_left != 4'd0) ? r_left - 4'd1 : r_left;
      w_left <= w_idle ? 4'd0 : (w_commit && w_left != 4'd0) ? w_left - 4'd1 : w_left;
    end
    if (q_pop && reports) begin
      event_data <= {
        128'd0,
        cycle,
        q_effect,
        8'd0,
        q_op,
        q_index,
        q_tag,
        q_error,
        (q_error != 8'd0) ? `SVM_EVENT_COMMAND_ERROR : `SVM_EVENT_COMPLETE
      };
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      state <= S_HEAD;
      event_valid <= 1'b0;
    end else begin
      if (q_pop && reports) event_valid <= 1'b1;
      else if (event_ready) event_valid <= 1'b0;
      case (state)
        S_HEAD: if (q_valid && q_wait) state <= q_detach ? S_FLUSH : S_COPY;
        S_FLUSH: if (flushed) state <= S_COPY;
        S_COPY: state <= q_pop ? S_HEAD : S_WAIT;
        default: if (q_pop) state <= S_HEAD;
      endcase
    end
  end

endmodule

`default_nettype wire
