// Test wrapper of dmmu_stats: its ports as they are.
`resetall
`timescale 1ns/1ps
`default_nettype none

module wrap_stats (
    input  wire        clk,
    input  wire        rst,
    input  wire [4:0]  addr,
    output wire [63:0] data,
    output wire [63:0] cycle,
    input  wire [20:0] event_in,
    input  wire [1:0]  errors,
    input  wire [4:0]  invalidated,
    input  wire [1:0]  stall_park,
    input  wire [1:0]  stall_bus,
    input  wire        fault_done,
    input  wire [31:0] fault_latency,
    input  wire        inv_done,
    input  wire [31:0] inv_latency
);

  dmmu_stats stats (
      .clk(clk),
      .rst(rst),
      .addr(addr),
      .data(data),
      .cycle(cycle),
      .event_in(event_in),
      .errors(errors),
      .invalidated(invalidated),
      .stall_park(stall_park),
      .stall_bus(stall_bus),
      .fault_done(fault_done),
      .fault_latency(fault_latency),
      .inv_done(inv_done),
      .inv_latency(inv_latency)
  );

endmodule

`default_nettype wire
