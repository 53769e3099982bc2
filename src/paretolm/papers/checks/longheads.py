"""LongHeads (2402.10685): heads that read few chunks each reach far beyond the trained length together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Limit, Paper
from ._selecting import FAR_TEXT

if TYPE_CHECKING:
    from ...studies.study import Number
    from ..found import Found

OURS, LOCAL = "longheads(attn_length=1024, chunk_size=64, query_block=64)", "window(window=1024)"


def measure(found: Found) -> Mapping[str, Number]:
    return {
        "recall at twice the trained length": found.mean("recall", OURS),
        "recall of a window there": found.mean("recall", LOCAL),
        "recall against a window": found.change("recall", OURS, LOCAL),
        "dense recall there": found.mean("recall"),
    }


PASSKEY = Bench(recipes=(OURS, LOCAL), tasks=("recall(lengths=2, repeats=4)",), measure=measure)

PAPER = Paper(
    title="LongHeads: Multi-Head Attention is Secretly a Long Context Processor",
    arxiv=("2402.10685",),
    family="attention",
    methods=("longheads",),
    claims=(
        Claim(
            says="A model reads on beyond its trained length as well as within it.",
            metric="perplexity",
            setting="PG19 and Proof-pile up to 32 thousand tokens; here 4 trained lengths",
            size="Llama-2-7B",
            figure="level up to eight trained lengths, where the plain model fails at once",
            section="experiments on language modelling",
            experiment=FAR_TEXT,
            limits=(
                Limit(number="longheads, perplexity against a recomputed window", at_most=10, expected=2),
                Limit(number="longheads, perplexity against dense", at_most=-20, expected=-90),
            ),
            also=("longheads, perplexity against window", "longheads, perplexity against sinks + window"),
        ),
        Claim(
            says="A passkey anywhere in a text far beyond the trained length is found.",
            metric="passkey accuracy",
            setting="up to 128 thousand tokens; here 2 trained lengths",
            size="Llama-2-7B",
            figure="100%",
            section="experiments on passkeys",
            experiment=PASSKEY,
            limits=(
                Limit(number="recall at twice the trained length", at_least=90, expected=100),
                Limit(number="recall against a window", at_least=0, expected=50),
            ),
            also=("recall of a window there", "dense recall there"),
        ),
    ),
)
