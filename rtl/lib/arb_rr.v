`resetall
`timescale 1ns / 1ps
`default_nettype none

// Round-robin arbiter. grant is combinational and one-hot (or zero without a request).
// Latency 0. The turn moves past the granted requester when advance is high.
// Invariant: a requester that keeps asking is granted within N advances.
module arb_rr #(
    parameter N = 2
) (
    input wire clk,
    input wire rst,
    input wire [N-1:0] req,
    output wire [N-1:0] grant,
    input wire advance
);

  initial begin
    if (N < 2) begin
      $display("arb_rr: N must be at least 2");
      $finish;
    end
  end

  // Requesters that come after the last one served; they go first.
  reg [N-1:0] later;

  wire [N-1:0] req_later = req & later;
  wire [N-1:0] negative_later = ~req_later + {{(N - 1) {1'b0}}, 1'b1};
  wire [N-1:0] negative = ~req + {{(N - 1) {1'b0}}, 1'b1};
  wire any_later = req_later != {N{1'b0}};

  // The lowest set bit.
  assign grant = any_later ? req_later & negative_later : req & negative;

  // Ones strictly above the granted bit.
  wire [N-1:0] above = any_later ? req_later ^ negative_later : req ^ negative;

  always @(posedge clk) begin
    if (rst) later <= {N{1'b0}};
    else if (advance && grant != {N{1'b0}}) later <= above;
  end

endmodule

`default_nettype wire
