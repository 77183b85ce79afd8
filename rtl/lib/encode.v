`resetall
`timescale 1ns / 1ps
`default_nettype none

// Index of the bit of a one-hot vector; zero without a bit. Combinational.
module encode #(
    parameter LOG_N = 6
) (
    input wire [(1<<LOG_N)-1:0] onehot,
    output wire [LOG_N-1:0] index
);

  genvar b;
  generate
    for (b = 0; b < LOG_N; b = b + 1) begin : gen_bit
      // Positions whose index has this bit.
      assign index[b] = |(onehot & {(1 << (LOG_N - b - 1)) {{(1 << b) {1'b1}}, {(1 << b) {1'b0}}}});
    end
  endgenerate

endmodule

`default_nettype wire
