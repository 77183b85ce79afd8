"""`make soak`: replays under random seeds and settings until interrupted or until one fails.

Each run is one line that runs again by itself; a failing one ends the soak with its report and status 1.
"""

from __future__ import annotations

import argparse
import random
import shlex
import sys

from tb import run_sim
from tb.tools import ROOT


def settings(seed: int, limit: int) -> list[str]:
    """Arguments of run_sim for a seed; they depend on nothing else."""
    rng = random.Random(seed)
    return [
        *("--seed", str(seed)),
        *("--trace", str(rng.choice(sorted((ROOT / "traces").glob("*.svmt"))).relative_to(ROOT))),
        *("--pressure", str(rng.randint(0, 4))),
        *("--mirror", rng.choice(["interval", "mirror"])),
        *("--config", rng.choice(["fast", "default", "stress"])),
        *("--device", rng.choice(["default", "small"])),
        *("--processes", str(rng.randint(1, 4))),
        *("--memory", str(rng.choice([32, 64, 128]))),
        *("--limit", str(limit)),
        *("--flavour", "plain"),
        *("--out", "build/soak"),
    ]


def main(argv: list[str] | None = None) -> int:
    """Command line; the exit status."""
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--seed", type=int, help="first seed; random when not given, then counted up")
    ap.add_argument("--runs", type=int, default=0, help="0 is until interrupted")
    ap.add_argument("--limit", type=int, default=20000, help="accesses of each process")
    a = ap.parse_args(argv)
    seed = a.seed if a.seed is not None else random.SystemRandom().randrange(1 << 31)
    done = 0
    try:
        while not a.runs or done < a.runs:
            args = settings(seed + done, a.limit)
            print(f".venv/bin/python -m tb.run_sim {shlex.join(args)}", flush=True)
            if run_sim.main(args):
                return 1
            done += 1
    except KeyboardInterrupt:
        pass
    print(f"{done} runs passed, seeds {seed} to {seed + done - 1}" if done else "no run finished")
    return 0


if __name__ == "__main__":
    sys.exit(main())
