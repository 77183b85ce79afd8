// Writes every handshake on the device's virtual-address side, bus side and ring port to the file bus.log, a line each,
// numbers in hex, the time in ns first after the kind. tb/pcie_log.py reads it. All signals are high in their handshake.
`resetall
`timescale 1ns / 1ps
`default_nettype none

module pcie_monitor (
    input wire clk,
    input wire rst,
    input wire [5:0] va_awid,
    input wire [63:0] va_awaddr,
    input wire [7:0] va_awlen,
    input wire [27:0] va_awuser,
    input wire va_aw,
    input wire [5:0] va_arid,
    input wire [63:0] va_araddr,
    input wire [7:0] va_arlen,
    input wire [27:0] va_aruser,
    input wire va_ar,
    input wire [5:0] va_bid,
    input wire [1:0] va_bresp,
    input wire va_b,
    input wire [5:0] va_rid,
    input wire [1:0] va_rresp,
    input wire va_rlast,
    input wire va_r,
    input wire [5:0] bus_awid,
    input wire [63:0] bus_awaddr,
    input wire [7:0] bus_awlen,
    input wire [2:0] bus_awsize,
    input wire bus_awlock,
    input wire [27:0] bus_awuser,
    input wire bus_aw,
    input wire [5:0] bus_arid,
    input wire [63:0] bus_araddr,
    input wire [7:0] bus_arlen,
    input wire [2:0] bus_arsize,
    input wire bus_arlock,
    input wire [27:0] bus_aruser,
    input wire bus_ar,
    input wire [5:0] bus_bid,
    input wire [1:0] bus_bresp,
    input wire bus_b,
    input wire [5:0] bus_rid,
    input wire [1:0] bus_rresp,
    input wire bus_rlast,
    input wire bus_r,
    input wire [1:0] ring_awid,
    input wire [63:0] ring_awaddr,
    input wire [255:0] ring_wdata,
    input wire ring_aw,
    input wire [1:0] ring_bid,
    input wire [1:0] ring_bresp,
    input wire ring_b,
    input wire [1:0] ring_arid,
    input wire [63:0] ring_araddr,
    input wire ring_ar,
    input wire [1:0] ring_rid,
    input wire [255:0] ring_rdata,
    input wire [1:0] ring_rresp,
    input wire ring_rlast,
    input wire ring_r
);

  integer file;
  initial file = $fopen("bus.log", "w");

  wire any = va_aw || va_ar || va_b || va_r || bus_aw || bus_ar || bus_b || bus_r ||
      ring_aw || ring_b || ring_ar || ring_r;

  // A read's response on a side is the worst of its beats.
  reg [1:0] va_worst[0:63];
  reg [1:0] bus_worst[0:63];
  wire [1:0] va_resp = (va_rresp > va_worst[va_rid]) ? va_rresp : va_worst[va_rid];
  wire [1:0] bus_resp = (bus_rresp > bus_worst[bus_rid]) ? bus_rresp : bus_worst[bus_rid];
  integer i;

  always @(posedge clk) begin
    if (rst) begin
      for (i = 0; i < 64; i = i + 1) begin
        va_worst[i]  <= 2'd0;
        bus_worst[i] <= 2'd0;
      end
    end else begin
      if (va_r) va_worst[va_rid] <= va_rlast ? 2'd0 : va_resp;
      if (bus_r) bus_worst[bus_rid] <= bus_rlast ? 2'd0 : bus_resp;
    end
  end

  always @(posedge clk) begin
    if (!rst && any) begin
      if (va_ar) $fwrite(file, "accept %h 0 %h %h %h %h\n", $time, va_arid, va_arlen, va_aruser, va_araddr);
      if (va_aw) $fwrite(file, "accept %h 1 %h %h %h %h\n", $time, va_awid, va_awlen, va_awuser, va_awaddr);
      if (bus_ar)
        $fwrite(file, "issue %h 0 %h %h %h %h %h %h\n", $time, bus_arid, bus_arlen, bus_aruser, bus_araddr, bus_arsize,
                bus_arlock);
      if (bus_aw)
        $fwrite(file, "issue %h 1 %h %h %h %h %h %h\n", $time, bus_awid, bus_awlen, bus_awuser, bus_awaddr, bus_awsize,
                bus_awlock);
      if (bus_r && bus_rlast) $fwrite(file, "end %h 0 %h %h\n", $time, bus_rid, bus_resp);
      if (bus_b) $fwrite(file, "end %h 1 %h %h\n", $time, bus_bid, bus_bresp);
      if (va_r && va_rlast) $fwrite(file, "answer %h 0 %h %h\n", $time, va_rid, va_resp);
      if (va_b) $fwrite(file, "answer %h 1 %h %h\n", $time, va_bid, va_bresp);
      if (ring_ar) $fwrite(file, "fetch %h %h %h\n", $time, ring_arid, ring_araddr);
      if (ring_r)
        $fwrite(file, "record %h %h %h %h %h\n", $time, ring_rid, ring_rresp, ring_rlast, ring_rdata);
      if (ring_aw) $fwrite(file, "post %h %h %h %h\n", $time, ring_awid, ring_awaddr, ring_wdata);
      if (ring_b) $fwrite(file, "posted %h %h %h\n", $time, ring_bid, ring_bresp);
      $fflush(file);
    end
  end

endmodule

`default_nettype wire
