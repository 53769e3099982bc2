"""InfLLM (2402.04617): a window and a memory of blocks, without training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Limit, Paper
from ._selecting import BLOCKS, FAR_TEXT

if TYPE_CHECKING:
    from ...evaluation.rows import Row
    from ...studies.study import Number
    from ..found import Found

OURS, LOCAL = f"infllm({BLOCKS})", "streaming-llm(sinks=4, window=636)"


def measure(found: Found) -> Mapping[str, Number]:
    def far(row: Row) -> bool:
        return float(row.tags["depth"]) <= 0.5

    return {
        "recall of facts outside the window": found.mean("recall", OURS, where=far),
        "recall of sinks and window there": found.mean("recall", LOCAL, where=far),
        "recall there against sinks and window": found.change("recall", OURS, LOCAL, where=far),
        "dense recall there": found.mean("recall", where=far),
        "cache held, of dense": found.held(OURS),
    }


PASSKEY = Bench(recipes=(OURS, LOCAL), tasks=("recall(lengths=2, repeats=4)",), measure=measure)

PAPER = Paper(
    title="InfLLM: Training-Free Long-Context Extrapolation for LLMs with an Efficient Context Memory",
    arxiv=("2402.04617",),
    family="cache",
    methods=("infllm",),
    claims=(
        Claim(
            says="Text far beyond the trained length is read at least as well as by a window of equal size.",
            metric="task scores; here perplexity",
            setting="InfiniteBench and LongBench; here 16 windows of 256, all with some 640 entries read",
            size="Mistral-7B-Instruct-v0.2, Llama-3-8B-Instruct, Vicuna-7B",
            figure="far above LM-Infinite and StreamingLLM",
            section="experiments",
            experiment=FAR_TEXT,
            limits=(
                Limit(number="infllm, perplexity against sinks + window", at_most=0, expected=-2),
                Limit(number="infllm, perplexity against dense", at_most=-20, expected=-90),
            ),
            also=("infllm, perplexity against a recomputed window",),
        ),
        Claim(
            says="What was said far outside the window is still found.",
            metric="retrieval accuracy",
            setting="passkeys in up to 1,024 thousand tokens; here 2 trained lengths",
            size="Mistral-7B-Instruct-v0.2, Llama-3-8B-Instruct",
            figure="100%",
            section="abstract; scaling to 1,024K",
            experiment=PASSKEY,
            limits=(
                Limit(number="recall of facts outside the window", at_least=50, expected=100),
                Limit(number="recall there against sinks and window", at_least=0, expected=60),
            ),
            also=("recall of sinks and window there", "dense recall there"),
        ),
        Claim(
            says="Memory on the accelerator stays flat, since blocks live outside of it.",
            metric="resident memory",
            setting="streams of any length, blocks in main memory",
            size="7B to 8B",
            figure="constant",
            section="offloading",
            experiment=PASSKEY,
            limits=(Limit(number="cache held, of dense", at_most=40, expected=35),),
        ),
    ),
)
