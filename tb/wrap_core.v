// Test wrapper of dmmu_core: the ports as they are, plus every handshake in one vector and every
// payload in one vector a channel, so that a testbench reads a cycle with one access.
`resetall
`timescale 1ns/1ps
`default_nettype none

module wrap_core #(
    parameter DATA_W = 128,
    parameter ID_W   = 6,
    parameter PA_W   = 48,
    parameter SETS   = 256,
    parameter WAYS   = 4,
    parameter PARK   = 64,
    parameter MSHRS  = 32,
    parameter TRACK  = 64,
    parameter PASIDS = 16
) (
    input  wire                clk,
    input  wire                rst,

    input  wire [ID_W-1:0]     s_axi_awid,
    input  wire [63:0]         s_axi_awaddr,
    input  wire [7:0]          s_axi_awlen,
    input  wire [2:0]          s_axi_awsize,
    input  wire [1:0]          s_axi_awburst,
    input  wire                s_axi_awlock,
    input  wire [3:0]          s_axi_awcache,
    input  wire [2:0]          s_axi_awprot,
    input  wire [3:0]          s_axi_awqos,
    input  wire [27:0]         s_axi_awuser,
    input  wire                s_axi_awvalid,
    output wire                s_axi_awready,
    input  wire [DATA_W-1:0]   s_axi_wdata,
    input  wire [DATA_W/8-1:0] s_axi_wstrb,
    input  wire                s_axi_wlast,
    input  wire                s_axi_wvalid,
    output wire                s_axi_wready,
    output wire [ID_W-1:0]     s_axi_bid,
    output wire [1:0]          s_axi_bresp,
    output wire                s_axi_bvalid,
    input  wire                s_axi_bready,
    input  wire [ID_W-1:0]     s_axi_arid,
    input  wire [63:0]         s_axi_araddr,
    input  wire [7:0]          s_axi_arlen,
    input  wire [2:0]          s_axi_arsize,
    input  wire [1:0]          s_axi_arburst,
    input  wire                s_axi_arlock,
    input  wire [3:0]          s_axi_arcache,
    input  wire [2:0]          s_axi_arprot,
    input  wire [3:0]          s_axi_arqos,
    input  wire [27:0]         s_axi_aruser,
    input  wire                s_axi_arvalid,
    output wire                s_axi_arready,
    output wire [ID_W-1:0]     s_axi_rid,
    output wire [DATA_W-1:0]   s_axi_rdata,
    output wire [1:0]          s_axi_rresp,
    output wire                s_axi_rlast,
    output wire                s_axi_rvalid,
    input  wire                s_axi_rready,

    input  wire                m_arready,
    input  wire                m_awready,
    input  wire                m_wready,
    input  wire                m_rvalid,
    input  wire [DATA_W+ID_W+2:0] m_r_pkt,
    input  wire                m_bvalid,
    input  wire [ID_W+1:0]     m_b_pkt,

    input  wire                cmd_valid,
    output wire                cmd_ready,
    input  wire [255:0]        cmd_data,
    input  wire [15:0]         cmd_index,
    output wire                fault_valid,
    input  wire                fault_ready,
    output wire [255:0]        fault_data,
    output wire                event_valid,
    input  wire                event_ready,
    output wire [255:0]        event_data,
    input  wire                fault_ring_full,
    input  wire                cfg_enable,
    output wire                ready,
    input  wire [4:0]          stat_addr,
    output wire [63:0]         stat_data,
    output wire [63:0]         cycle,

    output wire [25:0]         hs,
    output wire [116+ID_W:0]   s_ar_pkt,
    output wire [116+ID_W:0]   s_aw_pkt,
    output wire [DATA_W+ID_W+2:0] s_r_pkt,
    output wire [ID_W+1:0]     s_b_pkt,
    output wire [116+ID_W:0]   m_ar_pkt,
    output wire [116+ID_W:0]   m_aw_pkt,
    output wire [DATA_W+DATA_W/8:0] m_w_pkt
);

    wire [ID_W-1:0]     m_axi_awid;
    wire [PA_W-1:0]     m_axi_awaddr;
    wire [7:0]          m_axi_awlen;
    wire [2:0]          m_axi_awsize;
    wire [1:0]          m_axi_awburst;
    wire                m_axi_awlock;
    wire [3:0]          m_axi_awcache;
    wire [2:0]          m_axi_awprot;
    wire [3:0]          m_axi_awqos;
    wire [27:0]         m_axi_awuser;
    wire                m_axi_awvalid;
    wire [DATA_W-1:0]   m_axi_wdata;
    wire [DATA_W/8-1:0] m_axi_wstrb;
    wire                m_axi_wlast;
    wire                m_axi_wvalid;
    wire                m_axi_bready;
    wire [ID_W-1:0]     m_axi_arid;
    wire [PA_W-1:0]     m_axi_araddr;
    wire [7:0]          m_axi_arlen;
    wire [2:0]          m_axi_arsize;
    wire [1:0]          m_axi_arburst;
    wire                m_axi_arlock;
    wire [3:0]          m_axi_arcache;
    wire [2:0]          m_axi_arprot;
    wire [3:0]          m_axi_arqos;
    wire [27:0]         m_axi_aruser;
    wire                m_axi_arvalid;
    wire                m_axi_rready;

    wire [63:0] m_araddr64 = {{(64-PA_W){1'b0}}, m_axi_araddr};
    wire [63:0] m_awaddr64 = {{(64-PA_W){1'b0}}, m_axi_awaddr};

    assign hs = {event_ready, event_valid, fault_ready, fault_valid, cmd_ready, cmd_valid,
                 m_axi_bready, m_bvalid, m_axi_rready, m_rvalid, m_wready, m_axi_wvalid,
                 m_awready, m_axi_awvalid, m_arready, m_axi_arvalid,
                 s_axi_bready, s_axi_bvalid, s_axi_rready, s_axi_rvalid,
                 s_axi_wready, s_axi_wvalid, s_axi_awready, s_axi_awvalid,
                 s_axi_arready, s_axi_arvalid};

    assign s_ar_pkt = {s_axi_aruser, s_axi_arlock, s_axi_arcache, s_axi_arprot, s_axi_arqos,
                       s_axi_arburst, s_axi_arsize, s_axi_arlen, s_axi_arid, s_axi_araddr};
    assign s_aw_pkt = {s_axi_awuser, s_axi_awlock, s_axi_awcache, s_axi_awprot, s_axi_awqos,
                       s_axi_awburst, s_axi_awsize, s_axi_awlen, s_axi_awid, s_axi_awaddr};
    assign m_ar_pkt = {m_axi_aruser, m_axi_arlock, m_axi_arcache, m_axi_arprot, m_axi_arqos,
                       m_axi_arburst, m_axi_arsize, m_axi_arlen, m_axi_arid, m_araddr64};
    assign m_aw_pkt = {m_axi_awuser, m_axi_awlock, m_axi_awcache, m_axi_awprot, m_axi_awqos,
                       m_axi_awburst, m_axi_awsize, m_axi_awlen, m_axi_awid, m_awaddr64};
    assign s_r_pkt  = {s_axi_rlast, s_axi_rresp, s_axi_rid, s_axi_rdata};
    assign s_b_pkt  = {s_axi_bresp, s_axi_bid};
    assign m_w_pkt  = {m_axi_wlast, m_axi_wstrb, m_axi_wdata};

    dmmu_core #(
        .DATA_W(DATA_W), .ID_W(ID_W), .PA_W(PA_W), .SETS_4K(SETS), .WAYS_4K(WAYS),
        .PARK(PARK), .MSHRS(MSHRS), .TRACK(TRACK), .PASIDS(PASIDS)
    ) dut (
        .clk(clk), .rst(rst),
        .s_axi_awid(s_axi_awid), .s_axi_awaddr(s_axi_awaddr), .s_axi_awlen(s_axi_awlen),
        .s_axi_awsize(s_axi_awsize), .s_axi_awburst(s_axi_awburst), .s_axi_awlock(s_axi_awlock),
        .s_axi_awcache(s_axi_awcache), .s_axi_awprot(s_axi_awprot), .s_axi_awqos(s_axi_awqos),
        .s_axi_awuser(s_axi_awuser), .s_axi_awvalid(s_axi_awvalid), .s_axi_awready(s_axi_awready),
        .s_axi_wdata(s_axi_wdata), .s_axi_wstrb(s_axi_wstrb), .s_axi_wlast(s_axi_wlast),
        .s_axi_wvalid(s_axi_wvalid), .s_axi_wready(s_axi_wready),
        .s_axi_bid(s_axi_bid), .s_axi_bresp(s_axi_bresp), .s_axi_bvalid(s_axi_bvalid),
        .s_axi_bready(s_axi_bready),
        .s_axi_arid(s_axi_arid), .s_axi_araddr(s_axi_araddr), .s_axi_arlen(s_axi_arlen),
        .s_axi_arsize(s_axi_arsize), .s_axi_arburst(s_axi_arburst), .s_axi_arlock(s_axi_arlock),
        .s_axi_arcache(s_axi_arcache), .s_axi_arprot(s_axi_arprot), .s_axi_arqos(s_axi_arqos),
        .s_axi_aruser(s_axi_aruser), .s_axi_arvalid(s_axi_arvalid), .s_axi_arready(s_axi_arready),
        .s_axi_rid(s_axi_rid), .s_axi_rdata(s_axi_rdata), .s_axi_rresp(s_axi_rresp),
        .s_axi_rlast(s_axi_rlast), .s_axi_rvalid(s_axi_rvalid), .s_axi_rready(s_axi_rready),
        .m_axi_awid(m_axi_awid), .m_axi_awaddr(m_axi_awaddr), .m_axi_awlen(m_axi_awlen),
        .m_axi_awsize(m_axi_awsize), .m_axi_awburst(m_axi_awburst), .m_axi_awlock(m_axi_awlock),
        .m_axi_awcache(m_axi_awcache), .m_axi_awprot(m_axi_awprot), .m_axi_awqos(m_axi_awqos),
        .m_axi_awuser(m_axi_awuser), .m_axi_awvalid(m_axi_awvalid), .m_axi_awready(m_awready),
        .m_axi_wdata(m_axi_wdata), .m_axi_wstrb(m_axi_wstrb), .m_axi_wlast(m_axi_wlast),
        .m_axi_wvalid(m_axi_wvalid), .m_axi_wready(m_wready),
        .m_axi_bid(m_b_pkt[ID_W-1:0]), .m_axi_bresp(m_b_pkt[ID_W +: 2]), .m_axi_bvalid(m_bvalid),
        .m_axi_bready(m_axi_bready),
        .m_axi_arid(m_axi_arid), .m_axi_araddr(m_axi_araddr), .m_axi_arlen(m_axi_arlen),
        .m_axi_arsize(m_axi_arsize), .m_axi_arburst(m_axi_arburst), .m_axi_arlock(m_axi_arlock),
        .m_axi_arcache(m_axi_arcache), .m_axi_arprot(m_axi_arprot), .m_axi_arqos(m_axi_arqos),
        .m_axi_aruser(m_axi_aruser), .m_axi_arvalid(m_axi_arvalid), .m_axi_arready(m_arready),
        .m_axi_rid(m_r_pkt[DATA_W +: ID_W]), .m_axi_rdata(m_r_pkt[DATA_W-1:0]),
        .m_axi_rresp(m_r_pkt[DATA_W+ID_W +: 2]), .m_axi_rlast(m_r_pkt[DATA_W+ID_W+2]),
        .m_axi_rvalid(m_rvalid), .m_axi_rready(m_axi_rready),
        .cmd_valid(cmd_valid), .cmd_ready(cmd_ready), .cmd_data(cmd_data), .cmd_index(cmd_index),
        .fault_valid(fault_valid), .fault_ready(fault_ready), .fault_data(fault_data),
        .event_valid(event_valid), .event_ready(event_ready), .event_data(event_data),
        .fault_ring_full(fault_ring_full), .cfg_enable(cfg_enable), .ready(ready),
        .stat_addr(stat_addr), .stat_data(stat_data), .cycle(cycle)
    );

endmodule

`resetall
`default_nettype wire
