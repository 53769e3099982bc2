"""ThinK (2407.21018): four in ten channels of the keys can go, if the queries say which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Limit, Paper
from ._tasks import RECALL, TEXT

if TYPE_CHECKING:
    from ...studies.study import Number
    from ..found import Found

THIN, MAGNITUDE, RANDOM = (f"think(ratio=0.4{more})" for more in ("", ", criterion=magnitude", ", criterion=random"))
EVICTED = "snapkv(budget=25%)"
BOTH = f"{EVICTED} + think(ratio=0.5)"


def quality(found: Found) -> Mapping[str, Number]:
    return {
        "change of perplexity at 40%": found.change("nll", THIN),
        "change of perplexity against magnitude": found.change("nll", THIN, MAGNITUDE),
        "change of perplexity against random": found.change("nll", THIN, RANDOM),
        "cache held at 40%": found.held(THIN),
    }


def beside(found: Found) -> Mapping[str, Number]:
    return {
        "change of recall at 40%": found.change("recall", THIN),
        "cache held beside eviction, of eviction alone": found.held(BOTH, EVICTED),
        "change of recall beside eviction, against eviction alone": found.change("recall", BOTH, EVICTED),
        "dense recall": found.mean("recall"),
    }


TEXTS = Bench(recipes=(THIN, MAGNITUDE, RANDOM), tasks=(TEXT,), measure=quality)
FACTS = Bench(recipes=(THIN, EVICTED, BOTH), tasks=(RECALL,), measure=beside)
ABLE = (Limit(number="dense recall", at_least=80, expected=100),)

PAPER = Paper(
    title="ThinK: Thinner Key Cache by Query-Driven Pruning",
    arxiv=("2407.21018",),
    family="cache",
    methods=("think",),
    claims=(
        Claim(
            says="Four in ten channels of the keys go at hardly any loss.",
            metric="task scores",
            setting="LongBench and Needle in a Haystack, on top of SnapKV and H2O",
            size="Llama-3-8B, Mistral-7B",
            figure="comparable scores at 40%",
            section="experiments on LongBench",
            experiment=TEXTS,
            limits=(Limit(number="change of perplexity at 40%", at_most=5, expected=1),),
            also=("cache held at 40%",),
        ),
        Claim(
            says="A planted fact is still found.",
            metric="needle score",
            setting="Needle in a Haystack at 40%",
            size="Llama-3-8B, Mistral-7B",
            figure="comparable",
            section="experiments on needles",
            experiment=FACTS,
            limits=(Limit(number="change of recall at 40%", at_least=-10, expected=0),),
            needs=ABLE,
        ),
        Claim(
            says="Queries choose better channels than the size of the keys, or chance.",
            metric="task scores at equal ratio",
            setting="LongBench, against pruning by norm",
            size="Llama-3-8B, Mistral-7B",
            figure="above both norms at every ratio",
            section="comparison with magnitude pruning",
            experiment=TEXTS,
            limits=(
                Limit(number="change of perplexity against magnitude", at_most=0, expected=-1),
                Limit(number="change of perplexity against random", at_most=0, expected=-5),
            ),
        ),
        Claim(
            says="On top of eviction it saves a fifth of the cache again, at kept accuracy.",
            metric="bytes of the cache; task scores",
            setting="with SnapKV and H2O",
            size="Llama-3-8B, Mistral-7B",
            figure="over 20% less",
            section="abstract",
            experiment=FACTS,
            limits=(
                Limit(number="cache held beside eviction, of eviction alone", at_most=80, expected=78),
                Limit(number="change of recall beside eviction, against eviction alone", at_least=-10, expected=0),
            ),
            needs=ABLE,
        ),
    ),
)
