"""KIVI (2402.02750): two bits for keys and values, almost the quality of sixteen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Limit, Paper
from ._tasks import RECALL, TEXT

if TYPE_CHECKING:
    from ...studies.study import Number
    from ..found import Found

TWO, FOUR, SHORT = "kv-quant(bits=2)", "kv-quant(bits=4)", "kv-quant(bits=2, residual=32)"
HALF = "perplexity(length=1024, streams=1, documents=1, context=0.9, audit=0)"


def measure(found: Found) -> Mapping[str, Number]:
    return {
        "change of perplexity at 2 bits": found.change("nll", TWO, task=TEXT),
        "change of perplexity at 4 bits": found.change("nll", FOUR, task=TEXT),
        "change of recall at 2 bits": found.change("recall", TWO, task=RECALL),
        "change of recall at 4 bits": found.change("recall", FOUR, task=RECALL),
        "dense recall": found.mean("recall", task=RECALL),
    }


def sizes(found: Found) -> Mapping[str, Number]:
    return {"cache held at 2 bits": found.held(TWO), "cache held at 2 bits, 32 tokens exact": found.held(SHORT)}


QUALITY = Bench(recipes=(TWO, FOUR), tasks=(TEXT, RECALL), measure=measure)
BYTES = Bench(recipes=(TWO, SHORT), tasks=(HALF,), dtype="bfloat16", measure=sizes)
ABLE = (Limit(number="dense recall", at_least=80, expected=100),)

PAPER = Paper(
    title="KIVI: A Tuning-Free Asymmetric 2bit Quantization for KV Cache",
    arxiv=("2402.02750",),
    family="cache",
    methods=("kv-quant",),
    claims=(
        Claim(
            says="Two bits an entry cost almost no quality.",
            metric="task accuracy",
            setting="CoQA, TruthfulQA, GSM8K; LongBench",
            size="Llama-2-7B and 13B, Falcon-7B, Mistral-7B",
            figure="at most 2 points lost",
            section="experiments on accuracy",
            experiment=QUALITY,
            limits=(
                Limit(number="change of perplexity at 2 bits", at_most=2, expected=0.5),
                Limit(number="change of recall at 2 bits", at_least=-10, expected=0),
            ),
            needs=ABLE,
        ),
        Claim(
            says="Four bits are as good as sixteen.",
            metric="task accuracy",
            setting="CoQA, TruthfulQA, GSM8K",
            size="Llama-2-7B and 13B, Falcon-7B",
            figure="equal within noise",
            section="experiments on accuracy",
            experiment=QUALITY,
            limits=(
                Limit(number="change of perplexity at 4 bits", at_most=0.5, expected=0),
                Limit(number="change of recall at 4 bits", at_least=-10, expected=0),
            ),
            needs=ABLE,
        ),
        Claim(
            says="Memory falls by the factor that lets batches grow fourfold.",
            metric="peak memory, weights included",
            setting="synthetic batches on one A100, residual of 32 to 128 tokens",
            size="Llama-2-7B",
            figure="2.6 times less",
            section="abstract; experiments on memory",
            experiment=BYTES,
            limits=(
                Limit(number="cache held at 2 bits", at_most=38.5, expected=30),
                Limit(number="cache held at 2 bits, 32 tokens exact", at_most=25, expected=22),
            ),
        ),
    ),
)
