"""A run as text: a column for each thread, device events marked."""

from __future__ import annotations

from sw_model.explore.runner import Outcome

_WIDTH = 30


def render(out: Outcome) -> str:
    """The steps of a traced run, one line each, and how it ended. `*` marks what the model reports."""
    order = sorted(out.names)
    lines = ["step  " + "".join(f"{out.names[t]:<{_WIDTH}}" for t in order).rstrip()]
    n = 0
    last = None
    for tid, what, is_note in out.events:
        if tid not in order:
            continue
        column = order.index(tid)
        mark = "* " if is_note else ""
        head = "    "
        if not is_note:
            n += 1
            head = f"{n:4}"
            if last is not None and tid != last:
                lines.append("")
            last = tid
        lines.append(f"{head}  " + " " * (_WIDTH * column) + mark + what)
    lines.append("")
    lines.append(f"{out.kind}: {out.text}" if out.kind else "no failure")
    lines.append(f"{len(out.ids)} steps, {out.switches} context switches")
    return "\n".join(lines)
