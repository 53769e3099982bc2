"""Token Recycling (2408.08696): runner-up tokens of earlier steps as drafts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..claim import Claim, Direct, Limit, Paper

if TYPE_CHECKING:
    from ...studies.study import Findings, Number, Place

LINE = "token-recycling"
PROMPTS, LENGTH, NEW = 30, 64, 96


def race(at: Place) -> Findings:
    """Greedy continuations of the same prompts, plain and with drafts in turns."""
    from ...evaluation.streams import build
    from ...recipes.recipe import Recipe
    from ...recipes.session import Session
    from ...studies.study import Findings

    lm = at.load(at.models[0])
    streams = build(at.source, lm, LENGTH, PROMPTS, per_document=LENGTH, seed=0)
    rows = []
    with Session.open(at.load(at.models[0]), Recipe()) as plain, Session.open(lm, Recipe.parse(LINE)) as drafted:
        arms = {"plain": plain, "drafted": drafted}
        for number, stream in enumerate(streams):
            row: dict[str, object] = {"text": stream.id}
            for name in arms if number % 2 else reversed(arms):
                start = time.perf_counter()
                made = arms[name].generate(stream.ids, max_new_tokens=NEW)
                row[name] = {
                    "seconds": time.perf_counter() - start,
                    "ids": made.ids.tolist(),
                    "forwards": made.forwards,
                }
            rows.append(row)
        size = Recipe.parse(LINE).cost(lm.view, LENGTH).index_bytes
    return Findings(numbers=_numbers(rows, size.high), rows=rows)


def _numbers(rows: Sequence[Mapping[str, Any]], size: float) -> dict[str, Number]:
    from ..numbers import exact, mean, median, share

    names = [row["text"] for row in rows]
    yields = [(len(r["drafted"]["ids"]) - 1) / (r["drafted"]["forwards"] - 1) for r in rows]  # the prompt makes one
    return {
        "continuations equal to greedy": share([r["plain"]["ids"] == r["drafted"]["ids"] for r in rows], names),
        "tokens a forward": mean(yields, names),
        "decoding speed over plain": median([r["plain"]["seconds"] / r["drafted"]["seconds"] for r in rows]),
        "matrix of successors": exact(size / 2**20, "MiB"),
    }


RACE = Direct(work=race, uses=("methods/decode",))

PAPER = Paper(
    title="Turning Trash into Treasure: Accelerating Inference of Large Language Models with Token Recycling",
    arxiv=("2408.08696",),
    family="speculative",
    methods=("token-recycling",),
    claims=(
        Claim(
            says="Drafts from earlier runner-ups change nothing of greedy output.",
            metric="equality of the text",
            setting="greedy decoding",
            size="Vicuna and Code Llama, 7B to 34B",
            figure="lossless",
            section="section 3",
            experiment=RACE,
            limits=(Limit(number="continuations equal to greedy", at_least=85, expected=100),),
        ),
        Claim(
            says="Each forward yields well over one token.",
            metric="mean accepted tokens a step",
            setting="Spec-Bench and MBPP, trees of 80 nodes; here 15",
            size="Vicuna and Code Llama, 7B to 34B",
            figure="about 2.7 to 3",
            section="abstract; main results",
            experiment=RACE,
            limits=(
                Limit(number="tokens a forward", at_least=1.5, expected=2.7),
                Limit(number="tokens a forward", at_least=2.7, expected=2.7),
            ),
        ),
        Claim(
            says="Decoding is about twice as fast.",
            metric="wall-clock speed over plain decoding",
            setting="Spec-Bench and MBPP on one A100; here one CPU thread",
            size="Vicuna and Code Llama, 7B to 34B",
            figure="about 2 times",
            section="abstract; main results",
            experiment=RACE,
            limits=(
                Limit(number="decoding speed over plain", at_least=1, expected=2),
                Limit(number="decoding speed over plain", at_least=1.8, expected=2),
            ),
        ),
        Claim(
            says="It needs next to no storage.",
            metric="bytes beside model and cache",
            setting="8 successors a token",
            size="vocabulary of 32 thousand",
            figure="below 2 MB",
            section="abstract",
            experiment=RACE,
            limits=(Limit(number="matrix of successors", at_most=2, expected=0.25),),
        ),
    ),
)
