"""PrFlashAttention, staircase quantization, ALiBi (2410.18441): blocks that are drawn, bits that fall with age, slopes."""

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
NEAR = "alibi(start=1024)"
FAR = "perplexity(length=4096, streams=6, context=0.25, audit=0)"
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


def sloped(found: Found) -> Mapping[str, Number]:
    return {
        "change of perplexity at 4 trained lengths": found.change("nll", "alibi"),
        "with distances of a trained length free": found.change("nll", NEAR),
    }


def unsloped(found: Found) -> Mapping[str, Number]:
    return {"change of perplexity within the trained length": found.change("nll", "alibi")}


BEYOND = Bench(recipes=("alibi", NEAR), tasks=(FAR,), measure=sloped)
WITHIN = Bench(recipes=("alibi",), tasks=(TEXT,), measure=unsloped)
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
    methods=("prflash", "saq", "alibi"),
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
        Claim(
            says="Rotary positions with ALiBi beside them reach beyond the trained length.",
            metric="none; read here as perplexity at four trained lengths, against rotary positions alone",
            setting="proposed without an experiment",
            size="any",
            figure="none",
            section="rotary positions with ALiBi",
            experiment=BEYOND,
            limits=(Limit(number="change of perplexity at 4 trained lengths", at_most=0, expected=-20),),
            also=("with distances of a trained length free",),
        ),
        Claim(
            says="The model stays as good as it was within the trained length.",
            metric="none; read here as perplexity, untuned",
            setting="proposed for training, put on a trained model here",
            size="any",
            figure="none",
            section="rotary positions with ALiBi",
            experiment=WITHIN,
            limits=(Limit(number="change of perplexity within the trained length", at_most=2, expected=0),),
        ),
    ),
)
