# Identity and BAR of the function, the same on every board. The host's driver checks them (sw_model/vfio.py), and
# the tests compare them with interface/device.toml and the RTL. IDs are four hexadecimal digits, offsets bytes.

# 1234 is nobody's vendor ID; a product needs its own.
set vendor_id 1234
set device_id 5d31
set revision_id 01
# Processing accelerator.
set class_code 120000

# BAR0: 32-bit, not prefetchable (reading a counter latches its upper half).
set bar0_kib 16
set msix_vectors 4
set msix_table_offset 0x3000
set msix_pba_offset 0x3800
