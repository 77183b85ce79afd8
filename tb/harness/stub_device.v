`resetall
`timescale 1ns / 1ps
`default_nettype none

// Traffic generator with the ports of svm_device, for tests of the harness alone. Addresses pass untranslated.
// Registers: 0x0 magic; 0x100 start (write); 0x104 base; 0x108 number of accesses per direction; 0x10c ring
// base; 0x110 completions (read). Write i stores i in every word of up to 4 beats at base + 256*i; reads go to
// random places there. Every 16 writes a record {i, cycle} goes to the ring, then irq[0]; at the end irq[2].
module svm_device #(
    parameter DATA_W = 128,
    parameter ID_W = 6,
    parameter PA_W = 48,
    parameter VA_W = 48,
    parameter SETS = 256,
    parameter WAYS = 4,
    parameter PARK = 64,
    parameter MSHRS = 32,
    parameter TRACK = 64,
    parameter PASIDS = 16
) (
    input wire clk,
    input wire rst,

    input wire [15:0] s_axil_awaddr,
    input wire [2:0] s_axil_awprot,
    input wire s_axil_awvalid,
    output wire s_axil_awready,
    input wire [31:0] s_axil_wdata,
    input wire [3:0] s_axil_wstrb,
    input wire s_axil_wvalid,
    output wire s_axil_wready,
    output wire [1:0] s_axil_bresp,
    output wire s_axil_bvalid,
    input wire s_axil_bready,
    input wire [15:0] s_axil_araddr,
    input wire [2:0] s_axil_arprot,
    input wire s_axil_arvalid,
    output wire s_axil_arready,
    output wire [31:0] s_axil_rdata,
    output wire [1:0] s_axil_rresp,
    output wire s_axil_rvalid,
    input wire s_axil_rready,

    output wire [ID_W-1:0] m_axi_awid,
    output wire [PA_W-1:0] m_axi_awaddr,
    output wire [7:0] m_axi_awlen,
    output wire [2:0] m_axi_awsize,
    output wire [1:0] m_axi_awburst,
    output wire m_axi_awlock,
    output wire [3:0] m_axi_awcache,
    output wire [2:0] m_axi_awprot,
    output wire [3:0] m_axi_awqos,
    output wire [27:0] m_axi_awuser,
    output wire m_axi_awvalid,
    input wire m_axi_awready,

    output wire [DATA_W-1:0] m_axi_wdata,
    output wire [DATA_W/8-1:0] m_axi_wstrb,
    output wire m_axi_wlast,
    output wire m_axi_wvalid,
    input wire m_axi_wready,

    input wire [ID_W-1:0] m_axi_bid,
    input wire [1:0] m_axi_bresp,
    input wire m_axi_bvalid,
    output wire m_axi_bready,

    output wire [ID_W-1:0] m_axi_arid,
    output wire [PA_W-1:0] m_axi_araddr,
    output wire [7:0] m_axi_arlen,
    output wire [2:0] m_axi_arsize,
    output wire [1:0] m_axi_arburst,
    output wire m_axi_arlock,
    output wire [3:0] m_axi_arcache,
    output wire [2:0] m_axi_arprot,
    output wire [3:0] m_axi_arqos,
    output wire [27:0] m_axi_aruser,
    output wire m_axi_arvalid,
    input wire m_axi_arready,

    input wire [ID_W-1:0] m_axi_rid,
    input wire [DATA_W-1:0] m_axi_rdata,
    input wire [1:0] m_axi_rresp,
    input wire m_axi_rlast,
    input wire m_axi_rvalid,
    output wire m_axi_rready,

    output wire [1:0] m_axi_ring_awid,
    output wire [63:0] m_axi_ring_awaddr,
    output wire [7:0] m_axi_ring_awlen,
    output wire [2:0] m_axi_ring_awsize,
    output wire [1:0] m_axi_ring_awburst,
    output wire m_axi_ring_awlock,
    output wire [3:0] m_axi_ring_awcache,
    output wire [2:0] m_axi_ring_awprot,
    output wire [3:0] m_axi_ring_awqos,
    output wire m_axi_ring_awvalid,
    input wire m_axi_ring_awready,

    output wire [255:0] m_axi_ring_wdata,
    output wire [31:0] m_axi_ring_wstrb,
    output wire m_axi_ring_wlast,
    output wire m_axi_ring_wvalid,
    input wire m_axi_ring_wready,

    input wire [1:0] m_axi_ring_bid,
    input wire [1:0] m_axi_ring_bresp,
    input wire m_axi_ring_bvalid,
    output wire m_axi_ring_bready,

    output wire [1:0] m_axi_ring_arid,
    output wire [63:0] m_axi_ring_araddr,
    output wire [7:0] m_axi_ring_arlen,
    output wire [2:0] m_axi_ring_arsize,
    output wire [1:0] m_axi_ring_arburst,
    output wire m_axi_ring_arlock,
    output wire [3:0] m_axi_ring_arcache,
    output wire [2:0] m_axi_ring_arprot,
    output wire [3:0] m_axi_ring_arqos,
    output wire m_axi_ring_arvalid,
    input wire m_axi_ring_arready,

    input wire [1:0] m_axi_ring_rid,
    input wire [255:0] m_axi_ring_rdata,
    input wire [1:0] m_axi_ring_rresp,
    input wire m_axi_ring_rlast,
    input wire m_axi_ring_rvalid,
    output wire m_axi_ring_rready,

    input wire link_valid,
    output wire link_ready,
    input wire [107:0] link_data,

    output wire [3:0] irq,

    output wire [ID_W-1:0] mon_axi_awid,
    output wire [63:0] mon_axi_awaddr,
    output wire [7:0] mon_axi_awlen,
    output wire [27:0] mon_axi_awuser,
    output wire mon_axi_awvalid,
    output wire mon_axi_awready,
    output wire [ID_W-1:0] mon_axi_bid,
    output wire [1:0] mon_axi_bresp,
    output wire mon_axi_bvalid,
    output wire mon_axi_bready,
    output wire [ID_W-1:0] mon_axi_arid,
    output wire [63:0] mon_axi_araddr,
    output wire [7:0] mon_axi_arlen,
    output wire [27:0] mon_axi_aruser,
    output wire mon_axi_arvalid,
    output wire mon_axi_arready,
    output wire [ID_W-1:0] mon_axi_rid,
    output wire [1:0] mon_axi_rresp,
    output wire mon_axi_rlast,
    output wire mon_axi_rvalid,
    output wire mon_axi_rready
);

  localparam [31:0] MAGIC = 32'h314D5653;
  localparam SIZE = $clog2(DATA_W / 8);

  reg [31:0] base, number, ring;
  reg [63:0] cycle;
  reg running;

  // Registers: one access at a time.
  reg aw_full, w_full, b_valid, r_valid;
  reg [15:0] waddr;
  reg [31:0] wdata, rdata;
  reg [31:0] writes_done, reads_done;
  assign s_axil_awready = !aw_full;
  assign s_axil_wready = !w_full;
  assign s_axil_bvalid = b_valid;
  assign s_axil_bresp = 2'd0;
  assign s_axil_arready = !r_valid;
  assign s_axil_rvalid = r_valid;
  assign s_axil_rdata = rdata;
  assign s_axil_rresp = 2'd0;
  wire reg_write = aw_full && w_full && !b_valid;

  always @(posedge clk) begin
    if (s_axil_awvalid && s_axil_awready) waddr <= s_axil_awaddr;
    if (s_axil_wvalid && s_axil_wready) wdata <= s_axil_wdata;
    if (s_axil_arvalid && s_axil_arready)
      rdata <= s_axil_araddr == 16'h110 ? writes_done + reads_done : s_axil_araddr == 16'h0 ? MAGIC : 32'd0;
    if (reg_write) begin
      if (waddr == 16'h104) base <= wdata;
      if (waddr == 16'h108) number <= wdata;
      if (waddr == 16'h10c) ring <= wdata;
    end
    if (rst) begin
      aw_full <= 1'b0;
      w_full  <= 1'b0;
      b_valid <= 1'b0;
      r_valid <= 1'b0;
      running <= 1'b0;
      cycle   <= 64'd0;
    end else begin
      cycle <= cycle + 64'd1;
      if (s_axil_awvalid && s_axil_awready) aw_full <= 1'b1;
      if (s_axil_wvalid && s_axil_wready) w_full <= 1'b1;
      if (reg_write) begin
        aw_full <= 1'b0;
        w_full  <= 1'b0;
        b_valid <= 1'b1;
        if (waddr == 16'h100) running <= 1'b1;
      end else if (s_axil_bready) b_valid <= 1'b0;
      if (s_axil_arvalid && s_axil_arready) r_valid <= 1'b1;
      else if (s_axil_rready) r_valid <= 1'b0;
    end
  end

  reg [31:0] lfsr;
  always @(posedge clk)
    if (rst) lfsr <= 32'hACE1_0001;
    else lfsr <= {lfsr[30:0], lfsr[31] ^ lfsr[21] ^ lfsr[1] ^ lfsr[0]};

  // Writes: an address, then its beats.
  reg aw_v, w_v;
  reg [31:0] w_index;
  reg [1:0] w_len, w_beat;
  reg [ID_W-1:0] aw_id;
  assign m_axi_awvalid = aw_v;
  assign m_axi_awid = aw_id;
  assign m_axi_awaddr = {{PA_W - 32{1'b0}}, base + {w_index[23:0], 8'd0}};
  assign m_axi_awlen = {6'd0, w_len};
  assign m_axi_awsize = SIZE[2:0];
  assign m_axi_awburst = 2'd1;
  assign m_axi_awlock = 1'b0;
  assign m_axi_awcache = 4'd0;
  assign m_axi_awprot = 3'd0;
  assign m_axi_awqos = 4'd0;
  assign m_axi_awuser = {8'd1, 20'd7};
  assign m_axi_wvalid = w_v;
  assign m_axi_wdata = {DATA_W / 32{w_index}};
  assign m_axi_wstrb = {DATA_W / 8{1'b1}};
  assign m_axi_wlast = w_beat == w_len;
  assign m_axi_bready = 1'b1;
  always @(posedge clk)
    if (rst) begin
      aw_v <= 1'b0;
      w_v <= 1'b0;
      w_index <= 32'hFFFF_FFFF;
      writes_done <= 32'd0;
    end else begin
      if (m_axi_bvalid) writes_done <= writes_done + 32'd1;
      if (m_axi_awready) aw_v <= 1'b0;
      if (w_v && m_axi_wready) begin
        w_beat <= w_beat + 2'd1;
        if (m_axi_wlast) w_v <= 1'b0;
      end
      if (running && !aw_v && !w_v && w_index + 32'd1 != number) begin
        aw_v <= 1'b1;
        w_v <= 1'b1;
        aw_id <= lfsr[ID_W-1:0];
        w_len <= lfsr[9:8];
        w_beat <= 2'd0;
        w_index <= w_index + 32'd1;
      end
    end

  // Reads.
  reg ar_v;
  reg [31:0] r_left;
  reg [15:0] r_slot;
  reg [1:0] r_len;
  reg [ID_W-1:0] ar_id;
  assign m_axi_arvalid = ar_v;
  assign m_axi_arid = ar_id;
  assign m_axi_araddr = {{PA_W - 32{1'b0}}, base + {8'd0, r_slot, 8'd0}};
  assign m_axi_arlen = {6'd0, r_len};
  assign m_axi_arsize = SIZE[2:0];
  assign m_axi_arburst = 2'd1;
  assign m_axi_arlock = 1'b0;
  assign m_axi_arcache = 4'd0;
  assign m_axi_arprot = 3'd0;
  assign m_axi_arqos = 4'd0;
  assign m_axi_aruser = {8'd2, 20'd7};
  assign m_axi_rready = lfsr[3:0] != 4'd0;
  always @(posedge clk)
    if (rst) begin
      ar_v <= 1'b0;
      r_left <= 32'd0;
      reads_done <= 32'd0;
    end else begin
      if (reg_write && waddr == 16'h108) r_left <= wdata;
      if (m_axi_rvalid && m_axi_rready && m_axi_rlast) reads_done <= reads_done + 32'd1;
      if (m_axi_arready) ar_v <= 1'b0;
      if (running && !ar_v && r_left != 32'd0) begin
        ar_v <= 1'b1;
        ar_id <= lfsr[ID_W+3:4];
        r_len <= lfsr[13:12];
        r_slot <= lfsr[31:16] & (number[15:0] - 16'd1);
        r_left <= r_left - 32'd1;
      end
    end

  // Records and interrupts.
  reg ring_aw, ring_w, ring_busy, done_sent, irq_done;
  reg [31:0] posted;
  assign m_axi_ring_awvalid = ring_aw;
  assign m_axi_ring_awid = 2'd0;
  assign m_axi_ring_awaddr = {32'd0, ring} + {27'd0, posted, 5'd0};
  assign m_axi_ring_awlen = 8'd0;
  assign m_axi_ring_awsize = 3'd5;
  assign m_axi_ring_awburst = 2'd1;
  assign m_axi_ring_awlock = 1'b0;
  assign m_axi_ring_awcache = 4'd0;
  assign m_axi_ring_awprot = 3'd0;
  assign m_axi_ring_awqos = 4'd0;
  assign m_axi_ring_wvalid = ring_w;
  reg [63:0] stamp;
  assign m_axi_ring_wdata = {64'd0, 64'd0, stamp, 32'd0, posted};
  assign m_axi_ring_wstrb = 32'hFFFF_FFFF;
  assign m_axi_ring_wlast = 1'b1;
  assign m_axi_ring_bready = 1'b1;
  assign m_axi_ring_arvalid = 1'b0;
  assign m_axi_ring_arid = 2'd0;
  assign m_axi_ring_araddr = 64'd0;
  assign m_axi_ring_arlen = 8'd0;
  assign m_axi_ring_arsize = 3'd5;
  assign m_axi_ring_arburst = 2'd1;
  assign m_axi_ring_arlock = 1'b0;
  assign m_axi_ring_arcache = 4'd0;
  assign m_axi_ring_arprot = 3'd0;
  assign m_axi_ring_arqos = 4'd0;
  assign m_axi_ring_rready = 1'b1;
  wire irq_record = ring_busy && m_axi_ring_bvalid;
  assign irq = {1'b0, irq_done, 1'b0, irq_record};
  always @(posedge clk)
    if (rst) begin
      ring_aw <= 1'b0;
      ring_w <= 1'b0;
      ring_busy <= 1'b0;
      posted <= 32'd0;
      done_sent <= 1'b0;
      irq_done <= 1'b0;
    end else begin
      irq_done <= running && !done_sent && writes_done == number && reads_done == number;
      if (running && writes_done == number && reads_done == number) done_sent <= 1'b1;
      if (m_axi_ring_awready) ring_aw <= 1'b0;
      if (m_axi_ring_wready) ring_w <= 1'b0;
      if (irq_record) begin
        ring_busy <= 1'b0;
        posted <= posted + 32'd1;
      end else if (!ring_busy && writes_done >= {posted[27:0] + 28'd1, 4'd0}) begin
        ring_aw <= 1'b1;
        ring_w <= 1'b1;
        ring_busy <= 1'b1;
        stamp <= cycle;
      end
    end

  assign link_ready = 1'b1;
  wire unused_link = &{1'b0, link_valid, link_data};

  assign mon_axi_awid = m_axi_awid;
  assign mon_axi_awaddr = {{64-PA_W{1'b0}}, m_axi_awaddr};
  assign mon_axi_awlen = m_axi_awlen;
  assign mon_axi_awuser = m_axi_awuser;
  assign mon_axi_awvalid = m_axi_awvalid;
  assign mon_axi_awready = m_axi_awready;
  assign mon_axi_bid = m_axi_bid;
  assign mon_axi_bresp = m_axi_bresp;
  assign mon_axi_bvalid = m_axi_bvalid;
  assign mon_axi_bready = m_axi_bready;
  assign mon_axi_arid = m_axi_arid;
  assign mon_axi_araddr = {{64-PA_W{1'b0}}, m_axi_araddr};
  assign mon_axi_arlen = m_axi_arlen;
  assign mon_axi_aruser = m_axi_aruser;
  assign mon_axi_arvalid = m_axi_arvalid;
  assign mon_axi_arready = m_axi_arready;
  assign mon_axi_rid = m_axi_rid;
  assign mon_axi_rresp = m_axi_rresp;
  assign mon_axi_rlast = m_axi_rlast;
  assign mon_axi_rvalid = m_axi_rvalid;
  assign mon_axi_rready = m_axi_rready;
endmodule

`default_nettype wire
