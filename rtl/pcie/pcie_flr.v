`resetall
`timescale 1ns / 1ps
`default_nettype none

// Function-level reset with traffic in flight: stops new requests, lets the packet on a stream end, resets the function
// (`flush`), waits until every read sent before has been answered or has timed out, then tells the hard block.
// CQ packets that begin meanwhile are dropped whole: a host that goes on asking delays nothing.
// Latency: 32 cycles, at most a completion timeout more.
// Invariant: no packet is cut short on RQ or CC, and no tag is free while its completion may still come.
module pcie_flr (
    input wire clk,
    input wire rst,

    input wire flr_in_process,
    output wire flr_done,

    // Something is being sent on RQ or CC; a read or an AtomicOp has no answer yet.
    input wire sending,
    input wire waiting,

    output wire stop,
    output wire flush,

    input wire cq_valid,
    input wire cq_last,
    input wire cq_ready,
    output wire cq_drop
);

  localparam [1:0] RUN = 2'd0;
  localparam [1:0] STOP = 2'd1;
  localparam [1:0] FLUSH = 2'd2;
  localparam [1:0] DONE = 2'd3;

  reg [1:0] state;
  reg [3:0] quiet;

  assign stop = state != RUN;
  assign flush = state == FLUSH;
  assign flr_done = state == DONE;

  always @(posedge clk) begin
    if (rst) begin
      state <= RUN;
      quiet <= 4'd0;
    end else begin
      case (state)
        RUN: if (flr_in_process) state <= STOP;
        STOP: if (&quiet && !sending) state <= FLUSH;
        FLUSH: if (&quiet && !waiting) state <= DONE;
        default: if (!flr_in_process) state <= RUN;
      endcase
      // Cycles in a row without a packet, then at least as many of reset.
      if (state == STOP && !sending && !(&quiet)) quiet <= quiet + 4'd1;
      else if (state == FLUSH && !(&quiet)) quiet <= quiet + 4'd1;
      else if (state != FLUSH) quiet <= 4'd0;
    end
  end

  // A packet of which the function has seen nothing, or a part before its reset.
  reg in_packet;
  reg drop;
  wire take = cq_valid && cq_ready;
  wire in_packet_next = take ? !cq_last : in_packet;
  assign cq_drop = flush || drop || (stop && !in_packet);

  always @(posedge clk) begin
    if (rst) begin
      in_packet <= 1'b0;
      drop   <= 1'b0;
    end else begin
      in_packet <= in_packet_next;
      drop   <= cq_drop && in_packet_next;
    end
  end

endmodule

`default_nettype wire
