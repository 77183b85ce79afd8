"""Systematic concurrency testing of the host model: every schedule can be chosen, recorded and repeated.

`strategies` choose the next thread, `dpor` enumerates what differs, `runner` runs one schedule, `shrink`
makes a failure short, `timeline` prints it. `configs/` holds what is explored, `mutants/` the bugs put back.
"""
