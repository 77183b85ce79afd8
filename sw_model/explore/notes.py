"""What a model says about itself while it runs, for timelines. Costs nothing when nobody listens."""

from __future__ import annotations

#: receives (thread id, text, True) while a run is traced
sink: list[tuple[int, str, bool]] | None = None
#: id of the thread that runs, while a run is traced
thread = -1


def note(text: str) -> None:
    """Add a line to the timeline of the run."""
    if sink is not None:
        sink.append((thread, text, True))
