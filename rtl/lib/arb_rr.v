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
  wire any_later = req_later != {N{1'b0}};

  // Ones strictly above the lowest set bit: by carry, or, for a few requesters, by gates.
  wire [N-1:0] above_later;
  wire [N-1:0] above_any;

  genvar g;
  generate
    if (N > 16) begin : gen_carry
      assign above_later = req_later ^ (~req_later + {{(N - 1) {1'b0}}, 1'b1});
      assign above_any = req ^ (~req + {{(N - 1) {1'b0}}, 1'b1});
    end else begin : gen_gates
      for (g = 0; g < N; g = g + 1) begin : gen_bit
        localparam [N-1:0] BELOW = (1 << g) - 1;
        assign above_later[g] = (req_later & BELOW) != {N{1'b0}};
        assign above_any[g]   = (req & BELOW) != {N{1'b0}};
      end
    end
  endgenerate

  assign grant = any_later ? req_later & ~above_later : req & ~above_any;
  wire [N-1:0] above = any_later ? above_later : above_any;

  always @(posedge clk) begin
    if (rst) later <= {N{1'b0}};
    else if (advance && grant != {N{1'b0}}) later <= above;
  end

endmodule

`default_nettype wire
