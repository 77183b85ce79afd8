"""Makes a failing schedule short: the fewest context switches with which the same failure shows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from sw_model.explore.config import Config, configs, mutants
from sw_model.explore.runner import Outcome, execute
from sw_model.explore.strategies import Choices, pieces_of

Pieces = list[tuple[int, int]]
#: steps of all runs of one descent: livelocks are long
STEPS = 500_000


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


def _simpler(pieces: Pieces, choices: list[int]) -> Iterator[tuple[Pieces, list[int]]]:
    """What to try instead: simpler pieces, then simpler choices that are no thread's."""
    for cand in _candidates(pieces):
        if any(choices):
            yield cand, []
        yield cand, choices
    for i in range(len(choices)):
        yield pieces, choices[:i] + choices[i + 1 :]
        if choices[i]:
            yield pieces, [*choices[:i], 0, *choices[i + 1 :]]


def shrink(
    name: str,
    out: Outcome,
    mutant: str | None = None,
    budget: int = 5000,
    run: Callable[[Config, Choices], Outcome] = execute,
) -> Outcome:
    """A run of at most as many context switches that fails in the same kind; `out` itself at worst.

    Greedy descent over the pieces of the choice list, and over the choices that are no thread's. `budget`
    bounds the number of runs, and STEPS those of all of them; `run` runs one.
    """
    config = configs()[name]
    shows = mutants()[mutant].shows if mutant else ""
    assert out.kind is not None
    best, steps = out, STEPS
    with mutants()[mutant].on() if mutant else contextlib.nullcontext():
        progress = True
        while progress:
            progress = False
            for pieces, choices in _simpler(pieces_of(best.ids), best.device):
                if budget <= 0 or steps <= 0:
                    return best
                budget -= 1
                new = run(config, Choices(pieces, choices))
                steps -= len(new.ids)
                if new.kind == out.kind and shows in new.text and _cost(new) < _cost(best):
                    best, progress = new, True
                    break
    return best
