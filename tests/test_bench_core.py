"""Every figure of dmmu_core that has a bar meets it."""

from __future__ import annotations

from tb import bench_core


def test_core_figures_meet_their_bars() -> None:
    figures = bench_core.measure()
    missed = [
        f"{what}: {value}, bar {bar}" for what, value, bar, _, met in bench_core.rows(figures) if not met
    ]
    assert not missed, "\n".join(missed)
