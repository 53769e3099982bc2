"""How much of a text says what it said before: tokens in, shares out."""

from __future__ import annotations

from collections.abc import Sequence


def repeated(tokens: Sequence[int], n: int) -> float:
    """Share of runs of n tokens that stood there before (rep-n of Welleck et al. 2020); 0 of a text too short."""
    runs = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def diversity(tokens: Sequence[int]) -> float:
    """(1 - rep-2) (1 - rep-3) (1 - rep-4), as Su et al. 2022 have it."""
    return (1 - repeated(tokens, 2)) * (1 - repeated(tokens, 3)) * (1 - repeated(tokens, 4))
