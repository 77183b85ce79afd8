"""The schedule explorer over the Verilated device: same driver, same schedules, the RTL below."""
