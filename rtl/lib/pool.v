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
  localparam [LOG_N-1:0] ONE = 1;

  (* ram_style = "distributed" *)
  reg [LOG_N-1:0] mem[0:N-1];
  // Both pointers, and one further: the comparison uses these.
  reg [LOG_N-1:0] wr_ptr;
  reg [LOG_N-1:0] rd_ptr;
  reg [LOG_N-1:0] wr_next;
  reg [LOG_N-1:0] rd_next;
  reg [LOG_N-1:0] rd_after;
  // A returned number is in mem.
  reg some;
  // The next number never given out; the top bit says that there is none.
  reg [LOG_N:0] fresh;

  wire used_up = fresh[LOG_N];
  wire load = !valid || take;
  wire pop = load && used_up && some;
  wire one = rd_after == wr_next;

  always @(posedge clk) begin
    if (give) mem[wr_ptr] <= give_index;
    if (load) index <= used_up ? mem[rd_ptr] : fresh[LOG_N-1:0];
  end

  always @(posedge clk) begin
    if (rst) begin
      valid  <= 1'b0;
      wr_ptr <= {LOG_N{1'b0}};
      rd_ptr <= {LOG_N{1'b0}};
      wr_next <= ONE;
      rd_next <= ONE;
      rd_after <= ONE + ONE;
      some <= 1'b0;
      fresh <= {(LOG_N + 1) {1'b0}};
    end else begin
      if (give) begin
        wr_ptr  <= wr_next;
        wr_next <= wr_next + ONE;
      end
      if (pop) begin
        rd_ptr <= rd_next;
        rd_next <= rd_after;
        rd_after <= rd_after + ONE;
      end
      some <= give || (some && !(pop && one));
      if (load) begin
        valid <= !used_up || some;
        if (!used_up) fresh <= fresh + {{LOG_N{1'b0}}, 1'b1};
      end
    end
  end

endmodule

`default_nettype wire
