"""LM-Infinite (2308.16137): a Lambda-shaped mask and a cap on distance, and a model reads on beyond its length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Limit, Paper
from ._decoding import DECODING
from ._far import FAR

if TYPE_CHECKING:
    from ...studies.study import Number
    from ..found import Found

LINE = "lm-infinite(n_global=10, n_local=1014)"


def beyond(found: Found) -> Mapping[str, Number]:
    return {
        "recall at twice the trained length": found.mean("recall", LINE),
        "dense recall there": found.mean("recall"),
        "change of recall against dense": found.change("recall", LINE),
    }


PASSKEY = Bench(recipes=(LINE,), tasks=("recall(lengths=2, repeats=5)",), measure=beyond)

PAPER = Paper(
    title="LM-Infinite: Simple On-the-Fly Length Generalization for Large Language Models",
    arxiv=("2308.16137",),
    family="attention",
    methods=("lm-infinite",),
    claims=(
        Claim(
            says="Models fail soon after their trained length; with the mask and the cap they stay fluent to sixteen "
            "times of it.",
            metric="perplexity",
            setting="ArXiv and OpenWebText2, up to 32 thousand tokens",
            size="LLaMA-7B, Llama-2-7B, MPT-7B, GPT-J-6B",
            figure="dense above 100 or not a number, LM-Infinite level at 2 to 16 trained lengths",
            section="abstract; experiments on fluency",
            experiment=FAR,
            limits=(
                Limit(number="lm-infinite, perplexity against dense", at_most=-50, expected=-90),
                Limit(number="lm-infinite, perplexity against a recomputed window", at_most=10, expected=0),
            ),
        ),
        Claim(
            says="Decoding long texts is faster than with the whole cache.",
            metric="decoding speed over dense attention",
            setting="sequences of 32 thousand tokens, one A100",
            size="Llama-2-7B",
            figure="2.72 times",
            section="abstract",
            experiment=DECODING,
            limits=(
                Limit(number="lm-infinite, speed over dense", at_least=1, expected=2.72),
                Limit(number="lm-infinite, speed over dense", at_least=2.72, expected=2.72),
            ),
        ),
        Claim(
            says="Time and space are linear in the text: what is held does not grow with it.",
            metric="bytes of the cache",
            setting="up to 32 thousand tokens",
            size="7B",
            figure="constant cache",
            section="abstract",
            experiment=DECODING,
            limits=(Limit(number="lm-infinite, cache at 8 trained lengths over that at 2", at_most=1, expected=1),),
            also=("lm-infinite, dense cache over its own",),
        ),
        Claim(
            says="A passkey is still found in texts longer than the trained length, where the plain model fails at once.",
            metric="passkey accuracy",
            setting="with re-reading of the best tokens in the middle, which the method here leaves out",
            size="Llama-2-7B",
            figure="works well past the trained length, dense near 0",
            section="abstract; experiments on passkeys",
            experiment=PASSKEY,
            limits=(
                Limit(number="recall at twice the trained length", at_least=50, expected=80),
                Limit(number="change of recall against dense", at_least=0, expected=60),
            ),
            also=("dense recall there",),
        ),
    ),
)
