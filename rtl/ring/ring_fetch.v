`resetall
`timescale 1ns / 1ps
`default_nettype none

// Consumer side of a host-to-device ring: reads records ahead of their use and hands them on in ring order.
// A read burst is at most 16 records and ends at a 16-record boundary, so it never crosses 4 KiB or the ring's end.
// Latency: TAIL change to arvalid 2 cycles, R beat to out_valid 1 cycle. Throughput: one record per cycle.
// Invariants: records asked for and not yet consumed never exceed the prefetch FIFO, so rready is always high;
// head counts records handed on. A bus error halts the ring: records before it are handed on, none after it.
module ring_fetch #(
    parameter LOG_DEPTH = 6
) (
    input wire clk,
    input wire rst,

    input wire enable,
    input wire [63:0] base,
    input wire [4:0] log_size,
    input wire [16:0] tail,
    output wire [16:0] head,
    output wire busy,
    output wire halted,
    output reg irq_error,

    output wire [63:0] araddr,
    output wire [7:0] arlen,
    output wire arvalid,
    input wire arready,
    input wire [255:0] rdata,
    input wire [1:0] rresp,
    input wire rlast,
    input wire rvalid,
    output wire rready,

    output wire out_valid,
    input wire out_ready,
    output wire [255:0] out_data,
    output wire [31:0] out_index
);

  initial begin
    if (LOG_DEPTH < 5) begin
      $display("ring_fetch: LOG_DEPTH must be at least 5");
      $finish;
    end
  end

  localparam [LOG_DEPTH:0] DEPTH = {1'b1, {LOG_DEPTH{1'b0}}};

  // The ring runs from the enable until it is disabled, and again only after its reads have ended.
  reg active;
  reg halt;
  reg [LOG_DEPTH:0] beats_due;
  reg ar_full;

  wire drained = !ar_full && beats_due == {(LOG_DEPTH + 1) {1'b0}};
  wire beat = rvalid;
  wire beat_bad = rresp[1];

  assign busy = active || !drained;
  assign halted = halt;
  assign rready = 1'b1;

  always @(posedge clk) begin
    if (rst || !enable) active <= 1'b0;
    else if (drained) active <= 1'b1;
  end

  // A FIFO word is free once its record has been handed on.
  wire fifo_rst = rst || !active;
  wire fifo_ready;
  wire [LOG_DEPTH:0] fifo_level;
  wire fifo_valid;
  wire take = fifo_valid && out_ready && active;

  fifo #(
      .W(256),
      .LOG_DEPTH(LOG_DEPTH)
  ) u_fifo (
      .clk(clk),
      .rst(fifo_rst),
      .in_valid(beat && active && !halt && !beat_bad),
      .in_ready(fifo_ready),
      .in_data(rdata),
      .out_valid(fifo_valid),
      .out_ready(take),
      .out_data(out_data),
      .level(fifo_level)
  );

  assign out_valid = fifo_valid && active;

  // The index is the head with more bits; both restart with the ring.
  reg [31:0] index;
  assign out_index = index;
  assign head = index[16:0];

  always @(posedge clk) begin
    if (rst || !active) index <= 32'd0;
    else if (take) index <= index + 32'd1;
  end

  // s0: records available in the ring and room in the FIFO, both with this cycle's burst taken into account.
  reg [16:0] s0_asked;
  wire [16:0] s0_avail = tail - s0_asked;
  wire [4:0] s0_to_boundary = 5'd16 - {1'b0, s0_asked[3:0]};
  wire [4:0] s0_records = (s0_avail < {12'd0, s0_to_boundary}) ? s0_avail[4:0] : s0_to_boundary;
  wire [LOG_DEPTH:0] s0_room = DEPTH - fifo_level - beats_due;
  wire s0_free = !ar_full || arready;
  wire s0_issue = active && enable && !halt && s0_free && s0_records != 5'd0 &&
      s0_room >= {{(LOG_DEPTH - 4) {1'b0}}, s0_records};
  wire [16:0] s0_slot = s0_asked & ((17'd1 << log_size) - 17'd1);

  always @(posedge clk) begin
    if (rst || !active) s0_asked <= 17'd0;
    else if (s0_issue) s0_asked <= s0_asked + {12'd0, s0_records};
  end

  // Beats of bursts that have been decided on, the one in the address register included.
  always @(posedge clk) begin
    if (rst) beats_due <= {(LOG_DEPTH + 1) {1'b0}};
    else
      beats_due <= beats_due + (s0_issue ? {{(LOG_DEPTH - 4) {1'b0}}, s0_records} : {(LOG_DEPTH + 1) {1'b0}})
          - {{LOG_DEPTH{1'b0}}, beat};
  end

  // s1: the address register.
  reg [63:0] s1_addr;
  reg [4:0] s1_records;
  assign araddr  = s1_addr;
  assign arlen   = {3'd0, s1_records - 5'd1};
  assign arvalid = ar_full;

  always @(posedge clk) begin
    if (s0_issue) begin
      s1_addr <= base + {42'd0, s0_slot, 5'd0};
      s1_records <= s0_records;
    end
  end

  always @(posedge clk) begin
    if (rst) ar_full <= 1'b0;
    else if (s0_issue) ar_full <= 1'b1;
    else if (arready) ar_full <= 1'b0;
  end

  always @(posedge clk) begin
    if (rst || !enable) begin
      halt <= 1'b0;
      irq_error <= 1'b0;
    end else begin
      irq_error <= active && beat && beat_bad && !halt;
      if (active && beat && beat_bad) halt <= 1'b1;
    end
  end

  wire unused_r = &{1'b0, rlast, rresp[0], fifo_ready};

endmodule

`default_nettype wire
