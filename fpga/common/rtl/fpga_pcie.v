`resetall
`timescale 1ns / 1ps
`default_nettype none

// What every board has: the connector's reference clock, the hard block's IP, and fpga_core on its user side. A board's
// top holds pads only. `heartbeat` blinks while the user clock runs; `link_up` tells that the link has been trained.
// The IP's clock and synchronous reset are the core's. MSI-X is external: the core holds table and PBA and
// sends the messages on RQ, so the IP's own MSI-X port is idle. User data widths are those of the IP (PG213).
module fpga_pcie #(
    parameter LANES = 8,
    parameter DATA_W = 256,
    parameter SETS = 256,
    parameter WAYS = 4,
    parameter PARK = 64,
    parameter MSHRS = 32,
    parameter TRACK = 64,
    parameter PASIDS = 16
) (
    input wire [LANES-1:0] pcie_rx_p,
    input wire [LANES-1:0] pcie_rx_n,
    output wire [LANES-1:0] pcie_tx_p,
    output wire [LANES-1:0] pcie_tx_n,
    input wire pcie_refclk_p,
    input wire pcie_refclk_n,
    input wire pcie_reset_n,

    output wire heartbeat,
    output wire link_up
);

  localparam CQ_USER_W = (DATA_W == 512) ? 183 : 88;
  localparam CC_USER_W = (DATA_W == 512) ? 81 : 33;
  localparam RQ_USER_W = (DATA_W == 512) ? 137 : 62;
  localparam RC_USER_W = (DATA_W == 512) ? 161 : 75;

  wire sys_clk;
  wire sys_clk_gt;

  // ODIV2 at the full rate, as the IP wants it.
  IBUFDS_GTE4 #(
      .REFCLK_HROW_CK_SEL(2'b00)
  ) u_refclk (
      .I(pcie_refclk_p),
      .IB(pcie_refclk_n),
      .CEB(1'b0),
      .O(sys_clk_gt),
      .ODIV2(sys_clk)
  );

  wire clk;
  wire rst;
  wire [DATA_W-1:0] rq_tdata;
  wire [DATA_W/32-1:0] rq_tkeep;
  wire rq_tlast;
  wire [3:0] rq_tready;
  wire [RQ_USER_W-1:0] rq_tuser;
  wire rq_tvalid;
  wire [DATA_W-1:0] rc_tdata;
  wire [DATA_W/32-1:0] rc_tkeep;
  wire rc_tlast;
  wire rc_tready;
  wire [RC_USER_W-1:0] rc_tuser;
  wire rc_tvalid;
  wire [DATA_W-1:0] cq_tdata;
  wire [DATA_W/32-1:0] cq_tkeep;
  wire cq_tlast;
  wire cq_tready;
  wire [CQ_USER_W-1:0] cq_tuser;
  wire cq_tvalid;
  wire [DATA_W-1:0] cc_tdata;
  wire [DATA_W/32-1:0] cc_tkeep;
  wire cc_tlast;
  wire [3:0] cc_tready;
  wire [CC_USER_W-1:0] cc_tuser;
  wire cc_tvalid;
  wire [9:0] cfg_mgmt_addr;
  wire [7:0] cfg_mgmt_function_number;
  wire cfg_mgmt_write;
  wire [31:0] cfg_mgmt_write_data;
  wire [3:0] cfg_mgmt_byte_enable;
  wire cfg_mgmt_read;
  wire [31:0] cfg_mgmt_read_data;
  wire cfg_mgmt_read_write_done;
  wire [1:0] cfg_max_payload;
  wire [2:0] cfg_max_read_req;
  wire [15:0] cfg_function_status;
  wire [3:0] cfg_flr_in_process;
  wire [3:0] cfg_flr_done;
  wire [3:0] cfg_interrupt_msix_enable;
  wire [3:0] cfg_interrupt_msix_mask;
  wire [1:0] pcie_cq_np_req;
  wire [3:0] pcie_tfc_nph_av;

  // What the design does not look at.
  wire n_pcie_rq_seq_num_vld0, n_pcie_rq_seq_num_vld1, n_pcie_rq_tag_vld0, n_pcie_rq_tag_vld1, n_cfg_phy_link_down,
      n_cfg_err_cor_out, n_cfg_err_nonfatal_out, n_cfg_err_fatal_out, n_cfg_local_error_valid,
      n_cfg_pl_status_change, n_cfg_msg_received, n_cfg_msg_transmit_done, n_cfg_power_state_change_interrupt,
      n_cfg_interrupt_sent, n_cfg_interrupt_msi_sent, n_cfg_interrupt_msi_fail,
      n_cfg_interrupt_msix_vec_pending_status, n_cfg_hot_reset_out, n_phy_rdy_out;
  wire [1:0] n_cfg_phy_link_status, n_cfg_current_speed, n_cfg_link_power_state, n_cfg_rx_pm_state,
      n_cfg_tx_pm_state, n_cfg_obff_enable;
  wire [2:0] n_cfg_negotiated_width;
  wire [3:0] n_pcie_rq_tag_av, n_pcie_tfc_npd_av, n_cfg_rcb_status, n_cfg_tph_requester_enable;
  wire [4:0] n_cfg_local_error_out, n_cfg_msg_received_type;
  wire [5:0] n_pcie_rq_seq_num0, n_pcie_rq_seq_num1, n_pcie_cq_np_req_count, n_cfg_ltssm_state;
  wire [7:0] n_pcie_rq_tag0, n_pcie_rq_tag1, n_cfg_msg_received_data, n_cfg_fc_ph, n_cfg_fc_nph, n_cfg_fc_cplh,
      n_cfg_bus_number;
  wire [11:0] n_cfg_function_power_state, n_cfg_tph_st_mode, n_cfg_fc_pd, n_cfg_fc_npd, n_cfg_fc_cpld;
  wire [251:0] n_cfg_vf_tph_requester_enable, n_cfg_vf_flr_in_process, n_cfg_interrupt_msix_vf_enable,
      n_cfg_interrupt_msix_vf_mask;
  wire [503:0] n_cfg_vf_status;
  wire [755:0] n_cfg_vf_power_state, n_cfg_vf_tph_st_mode;

  pcie4_uscale_plus_0 u_pcie (
      .pci_exp_txn(pcie_tx_n),
      .pci_exp_txp(pcie_tx_p),
      .pci_exp_rxn(pcie_rx_n),
      .pci_exp_rxp(pcie_rx_p),
      .user_clk(clk),
      .user_reset(rst),
      .user_lnk_up(link_up),
      .s_axis_rq_tdata(rq_tdata),
      .s_axis_rq_tkeep(rq_tkeep),
      .s_axis_rq_tlast(rq_tlast),
      .s_axis_rq_tready(rq_tready),
      .s_axis_rq_tuser(rq_tuser),
      .s_axis_rq_tvalid(rq_tvalid),
      .m_axis_rc_tdata(rc_tdata),
      .m_axis_rc_tkeep(rc_tkeep),
      .m_axis_rc_tlast(rc_tlast),
      .m_axis_rc_tready(rc_tready),
      .m_axis_rc_tuser(rc_tuser),
      .m_axis_rc_tvalid(rc_tvalid),
      .m_axis_cq_tdata(cq_tdata),
      .m_axis_cq_tkeep(cq_tkeep),
      .m_axis_cq_tlast(cq_tlast),
      .m_axis_cq_tready(cq_tready),
      .m_axis_cq_tuser(cq_tuser),
      .m_axis_cq_tvalid(cq_tvalid),
      .s_axis_cc_tdata(cc_tdata),
      .s_axis_cc_tkeep(cc_tkeep),
      .s_axis_cc_tlast(cc_tlast),
      .s_axis_cc_tready(cc_tready),
      .s_axis_cc_tuser(cc_tuser),
      .s_axis_cc_tvalid(cc_tvalid),
      .pcie_rq_seq_num0(n_pcie_rq_seq_num0),
      .pcie_rq_seq_num_vld0(n_pcie_rq_seq_num_vld0),
      .pcie_rq_seq_num1(n_pcie_rq_seq_num1),
      .pcie_rq_seq_num_vld1(n_pcie_rq_seq_num_vld1),
      .pcie_rq_tag0(n_pcie_rq_tag0),
      .pcie_rq_tag1(n_pcie_rq_tag1),
      .pcie_rq_tag_av(n_pcie_rq_tag_av),
      .pcie_rq_tag_vld0(n_pcie_rq_tag_vld0),
      .pcie_rq_tag_vld1(n_pcie_rq_tag_vld1),
      .pcie_tfc_nph_av(pcie_tfc_nph_av),
      .pcie_tfc_npd_av(n_pcie_tfc_npd_av),
      .pcie_cq_np_req(pcie_cq_np_req),
      .pcie_cq_np_req_count(n_pcie_cq_np_req_count),
      .cfg_phy_link_down(n_cfg_phy_link_down),
      .cfg_phy_link_status(n_cfg_phy_link_status),
      .cfg_negotiated_width(n_cfg_negotiated_width),
      .cfg_current_speed(n_cfg_current_speed),
      .cfg_max_payload(cfg_max_payload),
      .cfg_max_read_req(cfg_max_read_req),
      .cfg_function_status(cfg_function_status),
      .cfg_function_power_state(n_cfg_function_power_state),
      .cfg_vf_status(n_cfg_vf_status),
      .cfg_vf_power_state(n_cfg_vf_power_state),
      .cfg_link_power_state(n_cfg_link_power_state),
      .cfg_mgmt_addr(cfg_mgmt_addr),
      .cfg_mgmt_function_number(cfg_mgmt_function_number),
      .cfg_mgmt_write(cfg_mgmt_write),
      .cfg_mgmt_write_data(cfg_mgmt_write_data),
      .cfg_mgmt_byte_enable(cfg_mgmt_byte_enable),
      .cfg_mgmt_read(cfg_mgmt_read),
      .cfg_mgmt_read_data(cfg_mgmt_read_data),
      .cfg_mgmt_read_write_done(cfg_mgmt_read_write_done),
      .cfg_mgmt_debug_access(1'b0),
      .cfg_err_cor_out(n_cfg_err_cor_out),
      .cfg_err_nonfatal_out(n_cfg_err_nonfatal_out),
      .cfg_err_fatal_out(n_cfg_err_fatal_out),
      .cfg_local_error_valid(n_cfg_local_error_valid),
      .cfg_local_error_out(n_cfg_local_error_out),
      .cfg_ltssm_state(n_cfg_ltssm_state),
      .cfg_rx_pm_state(n_cfg_rx_pm_state),
      .cfg_tx_pm_state(n_cfg_tx_pm_state),
      .cfg_rcb_status(n_cfg_rcb_status),
      .cfg_obff_enable(n_cfg_obff_enable),
      .cfg_pl_status_change(n_cfg_pl_status_change),
      .cfg_tph_requester_enable(n_cfg_tph_requester_enable),
      .cfg_tph_st_mode(n_cfg_tph_st_mode),
      .cfg_vf_tph_requester_enable(n_cfg_vf_tph_requester_enable),
      .cfg_vf_tph_st_mode(n_cfg_vf_tph_st_mode),
      .cfg_msg_received(n_cfg_msg_received),
      .cfg_msg_received_data(n_cfg_msg_received_data),
      .cfg_msg_received_type(n_cfg_msg_received_type),
      .cfg_msg_transmit(1'b0),
      .cfg_msg_transmit_type(3'd0),
      .cfg_msg_transmit_data(32'd0),
      .cfg_msg_transmit_done(n_cfg_msg_transmit_done),
      .cfg_fc_ph(n_cfg_fc_ph),
      .cfg_fc_pd(n_cfg_fc_pd),
      .cfg_fc_nph(n_cfg_fc_nph),
      .cfg_fc_npd(n_cfg_fc_npd),
      .cfg_fc_cplh(n_cfg_fc_cplh),
      .cfg_fc_cpld(n_cfg_fc_cpld),
      .cfg_fc_sel(3'd0),
      .cfg_dsn(64'd0),
      .cfg_bus_number(n_cfg_bus_number),
      .cfg_power_state_change_ack(1'b1),
      .cfg_power_state_change_interrupt(n_cfg_power_state_change_interrupt),
      .cfg_err_cor_in(1'b0),
      .cfg_err_uncor_in(1'b0),
      .cfg_flr_in_process(cfg_flr_in_process),
      .cfg_flr_done(cfg_flr_done),
      .cfg_vf_flr_in_process(n_cfg_vf_flr_in_process),
      .cfg_vf_flr_func_num(8'd0),
      .cfg_vf_flr_done(1'b0),
      .cfg_link_training_enable(1'b1),
      .cfg_interrupt_int(4'd0),
      .cfg_interrupt_pending(4'd0),
      .cfg_interrupt_sent(n_cfg_interrupt_sent),
      .cfg_interrupt_msi_sent(n_cfg_interrupt_msi_sent),
      .cfg_interrupt_msi_fail(n_cfg_interrupt_msi_fail),
      .cfg_interrupt_msi_function_number(8'd0),
      .cfg_interrupt_msix_enable(cfg_interrupt_msix_enable),
      .cfg_interrupt_msix_mask(cfg_interrupt_msix_mask),
      .cfg_interrupt_msix_vf_enable(n_cfg_interrupt_msix_vf_enable),
      .cfg_interrupt_msix_vf_mask(n_cfg_interrupt_msix_vf_mask),
      .cfg_pm_aspm_l1_entry_reject(1'b0),
      .cfg_pm_aspm_tx_l0s_entry_disable(1'b0),
      .cfg_interrupt_msix_data(32'd0),
      .cfg_interrupt_msix_address(64'd0),
      .cfg_interrupt_msix_int(1'b0),
      .cfg_interrupt_msix_vec_pending(2'd0),
      .cfg_interrupt_msix_vec_pending_status(n_cfg_interrupt_msix_vec_pending_status),
      .cfg_hot_reset_out(n_cfg_hot_reset_out),
      .cfg_config_space_enable(1'b1),
      .cfg_req_pm_transition_l23_ready(1'b0),
      .cfg_hot_reset_in(1'b0),
      .cfg_ds_port_number(8'd0),
      .cfg_ds_bus_number(8'd0),
      .cfg_ds_device_number(5'd0),
      .sys_clk(sys_clk),
      .sys_clk_gt(sys_clk_gt),
      .sys_reset(pcie_reset_n),
      .phy_rdy_out(n_phy_rdy_out)
  );

  fpga_core #(
      .DATA_W(DATA_W),
      .SETS(SETS),
      .WAYS(WAYS),
      .PARK(PARK),
      .MSHRS(MSHRS),
      .TRACK(TRACK),
      .PASIDS(PASIDS)
  ) u_core (
      .clk(clk),
      .rst(rst),
      .s_axis_cq_tdata(cq_tdata),
      .s_axis_cq_tkeep(cq_tkeep),
      .s_axis_cq_tlast(cq_tlast),
      .s_axis_cq_tuser(cq_tuser),
      .s_axis_cq_tvalid(cq_tvalid),
      .s_axis_cq_tready(cq_tready),
      .m_axis_cc_tdata(cc_tdata),
      .m_axis_cc_tkeep(cc_tkeep),
      .m_axis_cc_tlast(cc_tlast),
      .m_axis_cc_tuser(cc_tuser),
      .m_axis_cc_tvalid(cc_tvalid),
      .m_axis_cc_tready(cc_tready[0]),
      .m_axis_rq_tdata(rq_tdata),
      .m_axis_rq_tkeep(rq_tkeep),
      .m_axis_rq_tlast(rq_tlast),
      .m_axis_rq_tuser(rq_tuser),
      .m_axis_rq_tvalid(rq_tvalid),
      .m_axis_rq_tready(rq_tready[0]),
      .s_axis_rc_tdata(rc_tdata),
      .s_axis_rc_tkeep(rc_tkeep),
      .s_axis_rc_tlast(rc_tlast),
      .s_axis_rc_tuser(rc_tuser),
      .s_axis_rc_tvalid(rc_tvalid),
      .s_axis_rc_tready(rc_tready),
      .cfg_mgmt_addr(cfg_mgmt_addr),
      .cfg_mgmt_function_number(cfg_mgmt_function_number),
      .cfg_mgmt_write(cfg_mgmt_write),
      .cfg_mgmt_write_data(cfg_mgmt_write_data),
      .cfg_mgmt_byte_enable(cfg_mgmt_byte_enable),
      .cfg_mgmt_read(cfg_mgmt_read),
      .cfg_mgmt_read_data(cfg_mgmt_read_data),
      .cfg_mgmt_read_write_done(cfg_mgmt_read_write_done),
      .cfg_max_payload(cfg_max_payload),
      .cfg_max_read_req(cfg_max_read_req),
      .cfg_function_status(cfg_function_status),
      .cfg_flr_in_process(cfg_flr_in_process),
      .cfg_flr_done(cfg_flr_done),
      .cfg_interrupt_msix_enable(cfg_interrupt_msix_enable),
      .cfg_interrupt_msix_mask(cfg_interrupt_msix_mask),
      .pcie_cq_np_req(pcie_cq_np_req),
      .pcie_tfc_nph_av(pcie_tfc_nph_av)
  );

  // About twice a second at 250 MHz.
  reg [26:0] count;
  always @(posedge clk) begin
    if (rst) count <= 27'd0;
    else count <= count + 27'd1;
  end
  assign heartbeat = count[26];

  // The IP gives four copies of each ready.
  wire unused = &{
    1'b0, rq_tready[3:1], cc_tready[3:1],
    n_pcie_rq_seq_num_vld0, n_pcie_rq_seq_num_vld1, n_pcie_rq_tag_vld0, n_pcie_rq_tag_vld1, n_cfg_phy_link_down,
    n_cfg_err_cor_out, n_cfg_err_nonfatal_out, n_cfg_err_fatal_out, n_cfg_local_error_valid, n_cfg_pl_status_change,
    n_cfg_msg_received, n_cfg_msg_transmit_done, n_cfg_power_state_change_interrupt, n_cfg_interrupt_sent,
    n_cfg_interrupt_msi_sent, n_cfg_interrupt_msi_fail, n_cfg_interrupt_msix_vec_pending_status, n_cfg_hot_reset_out,
    n_phy_rdy_out, n_cfg_phy_link_status, n_cfg_current_speed, n_cfg_link_power_state, n_cfg_rx_pm_state,
    n_cfg_tx_pm_state, n_cfg_obff_enable, n_cfg_negotiated_width, n_pcie_rq_tag_av, n_pcie_tfc_npd_av,
    n_cfg_rcb_status, n_cfg_tph_requester_enable, n_cfg_local_error_out, n_cfg_msg_received_type, n_pcie_rq_seq_num0,
    n_pcie_rq_seq_num1, n_pcie_cq_np_req_count, n_cfg_ltssm_state, n_pcie_rq_tag0, n_pcie_rq_tag1,
    n_cfg_msg_received_data, n_cfg_fc_ph, n_cfg_fc_nph, n_cfg_fc_cplh, n_cfg_bus_number, n_cfg_function_power_state,
    n_cfg_tph_st_mode, n_cfg_fc_pd, n_cfg_fc_npd, n_cfg_fc_cpld, n_cfg_vf_tph_requester_enable,
    n_cfg_vf_flr_in_process, n_cfg_interrupt_msix_vf_enable, n_cfg_interrupt_msix_vf_mask, n_cfg_vf_status,
    n_cfg_vf_power_state, n_cfg_vf_tph_st_mode
  };

endmodule

`default_nettype wire
