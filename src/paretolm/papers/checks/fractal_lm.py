"""Fractal patterns (2402.01825): text seen through a model's bits is self-similar and has long memory."""

from __future__ import annotations

from ..claim import Claim, Limit, Paper, Rerun

BITS = Rerun(study="fractal-lm")
# the instrument must say of tokens in random order that they have no memory
CONTROL = (
    Limit(number="H of tokens shuffled", at_least=0.45, expected=0.5),
    Limit(number="H of tokens shuffled", at_most=0.55, expected=0.5),
)
SETTING = "documents of The Pile, 2,000 tokens each"
SIZE = "T5-like decoders of 110M to 1B, PaLM"

PAPER = Paper(
    title="Fractal Patterns May Unravel the Intelligence in Next-Token Prediction",
    arxiv=("2402.01825",),
    family="evaluation",
    studies=("fractal-lm",),
    claims=(
        Claim(
            says="Language has long memory.",
            metric="Hurst exponent of a token's bits, plain slope of rescaled ranges",
            setting=SETTING,
            size=SIZE,
            figure="0.70, with 0.09 between domains",
            section="abstract; rescaled range analysis",
            experiment=BITS,
            needs=CONTROL,
            limits=(
                Limit(number="H, plain slope of text", at_least=0.6, expected=0.7),
                Limit(number="H, plain slope of text", at_most=0.8, expected=0.7),
            ),
            also=("H of text", "H of bits shuffled"),
        ),
        Claim(
            says="Language is self-similar.",
            metric="exponent of the probability that the running sum of bits stays where it was",
            setting=SETTING,
            size=SIZE,
            figure="0.59, with 0.08 between domains",
            section="self-similarity",
            experiment=BITS,
            limits=(
                Limit(number="S of text", at_least=0.5, expected=0.59),
                Limit(number="S of text", at_most=0.68, expected=0.59),
            ),
            also=("S of tokens shuffled",),
        ),
        Claim(
            says="The spread of sums of bits grows as if tokens were independent.",
            metric="Joseph exponent",
            setting=SETTING,
            size=SIZE,
            figure="0.49, with 0.08 between domains",
            section="Joseph effect",
            experiment=BITS,
            needs=(
                Limit(number="J of tokens shuffled", at_least=0.43, expected=0.5),
                Limit(number="J of tokens shuffled", at_most=0.57, expected=0.5),
            ),
            limits=(Limit(number="J of text", at_most=0.57, expected=0.49),),
        ),
    ),
)
