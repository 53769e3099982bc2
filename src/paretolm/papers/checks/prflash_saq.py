"""PrFlashAttention and staircase quantization (2410.18441): blocks that are drawn, bits that fall with age."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Direct, Limit, Paper
from ._sparse_prefill import losses
from ._tasks import TEXT

if TYPE_CHECKING:
    from ...studies.study import Findings, Number, Place
    from ..found import Found

STAIRS, EVEN = "saq(stair=128, residual=32)", "kv-quant(bits=4, residual=32)"
BLOCKS = "block_size=16"
ARMS = {
    "all blocks": f"prflash(keep=1, {BLOCKS})",
    "half of them, the near more likely": f"prflash(keep=0.5, {BLOCKS})",
    "half of them": f"prflash(keep=0.5, distribution=uniform, {BLOCKS})",
}


def measure(found: Found) -> Mapping[str, Number]:
    return {
        "change of perplexity against even bits": found.change("nll", STAIRS, EVEN),
        "cache held, of that of even bits": found.held(STAIRS, EVEN),
        "change of perplexity of the staircase": found.change("nll", STAIRS),
    }


def drawn(at: Place) -> Findings:
    """Perplexity of prompts of which drawn blocks are read."""
    from ...studies.study import Findings

    numbers, rows = losses(at, ARMS)
    return Findings(numbers=numbers, rows=rows)


QUANTIZED = Bench(recipes=(STAIRS, EVEN), tasks=(TEXT,), measure=measure)
DRAWN = Direct(
    work=drawn,
    uses=(
        "papers/checks/_sparse_prefill.py",
        "methods/attend/approximate/prflash.py",
        "methods/attend/approximate/_prefill.py",
        "methods/attend/approximate/_gathered.py",
    ),
)

PAPER = Paper(
    title="The Nature of Mathematical Modeling and Probabilistic Optimization Engineering in Generative AI",
    arxiv=("2410.18441",),
    family="attention",
    methods=("prflash", "saq"),
    claims=(
        Claim(
            says="Blocks that are drawn by their distance can stand for all blocks.",
            metric="none; read here as perplexity, against blocks drawn evenly",
            setting="proposed without an experiment",
            size="any",
            figure="none",
            section="probabilistic FlashAttention",
            experiment=DRAWN,
            limits=(
                Limit(number="half of them, the near more likely, change of perplexity", at_most=10, expected=5),
                Limit(number="all blocks, change of perplexity", at_most=0.01, expected=0),
            ),
            also=("half of them, change of perplexity", "half of them, pairs multiplied"),
        ),
        Claim(
            says="Bits that fall in steps with age keep quality better than even bits of as many bytes.",
            metric="none; read here as perplexity at no more bytes",
            setting="proposed without an experiment, for multi-query attention",
            size="any",
            figure="reasonable quality at lower cost",
            section="staircase adaptive quantization",
            experiment=QUANTIZED,
            limits=(
                Limit(number="change of perplexity against even bits", at_most=0, expected=-0.2),
                Limit(number="cache held, of that of even bits", at_most=100, expected=95),
            ),
            also=("change of perplexity of the staircase",),
        ),
    ),
)
