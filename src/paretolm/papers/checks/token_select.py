"""TokenSelect (2411.02886): single tokens, voted for by all heads, and the same ones while queries stay alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Limit, Paper
from ._selecting import SPEED
from ._tasks import RECALL, TEXT

if TYPE_CHECKING:
    from ...studies.study import Number
    from ..found import Found

OURS, REUSED = (f"token-select(budget=12%, n_init=4, n_local=16{more})" for more in (", threshold=1", ""))
PAGES = "quest(budget=12%, page_size=16, dense_layers=0)"


def measure(found: Found) -> Mapping[str, Number]:
    from ..numbers import exact

    made, again = (
        sum(found.counted(REUSED, "token-select", f"selections_{name}").values()) for name in ("made", "reused")
    )
    return {
        "change of perplexity": found.change("nll", OURS),
        "perplexity against pages": found.change("nll", OURS, PAGES),
        "change of perplexity by reuse": found.change("nll", REUSED, OURS),
        "choices used again": exact(100 * again / (made + again), "%"),
    }


def recall(found: Found) -> Mapping[str, Number]:
    return {"change of recall": found.change("recall", OURS), "dense recall": found.mean("recall")}


QUALITY = Bench(recipes=(OURS, REUSED, PAGES), tasks=(TEXT,), measure=measure)
PROMPTS = Bench(recipes=(OURS,), tasks=(RECALL,), measure=recall)

PAPER = Paper(
    title="TokenSelect: Efficient Long-Context Inference and Length Extrapolation for LLMs via Dynamic Token-Level KV "
    "Cache Selection",
    arxiv=("2411.02886",),
    family="cache",
    methods=("token-select",),
    claims=(
        Claim(
            says="A small part of the cache, chosen token by token, is as good as all of it.",
            metric="task scores",
            setting="InfiniteBench, RULER and LongBench with 2 thousand tokens chosen",
            size="Qwen2-7B, Llama-3-8B, Yi-1.5-6B",
            figure="at or above full attention",
            section="abstract; experiments",
            experiment=QUALITY,
            limits=(Limit(number="change of perplexity", at_most=3, expected=1),),
        ),
        Claim(
            says="What was said anywhere in the text is still found.",
            metric="retrieval accuracy",
            setting="retrieval in InfiniteBench and RULER with 2 thousand tokens chosen; here 12% of a text",
            size="Qwen2-7B, Llama-3-8B, Yi-1.5-6B",
            figure="at or above full attention",
            section="experiments",
            experiment=PROMPTS,
            limits=(Limit(number="change of recall", at_least=-10, expected=0),),
            needs=(Limit(number="dense recall", at_least=80, expected=100),),
        ),
        Claim(
            says="Tokens are a better unit than pages or blocks.",
            metric="task scores at equal budget",
            setting="against InfLLM's blocks, and QUEST's pages in the analysis",
            size="Qwen2-7B, Llama-3-8B, Yi-1.5-6B",
            figure="clearly above",
            section="introduction; experiments",
            experiment=QUALITY,
            limits=(Limit(number="perplexity against pages", at_most=0, expected=-2),),
        ),
        Claim(
            says="Consecutive queries are so alike that a choice can be used again at no cost.",
            metric="task scores; share of steps that choose anew",
            setting="selection cache with a similarity of 0.9",
            size="Qwen2-7B",
            figure="almost no loss",
            section="selection cache; ablation",
            experiment=QUALITY,
            limits=(
                Limit(number="change of perplexity by reuse", at_most=1, expected=0.3),
                Limit(number="choices used again", at_least=10, expected=50),
            ),
        ),
        Claim(
            says="Attention is many times as fast as over the whole cache.",
            metric="speed of attention and of decoding",
            setting="up to 1 million tokens, one A100; here 4 thousand, on a CPU",
            size="Qwen2-7B",
            figure="up to 23.84 times in attention, 2.28 times end to end",
            section="abstract; efficiency",
            experiment=SPEED,
            limits=(
                Limit(number="token-select, speed over dense", at_least=1, expected=2.28),
                Limit(number="token-select, speed over dense", at_least=2.28, expected=2.28),
            ),
        ),
    ),
)
