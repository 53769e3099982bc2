"""Recycled Attention (2411.05787): what one full step attends to serves the next ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Limit, Paper
from ._selecting import SPEED
from ._tasks import RECALL, TEXT

if TYPE_CHECKING:
    from ...studies.study import Number
    from ..found import Found

# entries read by a cheap step: 204 at most by each
OURS, LOCAL, HEAVY = (
    "recycled-attention(budget=194tok, stride=10)", "streaming-llm(sinks=4, window=200)", "h2o(budget=204tok)",
)  # fmt: skip
SELDOM, DYNAMIC = (f"recycled-attention(budget=194tok, stride=50{more})" for more in ("", ", similarity=0.8"))


def measure(found: Found) -> Mapping[str, Number]:
    numbers = {"dense recall": found.mean("recall", task=RECALL), "recall": found.mean("recall", OURS, RECALL)}
    for name, line in (("sinks and window", LOCAL), ("accumulated attention", HEAVY)):
        numbers[f"perplexity against {name}"] = found.change("nll", OURS, line, TEXT)
        numbers[f"recall against {name}"] = found.change("recall", OURS, line, RECALL)
    numbers["recall of sinks and window"] = found.mean("recall", LOCAL, RECALL)
    numbers["change of perplexity"] = found.change("nll", OURS, task=TEXT)
    return numbers


def dynamic(found: Found) -> Mapping[str, Number]:
    from ..numbers import exact

    unread = [sum(found.counted(line, "recycled-attention", "entries_unread").values()) for line in (DYNAMIC, SELDOM)]
    return {
        "perplexity of the dynamic schedule against a fixed one": found.change("nll", DYNAMIC, SELDOM),
        "entries the dynamic schedule leaves unread, of the fixed one's": exact(100 * unread[0] / unread[1], "%"),
    }


QUALITY = Bench(recipes=(OURS, LOCAL, HEAVY), tasks=(TEXT, RECALL), measure=measure)
SCHEDULES = Bench(recipes=(SELDOM, DYNAMIC), tasks=(TEXT,), measure=dynamic)
ABLE = (Limit(number="dense recall", at_least=80, expected=100),)

PAPER = Paper(
    title="Recycled Attention: Efficient inference for long-context language models",
    arxiv=("2411.05787",),
    family="attention",
    methods=("recycled-attention",),
    claims=(
        Claim(
            says="It is far better than methods that see local context or heavy hitters alone, at the same cost.",
            metric="task accuracy; perplexity",
            setting="RULER at 32 thousand tokens, against StreamingLLM and H2O of equal cache",
            size="Llama-3.1-8B, Qwen-2-7B",
            figure="twice their accuracy on RULER",
            section="abstract; experiments on RULER and language modelling",
            experiment=QUALITY,
            limits=(
                Limit(number="perplexity against sinks and window", at_most=0, expected=-5),
                Limit(number="recall against sinks and window", at_least=0, expected=50),
                Limit(number="perplexity against accumulated attention", at_most=0, expected=-3),
                Limit(number="recall against accumulated attention", at_least=0, expected=30),
            ),
            needs=ABLE,
            also=("recall", "recall of sinks and window", "change of perplexity"),
        ),
        Claim(
            says="Full steps where queries have changed are better spent than full steps at fixed times.",
            metric="perplexity and accuracy beside the time they take",
            setting="a dynamic schedule by the similarity of queries, here on top of a stride of 50",
            size="Llama-3.1-8B, Qwen-2-7B",
            figure="a better trade of quality for time",
            section="experiments on dynamic scheduling",
            experiment=SCHEDULES,
            limits=(
                Limit(number="perplexity of the dynamic schedule against a fixed one", at_most=0, expected=-2),
                Limit(
                    number="entries the dynamic schedule leaves unread, of the fixed one's", at_least=50, expected=80
                ),
            ),
        ),
        Claim(
            says="Decoding is as fast as with local context alone, and faster than with all of it.",
            metric="decoding speed",
            setting="32 thousand tokens, one GPU; here 4 thousand, on a CPU",
            size="Llama-3.1-8B, Qwen-2-7B",
            figure="comparable to methods that see local context",
            section="abstract",
            experiment=SPEED,
            limits=(
                Limit(number="recycled-attention, speed over dense", at_least=1, expected=2),
                Limit(number="recycled-attention, speed over sinks + window", at_least=0.8, expected=1),
            ),
        ),
    ),
)
