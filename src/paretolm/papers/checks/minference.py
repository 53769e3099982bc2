"""MInference 1.0 (2407.02490): a pattern for each head, and a prompt is read from a fraction of its pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..claim import Claim, Direct, Limit, Paper
from ._sparse_prefill import TIMES, losses

if TYPE_CHECKING:
    from ...studies.study import Findings, Number, Place

ARMS = {
    "patterns": "minference(budget=10%, block_size=16)",
    "a-shape": "minference(budget=10%, block_size=16, pattern=a-shape)",
}
TEXTS = 4


def work(at: Place) -> Findings:
    """Perplexity of prompts read in patterns at 10% of the tokens, and the attention that the chosen patterns catch."""
    from ...studies.study import Findings

    numbers, rows = losses(at, ARMS)
    caught, table = attention_caught(at)
    return Findings(numbers={**numbers, "attention caught": caught}, rows=[*rows, *table])


def attention_caught(at: Place) -> tuple[Number, list[dict[str, object]]]:
    """The share of a head's attention on what its best pattern reads, over texts; and each head's pattern."""
    from ...evaluation.streams import build
    from ...methods.attend.approximate._gathered import Tiling, key_row
    from ...methods.attend.approximate._patterns import best_pattern
    from ...recipes.recipe import Recipe
    from ...recipes.session import Session
    from ..numbers import mean

    lm = at.load(at.models[0])
    length = lm.view.trained_length
    tiling = Tiling(length, length, 16, 16)
    shares: dict[str, list[float]] = {}
    table: list[dict[str, object]] = []
    with Session.open(lm, Recipe()) as session:
        for text in build(at.source, lm, length, TEXTS, per_document=length, seed=1):
            for layer in range(lm.view.num_layers):
                seen = session.binding.layer_inputs(text.ids, layer)
                heads, kv_heads = seen.queries.shape[1], seen.keys.shape[1]
                for head in range(heads):
                    pair = seen.queries[0, head], seen.keys[0, key_row(head, heads, kv_heads)]
                    pattern, share = best_pattern(*pair, tiling, length // 10, seen.scaling)
                    shares.setdefault(text.id, []).append(100 * share)
                    table.append(
                        {"item": text.id, "layer": layer, "head": head, "pattern": str(pattern), "share": share}
                    )
    return mean([sum(x) / len(x) for x in shares.values()], list(shares), unit="%"), table


PROMPTS = Direct(work=work, uses=("papers/checks/_sparse_prefill.py", "methods/attend/approximate"))

PAPER = Paper(
    title="MInference 1.0: Accelerating Pre-filling for Long-Context LLMs via Dynamic Sparse Attention",
    arxiv=("2407.02490",),
    family="attention",
    methods=("minference",),
    claims=(
        Claim(
            says="A fraction of the pairs is enough to read a prompt at kept quality.",
            metric="perplexity; task accuracy",
            setting="PG-19, InfiniteBench, RULER and needles, 10 thousand to a million tokens",
            size="LLaMA-3-8B-1M, GLM-4-9B-1M, Yi-9B-200K",
            figure="within noise of full attention",
            section="abstract; experiments",
            experiment=PROMPTS,
            limits=(
                Limit(number="patterns, change of perplexity", at_most=3, expected=0),
                Limit(number="patterns, pairs multiplied", at_most=25, expected=20),
            ),
            also=("a-shape, change of perplexity", "a-shape, pairs multiplied"),
        ),
        Claim(
            says="The pattern of a head catches almost all of its attention.",
            metric="attention on what is read",
            setting="a few thousand of 128 thousand keys",
            size="LLaMA-3-8B-1M",
            figure="over 95%",
            section="analysis of sparsity",
            experiment=PROMPTS,
            limits=(Limit(number="attention caught", at_least=95, expected=96),),
        ),
        Claim(
            says="Prompts are read up to ten times as fast.",
            metric="time of a prompt, over FlashAttention",
            setting="a million tokens, one A100; here 8 thousand",
            size="LLaMA-3-8B-1M",
            figure="10 times",
            section="abstract",
            experiment=TIMES,
            limits=(
                Limit(number="minference, speed over dense", at_least=1, expected=10),
                Limit(number="minference, speed over dense", at_least=10, expected=10),
            ),
        ),
    ),
)
