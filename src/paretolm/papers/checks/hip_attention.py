"""HiP attention (2406.09827): a search in a tree finds the keys that matter in T log T."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..claim import Claim, Direct, Limit, Paper
from ._sparse_prefill import TIMES, losses, prompt

if TYPE_CHECKING:
    from ...studies.study import Findings, Number, Place

K, BLOCK = 128, 8
LINE = f"hip-attention(k={K}, query_block=16, key_block={BLOCK}, window=16)"
TEXTS, SAMPLED = 4, 64
TIMES_LONGER = (2, 8)  # trained lengths between which comparisons are counted


def work(at: Place) -> Findings:
    """Perplexity of prompts read at 128 keys, the share of the top keys' attention that the search finds, and how its
    comparisons grow."""
    from ...studies.study import Findings

    numbers, rows = losses(at, {"128 keys": LINE})
    found = {"attention of the top 128 keys found": top_found(at), "growth of comparisons a token": growth(at)}
    return Findings(numbers={**numbers, **found}, rows=rows)


def top_found(at: Place) -> Number:
    """Of the attention that sampled queries pay to their 128 best keys, the share on keys that they read."""
    import torch

    from ...evaluation.streams import build
    from ...methods.attend.approximate._gathered import Tiling, key_row
    from ...methods.attend.approximate._patterns import caught, sampled_weights
    from ...methods.attend.approximate.hip_attention import HipAttention, TreePrefill
    from ...recipes.recipe import Recipe
    from ...recipes.session import Session
    from ..numbers import mean

    lm = at.load(at.models[0])
    length = lm.view.trained_length
    method = Recipe.parse(LINE).methods[0]
    assert isinstance(method, HipAttention)
    tiling = Tiling(length, length, method.query_block, method.key_block)
    shares: dict[str, list[float]] = {}
    with Session.open(lm, Recipe.parse(LINE)) as session, torch.inference_mode():
        part = session.parts.new_request()(0).attend[0]
        assert isinstance(part, TreePrefill)
        for text in build(at.source, lm, length, TEXTS, per_document=length, seed=1):
            for layer in range(lm.view.num_layers):
                seen = session.binding.layer_inputs(text.ids, layer)
                heads, kv_heads = seen.queries.shape[1], seen.keys.shape[1]
                reads = part.reads(seen.queries, seen.keys, tiling, seen.scaling)
                assert reads is not None
                for head in range(heads):
                    pair = seen.queries[0, head], seen.keys[0, key_row(head, heads, kv_heads)]
                    weights, places = sampled_weights(*pair, seen.scaling)
                    best = weights.topk(K, dim=1)
                    top = torch.zeros_like(weights).scatter_(1, best.indices, best.values)
                    shares.setdefault(text.id, []).append(100 * caught(top, places, reads[head], tiling))
    return mean([sum(x) / len(x) for x in shares.values()], list(shares), unit="%")


def growth(at: Place) -> Number:
    """Comparisons of the search for each token, at 8 trained lengths over those at 2."""
    import torch

    from ...recipes.recipe import Recipe
    from ...recipes.session import Session
    from ..numbers import exact

    lm = at.load(at.models[0])
    counts = []
    for times in TIMES_LONGER:
        ids = prompt(at.source, lm, times * lm.view.trained_length)
        with Session.open(lm, Recipe.parse("hip-attention(k=512)")) as session, torch.inference_mode():
            session.stream().read(ids, last=True, logits=False)
            counts.append(session.counters["hip-attention"]["pairs_compared"] / ids.shape[1])
    return exact(counts[1] / counts[0], "x")


SEARCH = Direct(work=work, uses=("papers/checks/_sparse_prefill.py", "methods/attend/approximate"))

PAPER = Paper(
    title="HiP Attention: Sparse Sub-Quadratic Attention with Hierarchical Attention Pruning",
    arxiv=("2406.09827",),
    family="attention",
    methods=("hip-attention",),
    claims=(
        Claim(
            says="A few keys for each query keep the quality, without training.",
            metric="perplexity",
            setting="WikiText-2, 512 keys of 4 to 16 thousand; here 128 of a thousand",
            size="Llama-2-7B, Qwen1.5-7B",
            figure="within a few percent of FlashAttention",
            section="experiments on language modelling",
            experiment=SEARCH,
            limits=(Limit(number="128 keys, change of perplexity", at_most=5, expected=2),),
            also=("128 keys, pairs multiplied",),
        ),
        Claim(
            says="The search finds the keys that get most attention, since what is near is alike.",
            metric="attention of the true top keys on those found",
            setting="1 to 32 thousand tokens",
            size="Llama-2-7B",
            figure="most of the top keys",
            section="analysis of attention locality",
            experiment=SEARCH,
            limits=(Limit(number="attention of the top 128 keys found", at_least=80, expected=90),),
        ),
        Claim(
            says="Its work grows as T log T.",
            metric="comparisons of queries with keys",
            setting="4 to 128 thousand tokens",
            size="any",
            figure="O(T log T)",
            section="abstract; complexity",
            experiment=SEARCH,
            limits=(Limit(number="growth of comparisons a token", at_most=2.2, expected=2.0),),
        ),
        Claim(
            says="Prompts are read faster than with FlashAttention.",
            metric="time of a prompt",
            setting="32 to 128 thousand tokens, one GPU; here 8 thousand",
            size="Llama-2-7B",
            figure="several times at 32 thousand tokens",
            section="experiments on latency",
            experiment=TIMES,
            limits=(Limit(number="hip-attention, speed over dense", at_least=1, expected=1.5),),
        ),
    ),
)
