`resetall
`timescale 1ns / 1ps
`default_nettype none
`include "svm_defs.vh"

// Back end of the engine: collects ended descriptors, frees their slots, makes completion records.
// Stages: d1 the chosen descriptor, d2 its record. Latency 2 cycles. Throughput: one descriptor per cycle.
// Invariants: a slot is freed exactly once, after its record is safe in d2; without FLAGS.COMPLETE no record is made.
module engine_done #(
    parameter SLOT_W = 6,
    parameter SOURCES = 3
) (
    input wire clk,
    input wire rst,
    input wire [31:0] cycle,

    input wire issue,
    input wire [SLOT_W-1:0] issue_slot,
    input wire [7:0] issue_op,
    input wire issue_complete,
    input wire [31:0] issue_index,
    input wire [31:0] issue_start,
    input wire [2:0] issue_rotate,

    input wire [SOURCES-1:0] in_valid,
    output wire [SOURCES-1:0] in_ready,
    input wire [SOURCES*SLOT_W-1:0] in_slot,
    input wire [SOURCES*3-1:0] in_status,

    output wire [SLOT_W-1:0] value_slot,
    input wire [63:0] value,

    output wire free_valid,
    output wire [SLOT_W-1:0] free_slot,

    output wire idle,
    output wire rec_valid,
    input wire rec_ready,
    output wire [255:0] rec_data
);

  localparam SLOTS = 1 << SLOT_W;
  localparam INFO_W = 3 + 64 + 1 + 8;

  reg [INFO_W-1:0] info[0:SLOTS-1];

  always @(posedge clk) begin
    if (issue) info[issue_slot] <= {issue_rotate, issue_index, issue_start, issue_complete, issue_op};
  end

  // --- d1: one ended descriptor.
  reg d1_full;
  reg [SLOT_W-1:0] d1_slot;
  reg [2:0] d1_status;
  wire d1_go;
  wire d1_free = !d1_full || d1_go;
  wire [SOURCES-1:0] grant;
  assign in_ready = d1_free ? grant : {SOURCES{1'b0}};

  arb_rr #(
      .N(SOURCES)
  ) u_arb (
      .clk(clk),
      .rst(rst),
      .req(in_valid),
      .grant(grant),
      .advance(d1_free)
  );

  reg [SLOT_W-1:0] pick_slot;
  reg [2:0] pick_status;
  integer i;
  always @* begin
    pick_slot   = {SLOT_W{1'b0}};
    pick_status = 3'd0;
    for (i = 0; i < SOURCES; i = i + 1) begin
      if (grant[i]) begin
        pick_slot   = in_slot[i*SLOT_W+:SLOT_W];
        pick_status = in_status[i*3+:3];
      end
    end
  end

  always @(posedge clk) begin
    if (d1_free) begin
      d1_slot   <= pick_slot;
      d1_status <= pick_status;
    end
  end

  always @(posedge clk) begin
    if (rst) d1_full <= 1'b0;
    else if (d1_free) d1_full <= grant != {SOURCES{1'b0}};
  end

  wire [2:0] d1_rotate;
  wire [31:0] d1_index;
  wire [31:0] d1_start;
  wire d1_complete;
  wire [7:0] d1_op;
  assign {d1_rotate, d1_index, d1_start, d1_complete, d1_op} = info[d1_slot];

  // The fold has byte lanes of the bus; byte 0 of the record is the byte at va.
  wire d1_has_value = d1_op == `SVM_WORK_READ || d1_op == `SVM_WORK_CAS;
  wire [127:0] d1_twice = {value, value} >> {d1_rotate, 3'd0};
  assign value_slot = d1_slot;

  // --- d2: the record.
  reg d2_full;
  reg [255:0] d2_rec;
  assign d1_go = d1_full && (!d1_complete || !d2_full || rec_ready);
  assign free_valid = d1_go;
  assign free_slot = d1_slot;

  always @(posedge clk) begin
    if (d1_go && d1_complete) begin
      d2_rec <= 256'd0;
      d2_rec[`SVM_DONE_INDEX_F] <= d1_index;
      d2_rec[`SVM_DONE_STATUS_F] <= {5'd0, d1_status};
      d2_rec[`SVM_DONE_OP_F] <= d1_op;
      d2_rec[`SVM_DONE_DATA_F] <= (d1_has_value && d1_status != 3'd4) ? d1_twice[63:0] : 64'd0;
      d2_rec[`SVM_DONE_START_F] <= d1_start;
      d2_rec[`SVM_DONE_CYCLE_F] <= cycle;
    end
  end

  always @(posedge clk) begin
    if (rst) d2_full <= 1'b0;
    else if (d1_go && d1_complete) d2_full <= 1'b1;
    else if (rec_ready) d2_full <= 1'b0;
  end

  assign rec_valid = d2_full;
  assign rec_data = d2_rec;
  assign idle = !d1_full && !d2_full;

  wire unused_twice = |d1_twice[127:64];

endmodule

`default_nettype wire
