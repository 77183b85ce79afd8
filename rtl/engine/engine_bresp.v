`resetall
`timescale 1ns / 1ps
`default_nettype none

// Write responses of the engine: counts the bursts of WRITE and FILL, hands on those of COPY, judges those of CAS.
// Latency: B to outcome 2 cycles. Throughput: one response per cycle, never stalls.
// Invariant: a slot has ended when as many bursts are answered as its last burst's number says.
module engine_bresp #(
    parameter SLOT_W = 6,
    parameter LOG_COPIES = 2
) (
    input wire clk,
    input wire rst,

    input wire issue,
    input wire [SLOT_W-1:0] issue_slot,
    input wire issue_copy,
    input wire issue_cas,
    input wire [LOG_COPIES-1:0] issue_context,

    // The last burst of a WRITE or FILL leaves.
    input wire last_valid,
    input wire [SLOT_W-1:0] last_slot,
    input wire [17:0] last_number,

    input wire [SLOT_W-1:0] bid,
    input wire [1:0] bresp,
    input wire bvalid,

    output wire [(1<<LOG_COPIES)-1:0] b_copy,
    output wire [1:0] b_error,

    output reg end_valid,
    output reg end_cas,
    output reg end_retry,
    output reg [SLOT_W-1:0] end_slot,
    output reg [1:0] end_error
);

  localparam SLOTS = 1 << SLOT_W;
  localparam COPIES = 1 << LOG_COPIES;

  reg [LOG_COPIES+1:0] info[0:SLOTS-1];
  reg [17:0] bursts[0:SLOTS-1];
  reg [17:0] answered[0:SLOTS-1];
  reg [1:0] error[0:SLOTS-1];
  reg [SLOTS-1:0] started;
  reg [SLOTS-1:0] all_sent;

  always @(posedge clk) begin
    if (issue) info[issue_slot] <= {issue_copy, issue_cas, issue_context};
    if (last_valid) bursts[last_slot] <= last_number;
  end

  // --- s1: the response and the state of its slot.
  reg s1_valid;
  reg [SLOT_W-1:0] s1_slot;
  reg [1:0] s1_resp;

  always @(posedge clk) begin
    s1_slot <= bid;
    s1_resp <= bresp;
  end

  always @(posedge clk) begin
    if (rst) s1_valid <= 1'b0;
    else s1_valid <= bvalid;
  end

  wire s1_copy;
  wire s1_cas;
  wire [LOG_COPIES-1:0] s1_context;
  assign {s1_copy, s1_cas, s1_context} = info[s1_slot];

  wire s1_is_first = s1_cas || !started[s1_slot];
  wire [1:0] s1_this_error = s1_resp[1] ? s1_resp : 2'd0;
  wire [17:0] s1_answered = s1_is_first ? 18'd1 : answered[s1_slot] + 18'd1;
  wire [1:0] s1_error = s1_is_first ? s1_this_error : (error[s1_slot] | s1_this_error);
  wire s1_ended = s1_cas || (all_sent[s1_slot] && s1_answered == bursts[s1_slot]);

  always @(posedge clk) begin
    if (s1_valid) begin
      answered[s1_slot] <= s1_answered;
      error[s1_slot] <= s1_error;
    end
  end

  reg [SLOTS-1:0] issue_bit;
  reg [SLOTS-1:0] s1_bit;
  reg [SLOTS-1:0] last_bit;
  always @* begin
    issue_bit = {SLOTS{1'b0}};
    issue_bit[issue_slot] = issue;
    s1_bit = {SLOTS{1'b0}};
    s1_bit[s1_slot] = s1_valid;
    last_bit = {SLOTS{1'b0}};
    last_bit[last_slot] = last_valid;
  end

  always @(posedge clk) begin
    if (rst) begin
      started  <= {SLOTS{1'b0}};
      all_sent <= {SLOTS{1'b0}};
    end else begin
      started  <= (started | s1_bit) & ~issue_bit;
      all_sent <= (all_sent | last_bit) & ~issue_bit;
    end
  end

  wire [COPIES-1:0] s1_context_bit = {{(COPIES - 1) {1'b0}}, 1'b1} << s1_context;
  assign b_copy  = (s1_valid && s1_copy) ? s1_context_bit : {COPIES{1'b0}};
  assign b_error = s1_this_error;

  // --- s2: the outcome. An exclusive write answered with OKAY has stored nothing.
  always @(posedge clk) begin
    end_cas   <= s1_cas;
    end_retry <= s1_cas && s1_resp == 2'b00;
    end_slot  <= s1_slot;
    end_error <= s1_error;
  end

  always @(posedge clk) begin
    if (rst) end_valid <= 1'b0;
    else end_valid <= s1_valid && !s1_copy && s1_ended;
  end
endmodule

`default_nettype wire
