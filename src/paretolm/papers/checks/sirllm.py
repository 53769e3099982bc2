"""SirLLM (2405.12528): what surprised the model is remembered long after a window would have lost it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Limit, Paper
from ._tasks import RECALL, TEXT
from ._twice import at, longest, over_twice

if TYPE_CHECKING:
    from ...studies.study import Number
    from ..found import Found

LINE = "sirllm(start_size=4, token_entropy_size=92, recent_size=32)"
WINDOW = "streaming-llm(sinks=4, window=125)"  # entries held: 128 each
OUT = 0.75  # depth of the last fact that has left a window of an eighth of the text


def measure(found: Found) -> Mapping[str, Number]:
    length = longest(found, RECALL)

    def gone(recipe: str) -> Number:
        return found.mean("recall", recipe, RECALL, lambda row: at(row, length, OUT))

    return {
        "recall of what left the window": gone(LINE),
        "recall of it by sinks and window": gone(WINDOW),
        "recall of it, dense": gone("dense"),
        "recall of it less twice that of sinks and window": over_twice(found, LINE, WINDOW, RECALL, length, OUT),
        "change of perplexity against sinks and window": found.change("nll", LINE, WINDOW, task=TEXT),
        "cache held against sinks and window": found.held(LINE, WINDOW, task=RECALL),
    }


STREAMS = Bench(recipes=(LINE, WINDOW), tasks=(RECALL, TEXT), measure=measure)

PAPER = Paper(
    title="SirLLM: Streaming Infinite Retentive LLM",
    arxiv=("2405.12528",),
    family="cache",
    methods=("sirllm",),
    claims=(
        Claim(
            says="Key phrases are remembered over many windows of dialogue, where sinks and a window forget them.",
            metric="accuracy on questions about what was said long ago",
            setting="Grocery Shopping, DailyDialog, Rock-Paper-Scissors, caches of 512 to 1,024 tokens",
            size="Yi-6B, Vicuna-7B and others",
            figure="above StreamingLLM on all three tasks",
            section="abstract; experiments",
            experiment=STREAMS,
            limits=(Limit(number="recall of it less twice that of sinks and window", at_least=0, expected=30),),
            needs=(Limit(number="recall of it, dense", at_least=80, expected=100),),
            also=("recall of what left the window", "recall of it by sinks and window"),
        ),
        Claim(
            says="Remembering costs the stream hardly any quality, at a cache of the same size.",
            metric="perplexity; bytes of the cache",
            setting="dialogue without end",
            size="Yi-6B, Vicuna-7B",
            figure="stable generation at the cache size of StreamingLLM",
            section="experiments",
            experiment=STREAMS,
            limits=(
                Limit(number="change of perplexity against sinks and window", at_most=5, expected=0),
                Limit(number="cache held against sinks and window", at_most=100, expected=100),
            ),
        ),
    ),
)
