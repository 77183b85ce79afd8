`resetall
`timescale 1ns / 1ps
`default_nettype none

// Reads Device Control through the hard block's configuration management port, again and again: whether the host has
// enabled extended tags is on no other pin. Latency: at most PERIOD cycles from the host's write to the output.
// Invariant: one read is outstanding, and nothing is ever written.
module pcie_ext_tag #(
    parameter LOG_PERIOD = 6,
    parameter [9:0] DEVICE_CONTROL = 10'h01E
) (
    input wire clk,
    input wire rst,

    output wire [9:0] cfg_mgmt_addr,
    output wire [7:0] cfg_mgmt_function_number,
    output wire cfg_mgmt_write,
    output wire [31:0] cfg_mgmt_write_data,
    output wire [3:0] cfg_mgmt_byte_enable,
    output reg cfg_mgmt_read,
    input wire [31:0] cfg_mgmt_read_data,
    input wire cfg_mgmt_read_write_done,

    output reg extended_tag
);

  reg [LOG_PERIOD-1:0] wait_left;

  assign cfg_mgmt_addr = DEVICE_CONTROL;
  assign cfg_mgmt_function_number = 8'd0;
  assign cfg_mgmt_write = 1'b0;
  assign cfg_mgmt_write_data = 32'd0;
  assign cfg_mgmt_byte_enable = 4'd0;

  always @(posedge clk) begin
    if (rst) begin
      cfg_mgmt_read <= 1'b0;
      wait_left <= {LOG_PERIOD{1'b1}};
      extended_tag <= 1'b0;
    end else if (cfg_mgmt_read) begin
      if (cfg_mgmt_read_write_done) begin
        cfg_mgmt_read <= 1'b0;
        extended_tag <= cfg_mgmt_read_data[8];
      end
    end else begin
      wait_left <= wait_left - {{(LOG_PERIOD - 1) {1'b0}}, 1'b1};
      cfg_mgmt_read <= wait_left == {LOG_PERIOD{1'b0}};
    end
  end

  wire unused = &{1'b0, cfg_mgmt_read_data};

endmodule

`default_nettype wire
