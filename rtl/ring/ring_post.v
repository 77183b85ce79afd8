`resetall
`timescale 1ns / 1ps
`default_nettype none

// Producer side of a device-to-host ring: adds PHASE to a record and writes it, up to 2^LOG_FLIGHT writes outstanding.
// Latency: record in to awvalid and wvalid 1 cycle, B to irq 1 cycle. Throughput: one record per cycle.
// Invariants: a record the host has not consumed is never overwritten; tail counts acknowledged writes, so every
// record it counts is in memory. While the ring is off, halted or full, in_ready is low and nothing is lost.
module ring_post #(
    parameter LOG_FLIGHT = 6
) (
    input wire clk,
    input wire rst,

    input wire enable,
    input wire [63:0] base,
    input wire [4:0] log_size,
    input wire [16:0] head,
    output wire [16:0] tail,
    output wire busy,
    output wire halted,
    output wire full,
    output reg irq,
    output reg irq_error,

    input wire in_valid,
    output wire in_ready,
    input wire [255:0] in_data,

    output wire [63:0] awaddr,
    output wire awvalid,
    input wire awready,
    output wire [255:0] wdata,
    output wire wvalid,
    input wire wready,
    input wire [1:0] bresp,
    input wire bvalid,
    output wire bready
);

  initial begin
    if (LOG_FLIGHT < 1 || LOG_FLIGHT > 8) begin
      $display("ring_post: LOG_FLIGHT must be 1 to 8");
      $finish;
    end
  end

  reg active;
  reg halt;
  reg aw_full;
  reg w_full;
  reg [LOG_FLIGHT:0] in_flight;

  wire drained = in_flight == {(LOG_FLIGHT + 1) {1'b0}};

  assign busy = active || !drained;
  assign halted = halt;
  assign bready = 1'b1;

  // The ring runs from the enable until it is disabled, and again only after its writes have ended.
  always @(posedge clk) begin
    if (rst || !enable) active <= 1'b0;
    else if (drained) active <= 1'b1;
  end

  // s0: take a record while there is room in the ring, counted with the HEAD of the cycle before.
  reg [16:0] s0_count;
  reg s0_room;
  wire s0_free = (!aw_full || awready) && (!w_full || wready);
  wire s0_take = in_valid && in_ready;
  wire [16:0] s0_count_next = s0_count + {16'd0, s0_take};
  wire [16:0] s0_level_next = s0_count_next - head;
  wire [16:0] s0_size = 17'd1 << log_size;

  assign in_ready = active && enable && !halt && s0_room && s0_free && !in_flight[LOG_FLIGHT];
  assign full = active && !s0_room;

  always @(posedge clk) begin
    if (rst || !active) begin
      s0_count <= 17'd0;
      s0_room  <= 1'b0;
    end else begin
      s0_count <= s0_count_next;
      s0_room  <= s0_level_next < s0_size;
    end
  end

  always @(posedge clk) begin
    if (rst) in_flight <= {(LOG_FLIGHT + 1) {1'b0}};
    else in_flight <= in_flight + {{LOG_FLIGHT{1'b0}}, s0_take} - {{LOG_FLIGHT{1'b0}}, bvalid};
  end

  // s1: address and data leave together, so a subordinate may wait for either.
  reg [63:0] s1_addr;
  reg [255:0] s1_data;
  wire [16:0] s1_slot_next = s0_count & (s0_size - 17'd1);
  wire s1_odd_lap = (s0_count & s0_size) != 17'd0;

  assign awaddr = s1_addr;
  assign awvalid = aw_full;
  assign wdata = s1_data;
  assign wvalid = w_full;

  always @(posedge clk) begin
    if (s0_take) begin
      s1_addr <= base + {42'd0, s1_slot_next, 5'd0};
      s1_data <= {!s1_odd_lap, in_data[254:0]};
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      aw_full <= 1'b0;
      w_full  <= 1'b0;
    end else begin
      if (s0_take) aw_full <= 1'b1;
      else if (awready) aw_full <= 1'b0;
      if (s0_take) w_full <= 1'b1;
      else if (wready) w_full <= 1'b0;
    end
  end

  // s2: acknowledged records.
  reg [16:0] s2_count;
  assign tail = s2_count;

  wire s2_good = active && enable && bvalid && !bresp[1] && !halt;
  wire s2_bad = active && enable && bvalid && bresp[1] && !halt;

  always @(posedge clk) begin
    if (rst || !active) s2_count <= 17'd0;
    else if (s2_good) s2_count <= s2_count + 17'd1;
  end

  always @(posedge clk) begin
    if (rst || !enable) begin
      halt <= 1'b0;
      irq <= 1'b0;
      irq_error <= 1'b0;
    end else begin
      irq <= s2_good;
      irq_error <= s2_bad;
      if (s2_bad) halt <= 1'b1;
    end
  end

  wire unused_in = &{1'b0, in_data[255], bresp[0]};

endmodule

`default_nettype wire
