`resetall
`timescale 1ns / 1ps
`default_nettype none

// Deep queue of dmmu_wbuf: a front of 16 words in distributed RAM, and a block RAM for what does not fit.
// Latency 0 while it is empty, one word per cycle each way. out_ready may come late: it reaches the front's counters only.
// After a spill the front may run empty for up to three cycles while words are on their way from the block RAM.
// Invariants: words leave in order; spill is low only while the block RAM and the way from it are empty. Nothing keeps the
// user from overflowing 2^LOG_DEPTH words.
module dmmu_wqueue #(
    parameter W = 8,
    parameter LOG_DEPTH = 7
) (
    input wire clk,
    input wire rst,

    input wire in_valid,
    input wire [W-1:0] in_data,

    output wire out_valid,
    input wire out_ready,
    output wire [W-1:0] out_data
);

  localparam LOG_FRONT = 4;
  localparam [LOG_DEPTH-1:0] ONE = {{(LOG_DEPTH - 1) {1'b0}}, 1'b1};
  localparam [LOG_FRONT-1:0] FRONT_ONE = {{(LOG_FRONT - 1) {1'b0}}, 1'b1};

  // New words go to the block RAM.
  reg spill;
  // The front has room for all that is on its way.
  reg low;

  // ------------------------------------------------------------------ block RAM
  (* no_rw_check, ram_style = "block" *)
  reg [W-1:0] back[0:(1<<LOG_DEPTH)-1];
  reg [LOG_DEPTH-1:0] back_wr;
  reg [LOG_DEPTH-1:0] back_rd;
  reg [LOG_DEPTH-1:0] back_rd_next;
  reg back_some;
  reg read_1;
  reg read_2;
  reg [W-1:0] back_word;
  reg [W-1:0] refill;
  wire back_push = in_valid && spill;
  wire read = back_some && low;

  // It is never full, so a word is never read in the cycle of its writing.
  always @(posedge clk) begin
    if (back_push) back[back_wr] <= in_data;
    if (back_some) back_word <= back[back_rd];
  end

  always @(posedge clk) refill <= back_word;

  always @(posedge clk) begin
    if (rst) begin
      back_wr <= {LOG_DEPTH{1'b0}};
      back_rd <= {LOG_DEPTH{1'b0}};
      back_rd_next <= ONE;
      back_some <= 1'b0;
      read_1 <= 1'b0;
      read_2 <= 1'b0;
    end else begin
      if (back_push) back_wr <= back_wr + ONE;
      if (read) begin
        back_rd <= back_rd_next;
        back_rd_next <= back_rd_next + ONE;
      end
      back_some <= back_push || (back_some && !(low && back_wr == back_rd_next));
      read_1 <= read;
      read_2 <= read_1;
    end
  end

  // ------------------------------------------------------------------ front
  (* ram_style = "distributed" *)
  reg [W-1:0] front[0:(1<<LOG_FRONT)-1];
  reg [LOG_FRONT-1:0] wr;
  reg [LOG_FRONT-1:0] rd;
  reg [LOG_FRONT-1:0] rd_next;
  reg some;
  wire push = (in_valid && !spill) || read_2;
  wire pop = out_valid && out_ready;
  wire [W-1:0] word = read_2 ? refill : in_data;
  wire [LOG_FRONT-1:0] count = wr - rd;
  wire one = wr == rd_next;

  // A word that goes straight through is written too, and both pointers pass it.
  assign out_valid = some || push;
  assign out_data = some ? front[rd] : word;

  // The word at wr is free.
  always @(posedge clk) front[wr] <= word;

  always @(posedge clk) begin
    if (rst) begin
      wr <= {LOG_FRONT{1'b0}};
      rd <= {LOG_FRONT{1'b0}};
      rd_next <= FRONT_ONE;
      some <= 1'b0;
      low <= 1'b1;
      spill <= 1'b0;
    end else begin
      if (push) wr <= wr + FRONT_ONE;
      if (pop) begin
        rd <= rd_next;
        rd_next <= rd_next + FRONT_ONE;
      end
      some <= some ? push || !(out_ready && one) : push && !out_ready;
      // Up to four more words come before count shows them, so it never reaches 16.
      low <= count < 4'd8;
      spill <= spill ? !low || back_some || in_valid || read_1 : !low;
    end
  end

endmodule

`default_nettype wire
