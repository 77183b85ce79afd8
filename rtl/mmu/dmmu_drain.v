`resetall
`timescale 1ns / 1ps
`default_nettype none
`include "svm_defs.vh"

// Completions, in ring order. A command handed over (dq_*) in cycle t takes effect in t + DELAY, when no lookup can use any
// more what it took away. The oldest one waits here for the accesses in flight that it covers: those that were sent on before
// the effect and overlap are marked once, and when the last mark is gone it has completed. A detach also waits for kill_clear:
// its parked accesses have ended, as far as they can without the host.
// Effect in e: without accesses in flight completed in e + 2, event_valid in e + 3, one command every second cycle. Otherwise
// completed in the cycle after the last mark is gone (6 after its response), but not before e + r_high + w_high + 13.
// Invariant: the visit begins after the effect. Ages are 32-bit cycle counts.
module dmmu_drain #(
    parameter VPN_W = 36,
    parameter LOG_TRACK = 6,
    parameter LOG_QUEUE = 5,
    parameter DELAY = 10,
    parameter TABLES = "distributed"
) (
    input wire clk,
    input wire rst,
    input wire [31:0] cycle,

    input wire dq_valid,
    output reg dq_ready,
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
    input wire kill_clear,

    // dmmu_track, a scan port each; the slots are shared
    input wire r_idle,
    input wire [LOG_TRACK:0] r_high,
    output wire r_scan,
    input wire [32+20+VPN_W+2-1:0] r_scan_data,
    output wire r_mark,
    input wire r_marked,
    input wire w_idle,
    input wire [LOG_TRACK:0] w_high,
    output wire w_scan,
    input wire [32+20+VPN_W+2-1:0] w_scan_data,
    output wire w_mark,
    input wire w_marked,
    output wire [LOG_TRACK-1:0] scan_slot,
    output wire [LOG_TRACK-1:0] mark_slot,

    output reg event_valid,
    input wire event_ready,
    output wire [255:0] event_data,

    output wire ev_drain,
    output reg ev_done,
    output wire [31:0] ev_latency
);

  initial begin
    if (TABLES != "distributed" && TABLES != "block") begin
      $display("dmmu_drain: TABLES must be distributed or block");
      $finish;
    end
  end

  localparam QUEUE = 1 << LOG_QUEUE;
  localparam Q_W = 2 + 20 + 2 * VPN_W + 8 + 16 + 16 + 8;
  localparam [LOG_QUEUE-1:0] ONE = {{(LOG_QUEUE - 1) {1'b0}}, 1'b1};

  // ------------------------------------------------------------------ queue
  (* ram_style = TABLES, no_rw_check *) reg [Q_W-1:0] queue[0:QUEUE-1];
  (* ram_style = TABLES, no_rw_check *) reg [31:0] effects[0:QUEUE-1];
  // What decides when it completes: wait, detach, reports.
  (* ram_style = "distributed" *) reg [2:0] kinds[0:QUEUE-1];
  reg [LOG_QUEUE-1:0] wr_ptr;
  reg [LOG_QUEUE-1:0] eff_ptr;
  reg [LOG_QUEUE-1:0] rd_ptr;
  // At most QUEUE - 1; the head is in a register.
  reg [LOG_QUEUE-1:0] count;
  reg [DELAY-1:0] delay;
  wire push = dq_valid && dq_ready;
  wire effective = delay[DELAY-1];
  wire due = eff_ptr != rd_ptr;
  // The first cycle of a head. One that does not wait marks nothing.
  reg first;
  // The head is read in every cycle in which it is not in use.
  reg load;
  wire next = load && due;

  always @(posedge clk) begin
    if (push) begin
      queue[wr_ptr] <= {dq_scope, dq_pasid, dq_start, dq_end, dq_error, dq_tag, dq_index, dq_op};
    end
  end

  always @(posedge clk) begin
    if (push) kinds[wr_ptr] <= {dq_wait, dq_detach, dq_complete || dq_error != 8'd0};
  end

  always @(posedge clk) begin
    if (effective) effects[eff_ptr] <= cycle;
  end

  always @(posedge clk) begin
    if (rst) begin
      wr_ptr <= {LOG_QUEUE{1'b0}};
      eff_ptr <= {LOG_QUEUE{1'b0}};
      rd_ptr <= {LOG_QUEUE{1'b0}};
      count <= {LOG_QUEUE{1'b0}};
      delay <= {DELAY{1'b0}};
      dq_ready <= 1'b0;
    end else begin
      delay <= {delay[DELAY-2:0], push};
      if (push) wr_ptr <= wr_ptr + ONE;
      if (effective) eff_ptr <= eff_ptr + ONE;
      if (next) rd_ptr <= rd_ptr + ONE;
      if (push && !first) count <= count + ONE;
      else if (first && !push) count <= count - ONE;
      dq_ready <= !((&count[LOG_QUEUE-1:1]) && (count[0] || push));
    end
  end

  // ------------------------------------------------------------------ head
  reg h_wait;
  reg h_detach;
  reg h_reports;
  reg [1:0] h_scope;
  reg [19:0] h_pasid;
  reg [VPN_W-1:0] h_start;
  reg [VPN_W-1:0] h_end;
  reg [7:0] h_error;
  reg [15:0] h_tag;
  reg [15:0] h_index;
  reg [7:0] h_op;
  reg [31:0] h_effect;

  always @(posedge clk) begin
    if (load) begin
      {h_scope, h_pasid, h_start, h_end, h_error, h_tag, h_index, h_op} <= queue[rd_ptr];
    end
  end

  always @(posedge clk) begin
    if (load) begin
      h_effect <= effects[rd_ptr];
    end
  end

  always @(posedge clk) begin
    if (load) {h_wait, h_detach, h_reports} <= kinds[rd_ptr];
  end

  wire over;
  wire [31:0] age;
  reg [31:0] cycle_q;
  reg completed;

  dmmu_drain_scan #(
      .LOG_SLOTS(LOG_TRACK),
      .VPN_W(VPN_W)
  ) scan (
      .clk(clk),
      .clear(load),
      .go(first && h_wait),
      .over(over),
      .r_high(r_high),
      .r_scan(r_scan),
      .r_data(r_scan_data),
      .r_mark(r_mark),
      .w_high(w_high),
      .w_scan(w_scan),
      .w_data(w_scan_data),
      .w_mark(w_mark),
      .scan_slot(scan_slot),
      .mark_slot(mark_slot),
      .all(h_scope[1]),
      .whole(h_scope[0]),
      .pasid(h_pasid),
      .start(h_start),
      .last(h_end),
      .effect(h_effect),
      .now_valid(completed),
      .now(cycle_q),
      .age(age)
  );

  // ------------------------------------------------------------------ completion
  // A cycle late: what is sent on in between is behind the effect, and a detach starts long before it is handed over.
  reg clean;
  reg killed;
  wire waited = clean && (killed || !h_detach);
  wire room = !h_reports || !event_valid;
  wire done = !load && room && (waited || !h_wait);
  reg [1:0] done_wait;

  // What a completion in this cycle reports, as long as no event is there.
  reg [31:0] e_cycle;
  reg [31:0] e_effect;
  reg [7:0] e_op;
  reg [15:0] e_index;
  reg [15:0] e_tag;
  reg [7:0] e_error;

  assign event_data = {
    128'd0,
    e_cycle,
    e_effect,
    8'd0,
    e_op,
    e_index,
    e_tag,
    e_error,
    (e_error != 8'd0) ? `SVM_EVENT_COMMAND_ERROR : `SVM_EVENT_COMPLETE
  };
  assign ev_drain = over && (r_marked || w_marked);
  assign ev_latency = ~age;

  always @(posedge clk) begin
    cycle_q <= cycle;
    clean <= (r_idle && w_idle) || (over && !r_marked && !w_marked && !load);
    killed <= kill_clear;
    if (!event_valid) begin
      e_cycle <= cycle;
      e_effect <= h_effect;
      e_op <= h_op;
      e_index <= h_index;
      e_tag <= h_tag;
      e_error <= h_error;
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      load <= 1'b1;
      first <= 1'b0;
      completed <= 1'b0;
      done_wait <= 2'b00;
      ev_done <= 1'b0;
      event_valid <= 1'b0;
    end else begin
      load <= load ? !due : done;
      first <= next;
      completed <= done;
      done_wait <= {done_wait[0], done && h_wait};
      ev_done <= done_wait[1];
      if (done && h_reports) event_valid <= 1'b1;
      else if (event_ready) event_valid <= 1'b0;
    end
  end

endmodule

`default_nettype wire
