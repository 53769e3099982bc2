"""Idealized runtime (2305.02440): ten timed runs foretell what requests of other lengths take."""

from __future__ import annotations

from ..claim import Claim, Limit, Paper, Rerun

TIMED = Rerun(study="idealized-runtime(layers='4', output=24)", models=("reference", "draft"))

PAPER = Paper(
    title="Cheaply Evaluating Inference Efficiency Metrics for Autoregressive Transformer APIs",
    arxiv=("2305.02440",),
    family="evaluation",
    studies=("idealized-runtime",),
    claims=(
        Claim(
            says="A few timed runs of a model foretell the runtime of requests of other lengths.",
            metric="mean absolute error of the foretold runtime, percent",
            setting="prompts of 1 to 1920 tokens in the published tables, dedicated GPUs, no contention",
            size="models behind ten APIs",
            figure="runtime is a prompt's reading time plus a constant time an output token",
            section="the method and its validation",
            experiment=TIMED,
            limits=(Limit(number="error", at_most=10, expected=5),),
            also=("largest error", "within 10%, error", "error by the clock"),
        ),
        Claim(
            says="The time of an output token hardly depends on how much it reads back.",
            metric="growth of an output token's time over the longest prompt, percent",
            setting="prompts of 1 to 1920 tokens in the published tables, dedicated GPUs",
            size="models behind ten APIs",
            figure="one time per output token, whatever the prompt",
            section="the method and its validation",
            experiment=TIMED,
            limits=(Limit(number="reference: growth of an output token over 1000 tokens", at_most=10, expected=2),),
            also=("draft: growth of an output token over 1000 tokens",),
        ),
    ),
)
