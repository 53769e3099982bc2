"""EMS (2412.08521): what is evicted can be merged into what stays, at the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Limit, Paper
from ._tasks import RECALL, TEXT

if TYPE_CHECKING:
    from ...studies.study import Number
    from ..found import Found

LINE, EVICTED = "ems(budget=64tok)", "ems(budget=64tok, merge_ratio=0)"
LOCAL = "window(window=65)"  # entries held: 64
SLIVER = "ems(budget=20tok, window_size=8)"  # 2% of 1,024 tokens


def text(found: Found) -> Mapping[str, Number]:
    return {
        "change of perplexity against eviction alone": found.change("nll", LINE, EVICTED),
        "change of perplexity against a window": found.change("nll", LINE, LOCAL),
        "change of perplexity against dense": found.change("nll", LINE),
    }


def needles(found: Found) -> Mapping[str, Number]:
    return {
        "change of recall at 20 tokens": found.change("recall", SLIVER),
        "dense recall": found.mean("recall"),
        "cache held": found.held(SLIVER),
    }


PAPER = Paper(
    title="EMS: Adaptive Evict-then-Merge Strategy for Head-wise KV Cache Compression Based on Global-Local Importance",
    arxiv=("2412.08521",),
    family="cache",
    methods=("ems",),
    claims=(
        Claim(
            says="Merging on top of eviction gives the lowest perplexity at every budget.",
            metric="perplexity",
            setting="caches of a few hundred tokens",
            size="Llama-2-7B, Llama-3-8B, Mistral-7B, LongChat-7B",
            figure="below all methods compared; 1.28 points and more above them on LongBench at 256 tokens",
            section="abstract; experiments",
            experiment=Bench(recipes=(LINE, EVICTED, LOCAL), tasks=(TEXT,), measure=text),
            limits=(
                Limit(number="change of perplexity against eviction alone", at_most=0, expected=-2),
                Limit(number="change of perplexity against a window", at_most=0, expected=-10),
            ),
            also=("change of perplexity against dense",),
        ),
        Claim(
            says="A needle is still found when under 2% of the cache is left.",
            metric="retrieval of a planted sentence",
            setting="Needle in a Haystack",
            size="7B and 8B models",
            figure="95% of retrieval kept",
            section="abstract; needle experiments",
            experiment=Bench(recipes=(SLIVER,), tasks=(RECALL,), measure=needles),
            limits=(
                Limit(number="change of recall at 20 tokens", at_least=-5, expected=-2),
                Limit(number="cache held", at_most=3, expected=2),
            ),
            needs=(Limit(number="dense recall", at_least=80, expected=100),),
        ),
    ),
)
