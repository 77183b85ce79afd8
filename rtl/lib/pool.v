`resetall
`timescale 1ns / 1ps
`default_nettype none

// Free numbers below 2^LOG_N, each held by at most one user. After rst the numbers are given out in order, later the one that
// was returned first. index is a register; one take and one give per cycle; a number returned in cycle t is offered in t + 2.
// Invariant: valid falls only when every number is taken or on its way back.
module pool #(
    parameter LOG_N = 6
) (
    input wire clk,
    input wire rst,

    output reg valid,
    output reg [LOG_N-1:0] index,
    input wire take,

    input wire give,
    input wire [LOG_N-1:0] give_index
);

  localparam N = 1 << LOG_N;

  reg [LOG_N-1:0] mem[0:N-1];
  reg [LOG_N:0] wr_ptr;
  reg [LOG_N:0] rd_ptr;
  // The next number never given out; the top bit says that there is none.
  reg [LOG_N:0] fresh;

  wire used_up = fresh[LOG_N];
  wire has = !used_up || wr_ptr != rd_ptr;
  wire load = !valid || take;

  always @(posedge clk) begin
    if (give) mem[wr_ptr[LOG_N-1:0]] <= give_index;
    if (load) index <= used_up ? mem[rd_ptr[LOG_N-1:0]] : fresh[LOG_N-1:0];
  end

  always @(posedge clk) begin
    if (rst) begin
      valid  <= 1'b0;
      wr_ptr <= {(LOG_N + 1) {1'b0}};
      rd_ptr <= {(LOG_N + 1) {1'b0}};
      fresh  <= {(LOG_N + 1) {1'b0}};
    end else begin
      if (give) wr_ptr <= wr_ptr + {{LOG_N{1'b0}}, 1'b1};
      if (load) begin
        valid <= has;
        if (!used_up) fresh <= fresh + {{LOG_N{1'b0}}, 1'b1};
        else if (has) rd_ptr <= rd_ptr + {{LOG_N{1'b0}}, 1'b1};
      end
    end
  end

endmodule

`default_nettype wire
