"""Recall of planted facts within the trained length: by phrasing, number of facts and depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..evaluation.rows import Row
from ..evaluation.source import TextSource
from ..evaluation.tasks.context.recall import Recall
from .judged import judged, share
from .scoring import Tell, silent

if TYPE_CHECKING:
    from ..bridge.lm import LM

KINDS = ("literal", "paraphrased")
NUM_FACTS = (1, 2, 4)
LENGTHS = (0.5, 1.0)
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
_ROOM = 512  # trained length from which half of it has room for every fact


def recall(
    lm: LM,
    source: TextSource,
    trials: int,
    tell: Tell = silent,
    *,
    kinds: Sequence[str] = KINDS,
    num_facts: Sequence[int] = NUM_FACTS,
    seed: int = 0,
) -> dict[str, Any]:
    """About `trials` questions a phrasing and number of facts, spread evenly over depths and lengths of text.

    The interval speaks of other facts, not of other texts: the same documents serve several questions."""
    lengths = LENGTHS if lm.view.trained_length >= _ROOM else LENGTHS[-1:]
    repeats = max(1, round(trials / (len(DEPTHS) * len(lengths))))
    task = Recall(
        lengths=lengths, depths=DEPTHS, num_facts=tuple(num_facts), kinds=tuple(kinds), repeats=repeats, seed=seed
    )
    rows = [r for r in judged(lm, task, source, tell) if r.metric == "recall"]
    cells = [
        {"kind": kind, "num_facts": num, **_share(of), "by_depth": [_share(_at(of, depth=d)) for d in DEPTHS]}
        for kind in kinds
        for num in num_facts
        if (of := _at(rows, kind=kind, num_facts=num))
    ]
    return {"lengths": list(lengths), "depths": list(DEPTHS), "cells": cells}


def _at(rows: Sequence[Row], **tags: float | str) -> list[Row]:
    return [r for r in rows if all(r.tags[name] == value for name, value in tags.items())]


def _share(rows: Sequence[Row]) -> dict[str, Any]:
    return share(int(sum(r.value for r in rows)), len(rows))
