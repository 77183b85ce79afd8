"""Makes a failing schedule short: the fewest context switches with which the same failure shows."""

from __future__ import annotations

import contextlib

from sw_model.explore.config import Config, configs, mutants
from sw_model.explore.runner import Outcome, execute
from sw_model.explore.strategies import Choices, pieces_of

Pieces = list[tuple[int, int]]


def _try(config: Config, pieces: Pieces, device: list[int], kind: str, shows: str) -> Outcome | None:
    out = execute(config, Choices(pieces, device))
    return out if out.kind == kind and shows in out.text else None


def _cost(out: Outcome) -> tuple[int, int, int]:
    return out.switches, len(out.ids), sum(map(bool, out.device))


def _candidates(pieces: Pieces) -> list[Pieces]:
    """Simpler lists of choices: pieces left out, pieces brought together, pieces lengthened, the end cut."""
    out = [pieces[:i] for i in range(len(pieces))]
    for width in (4, 2, 1):
        out += [pieces[:i] + pieces[i + width :] for i in range(len(pieces) - width + 1)]
    for i in range(len(pieces) - 2):
        for j in range(i + 1, len(pieces)):
            if pieces[j][0] == pieces[i][0]:
                merged = (pieces[i][0], pieces[i][1] + pieces[j][1])
                out.append([*pieces[:i], merged, *pieces[i + 1 : j], *pieces[j + 1 :]])
                out.append([*pieces[:i], *pieces[i + 1 : j], merged, *pieces[j + 1 :]])
                break
    for i, (t, _) in enumerate(pieces):
        # Until the thread sleeps or ends.
        out.append([*pieces[:i], (t, 1 << 20), *pieces[i + 1 :]])
    return out


def shrink(name: str, out: Outcome, mutant: str | None = None, budget: int = 5000) -> Outcome:
    """A run of at most as many context switches that fails in the same kind; `out` itself at worst.

    Greedy descent over the pieces of the choice list, then a look whether one piece moved elsewhere helps.
    `budget` bounds the number of runs.
    """
    config = configs()[name]
    shows = mutants()[mutant].shows if mutant else ""
    assert out.kind is not None
    best = out
    with mutants()[mutant].on() if mutant else contextlib.nullcontext():
        progress = True
        while progress and budget > 0:
            progress = False
            pieces = pieces_of(best.ids)
            devices = [best.device]
            if any(best.device):
                devices.insert(0, [])
            for cand in _candidates(pieces):
                for device in devices:
                    budget -= 1
                    new = _try(config, cand, device, out.kind, shows)
                    if new is not None and _cost(new) < _cost(best):
                        best, progress = new, True
                        break
                if progress or budget <= 0:
                    break
    return best
