"""Which pairs of methods stand together on a tiny model; `make pairs` puts every one of them before laws 1 and 3.

    python -m tests.contract.pairs                # all that compose, on a tiny Llama: ten minutes of one core
    python -m tests.contract.pairs --minutes 5    # a part of them, drawn by --seed

What was run and what broke is written to results/pairs.json, with the date. The exit code is 1 where a law was broken.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from paretolm.recipes.recipe import Recipe, recipe

from . import laws
from .discovery import NAMES, SPECS
from .tiny import tiny

ARCHITECTURE = "llama"
VIEW = tiny(ARCHITECTURE).view
PAIRS = list(combinations(NAMES, 2))
RESULT = Path(__file__).parents[2] / "results" / "pairs.json"

Pair = tuple[str, str]


def together(kind: str, a: str, b: str) -> Recipe | None:
    """kind: 'neutral' or 'acts'; None where one of the two has no such setting."""
    lines = [getattr(SPECS[name], kind) for name in (a, b)]
    return recipe(" + ".join(lines)) if all(lines) else None


def accepted(pairs: Iterable[Pair]) -> list[Pair]:
    return [(a, b) for a, b in pairs if not recipe(f"{SPECS[a].acts} + {SPECS[b].acts}").check(VIEW)]


@dataclass
class Ran:
    """neutral: pairs of which both have a neutral setting, and law 1 was tried. broken: pair -> law -> why."""

    pairs: list[str] = field(default_factory=list)
    neutral: int = 0
    broken: dict[str, dict[str, str]] = field(default_factory=dict)

    def try_pair(self, a: str, b: str) -> None:
        quiet, both = together("neutral", a, b), together("acts", a, b)
        assert both is not None
        found = {"3 undo": why(laws.undo, both)}
        if quiet is not None:
            self.neutral += 1
            found["1 neutral"] = why(laws.neutral, quiet)
        broken = {law: reason for law, reason in found.items() if reason}
        self.pairs.append(f"{a} + {b}")
        if broken:
            self.broken[f"{a} + {b}"] = broken
            print(f"\r{a} + {b}: {broken}", file=sys.stderr)


def why(law: Callable[..., str | None], asked: Recipe) -> str | None:
    """How the law is broken; an exception breaks it too."""
    try:
        return law(asked, ARCHITECTURE)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def run(pairs: list[Pair], minutes: float) -> Ran:
    ran, start = Ran(), time.monotonic()
    for number, (a, b) in enumerate(pairs, 1):
        if time.monotonic() - start > 60 * minutes:
            break
        ran.try_pair(a, b)
        print(f"\r{number} of {len(pairs)} pairs, {len(ran.broken)} broken ", end="", file=sys.stderr)
    print(file=sys.stderr)
    return ran


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--seed", type=int, default=0, help="of the order")
    parser.add_argument("-o", "--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.use_deterministic_algorithms(True)  # as in every test: fresh memory is NaN
    composing = accepted(PAIRS)
    random.Random(options.seed).shuffle(composing)
    ran = run(composing, options.minutes)
    write(options.out, record(ran, composing, options.seed))
    print(f"{len(ran.pairs)} of {len(composing)} composing pairs run, {len(ran.broken)} broken: {options.out}")
    return 1 if ran.broken else 0


def record(ran: Ran, composing: list[Pair], seed: int) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "architecture": ARCHITECTURE,
        "methods": len(NAMES),
        "pairs": len(PAIRS),
        "composing": len(composing),
        "order": f"shuffled, seed {seed}",
        "run": len(ran.pairs),
        "law 3 undo": len(ran.pairs),
        "law 1 neutral": ran.neutral,
        "broken": dict(sorted(ran.broken.items())),
        "pairs_run": sorted(ran.pairs),
    }


def write(path: Path, found: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main())
