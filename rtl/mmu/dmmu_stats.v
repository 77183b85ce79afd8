`resetall
`timescale 1ns / 1ps
`default_nettype none
`include "svm_defs.vh"

// Counters. Each event adds in the cycle after it; a read takes one cycle.
// Latencies are 32-bit cycle counts; sums are 64 bits and wrap.
module dmmu_stats (
    input wire clk,
    input wire rst,

    input wire [4:0] addr,
    output reg [63:0] data,
    output wire [63:0] cycle,

    // one bit a counter, for those that count by one
    input wire [20:0] event_in,
    input wire [1:0] errors,
    input wire [4:0] invalidated,
    input wire [1:0] stall_park,
    input wire [1:0] stall_bus,
    input wire fault_done,
    input wire [31:0] fault_latency,
    input wire inv_done,
    input wire [31:0] inv_latency
);

  localparam N = `SVM_NUM_COUNTERS;

  reg [63:0] count[0:N-1];
  reg [20:0] ev;
  reg [1:0] ev_errors;
  reg [4:0] ev_invalidated;
  reg [1:0] ev_park;
  reg [1:0] ev_bus;
  reg f_done;
  reg [31:0] f_latency;
  reg i_done;
  reg [31:0] i_latency;
  reg [63:0] now;

  assign cycle = now;

  function [1:0] ones(input [1:0] bits);
    ones = {1'b0, bits[0]} + {1'b0, bits[1]};
  endfunction

  always @(posedge clk) begin
    ev_invalidated <= invalidated;
    f_latency <= fault_latency;
    i_latency <= inv_latency;
    data <= (addr == `SVM_CNT_CYCLES) ? now : (addr < N) ? count[addr] : 64'd0;
  end

  integer i;
  always @(posedge clk) begin
    if (rst) begin
      now <= 64'd0;
      ev <= 21'd0;
      ev_errors <= 2'd0;
      ev_park <= 2'd0;
      ev_bus <= 2'd0;
      f_done <= 1'b0;
      i_done <= 1'b0;
      for (i = 0; i < N; i = i + 1) count[i] <= 64'd0;
    end else begin
      now <= now + 64'd1;
      ev <= event_in;
      ev_errors <= errors;
      ev_park <= stall_park;
      ev_bus <= stall_bus;
      f_done <= fault_done;
      i_done <= inv_done;
      for (i = 0; i < 21; i = i + 1) begin
        if (i != `SVM_CNT_ERRORS && i != `SVM_CNT_INVALIDATED && i != `SVM_CNT_STALL_PARK && i != `SVM_CNT_STALL_BUS)
          count[i] <= count[i] + {63'd0, ev[i]};
      end
      count[`SVM_CNT_ERRORS] <= count[`SVM_CNT_ERRORS] + {62'd0, ones(ev_errors)};
      count[`SVM_CNT_INVALIDATED] <= count[`SVM_CNT_INVALIDATED] + {59'd0, ev_invalidated};
      count[`SVM_CNT_STALL_PARK] <= count[`SVM_CNT_STALL_PARK] + {62'd0, ones(ev_park)};
      count[`SVM_CNT_STALL_BUS] <= count[`SVM_CNT_STALL_BUS] + {62'd0, ones(ev_bus)};
      if (f_done) begin
        count[`SVM_CNT_FAULT_LATENCY_SUM] <= count[`SVM_CNT_FAULT_LATENCY_SUM] + {32'd0, f_latency};
        if ({32'd0, f_latency} > count[`SVM_CNT_FAULT_LATENCY_MAX])
          count[`SVM_CNT_FAULT_LATENCY_MAX] <= {32'd0, f_latency};
      end
      if (i_done) begin
        count[`SVM_CNT_INV_LATENCY_SUM] <= count[`SVM_CNT_INV_LATENCY_SUM] + {32'd0, i_latency};
        if ({32'd0, i_latency} > count[`SVM_CNT_INV_LATENCY_MAX]) count[`SVM_CNT_INV_LATENCY_MAX] <= {32'd0, i_latency};
      end
    end
  end

endmodule

`default_nettype wire
