"""StreamingLLM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Limit, Paper

if TYPE_CHECKING:
    from ...studies.study import Number
    from ..found import Found

WINDOW = "window(window=1024)"
SINKS = "streaming-llm(sinks=4, window=1020)"


def measure(found: Found) -> Mapping[str, Number]:
    return {
        "perplexity, change from dense": found.change("nll", SINKS),
        "perplexity, change from plain window": found.change("nll", SINKS, WINDOW),
        "cache held": found.held(SINKS),
    }


FAR = Bench(
    recipes=(WINDOW, SINKS),
    tasks=("perplexity(length=4096, streams=1, documents=24, audit=0)",),
    measure=measure,
)

PAPER = Paper(
    title="Efficient Streaming Language Models with Attention Sinks",
    arxiv=("2309.17453",),
    family="cache",
    methods=("streaming-llm",),
    claims=(
        Claim(
            says="A window without the first tokens collapses; four of them held beside it cure that.",
            metric="perplexity",
            setting="the first 20k tokens of PG19, cache of 1024",
            size="Llama-2-13B",
            figure="5,158 falls to 5.40",
            section="table 1",
            experiment=FAR,
            limits=(Limit(number="perplexity, change from plain window", at_most=-50, expected=-99),),
            also=("cache held",),
        ),
    ),
)
