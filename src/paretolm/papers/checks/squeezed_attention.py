"""Squeezed Attention (2411.09688): centroids of a fixed prompt's keys say which of them a query needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Direct, Limit, Paper
from ._selecting import SPEED

if TYPE_CHECKING:
    from torch import Tensor

    from ...contracts import LayerInputs
    from ...studies.study import Findings, Number, Place
    from ..found import Found

OURS, TIGHT = "squeezed-attention(budget=30%)", "squeezed-attention(budget=12%)"
FOLLOWING = "perplexity(length=1024, streams=20, context=0.75, audit=0)"
LENGTH, TEXTS, FIXED, WINDOW = 1024, 20, 768, 100  # the fixed prompt, and its last tokens, whose queries calibrate
SHARE, COARSE_SHARE = 0.3, 0.6  # of the keys: read, and below the coarse clusters that are opened


def measure(found: Found) -> Mapping[str, Number]:
    return {
        "change of perplexity at 30%": found.change("nll", OURS),
        "change of perplexity at 12%": found.change("nll", TIGHT),
    }


def lookup(at: Place) -> Findings:
    """Attention of following tokens that the read keys catch, and centroids compared, with one level and with two."""
    from ...evaluation.streams import build
    from ...recipes.recipe import Recipe
    from ...recipes.session import Session
    from ...studies.study import Findings
    from ..numbers import mean

    lm = at.load(at.models[0])
    streams = build(at.source, lm, LENGTH, TEXTS, per_document=LENGTH, seed=0)
    found: dict[str, dict[str, float]] = {}
    with Session.open(lm, Recipe()) as session:
        for text in streams:
            layers = range(lm.view.num_layers)
            found[text.id] = _caught([session.binding.layer_inputs(text.ids, layer) for layer in layers])
    names = next(iter(found.values()))
    numbers = {name: mean([one[name] for one in found.values()], list(found), unit="%") for name in names}
    return Findings(numbers=numbers, rows=[{"text": text, **one} for text, one in found.items()])


def _caught(layers: Sequence[LayerInputs]) -> dict[str, float]:
    """The numbers of one text, in percent, over all layers."""
    import torch

    from ...methods.attend.select._clusters import cluster, of_keys, regroup, shares, shares_below

    fixed = FIXED - WINDOW
    scores: tuple[list[Tensor], list[Tensor]] = ([], [])
    clusters = []
    for layer in layers:
        fine = cluster(layer.keys[:, :, :fixed], round(0.05 * fixed))
        coarse, parents = regroup(fine, round(0.01 * fixed))
        clusters.append((fine, coarse, parents))
        for level, found in zip((fine, coarse), scores, strict=True):
            found.append(of_keys(shares(layer.queries[:, :, fixed:FIXED], level), level.labels).mean(2).flatten())
    limits = [torch.cat(s).quantile(1 - share) for s, share in zip(scores, (SHARE, COARSE_SHARE), strict=True)]
    sums = torch.zeros(6)
    for layer, (fine, coarse, parents) in zip(layers, clusters, strict=True):
        queries = layer.queries[:, :, FIXED:]
        passed = shares(queries, coarse) >= limits[1]
        opened = passed.gather(-1, parents[:, :, None].expand(-1, -1, queries.shape[2], -1))
        one = of_keys(shares(queries, fine) >= limits[0], fine.labels)
        two = of_keys(shares_below(queries, fine, coarse, parents, passed) >= limits[0], fine.labels)
        mass = _attention(queries, layer.keys)[..., :fixed]
        compared = (passed.numel() + int(opened.sum())) / opened.numel()
        sums += torch.tensor([
            float((mass * one).sum() / mass.sum()), float((mass * two).sum() / mass.sum()),
            float(one.float().mean()), float(two.float().mean()), compared, 1,
        ])  # fmt: skip
    caught, caught_two, read, read_two, compared = (100 * sums[:5] / sums[5]).tolist()
    return {
        "attention caught": caught,
        "keys read": read,
        "attention caught with two levels": caught_two,
        "keys read with two levels": read_two,
        "attention that the second level loses": caught - caught_two,
        "centroids compared with two levels, of those with one": compared,
    }


def _attention(queries: Tensor, keys: Tensor) -> Tensor:
    """[B, H, Q, n] probabilities of the last Q tokens of a text, a mean over a group's heads."""
    from ...methods.attend.select._choice import attention, own_entries, reading

    own = own_entries(keys.shape[2], queries.shape[2], keys.device)
    return attention(queries, keys, reading(keys.shape[2], own)).mean(2)


QUALITY = Bench(recipes=(OURS, TIGHT), tasks=(FOLLOWING,), measure=measure)
LOOKUP = Direct(work=lookup, uses=("methods/attend/select",))

PAPER = Paper(
    title="Squeezed Attention: Accelerating Long Context Length LLM Inference",
    arxiv=("2411.09688",),
    family="attention",
    methods=("squeezed-attention",),
    claims=(
        Claim(
            says="A third of a fixed prompt's keys is enough.",
            metric="scores on LongBench",
            setting="prompts up to 32 thousand tokens, the threshold set for 70% sparsity",
            size="LLaMA-2-7B-32K, LWM-Text-Chat-1M, Longchat-7B-v1.5-32K",
            figure="3.1 times fewer keys and values at no loss",
            section="abstract; experiments on LongBench",
            experiment=QUALITY,
            limits=(
                Limit(number="change of perplexity at 30%", at_most=2, expected=0.5),
                Limit(number="change of perplexity at 30%", at_least=-2, expected=0.5),
            ),
        ),
        Claim(
            says="Up to eight times fewer keys cost under half a point.",
            metric="scores on LongBench",
            setting="the threshold set for 90% sparsity",
            size="LLaMA-2-7B-32K, LWM-Text-Chat-1M, Longchat-7B-v1.5-32K",
            figure="less than 0.5 points lost",
            section="abstract",
            experiment=QUALITY,
            limits=(Limit(number="change of perplexity at 12%", at_most=2, expected=1),),
        ),
        Claim(
            says="The clusters that are read hold nearly all of the attention.",
            metric="attention of following tokens on the keys read",
            setting="here 768 tokens are fixed and 256 follow",
            size="LLaMA-2-7B-32K",
            figure="the important keys are among those read",
            section="the method",
            experiment=LOOKUP,
            limits=(Limit(number="attention caught", at_least=90, expected=95),),
            also=("keys read",),
        ),
        Claim(
            says="Two levels of centroids find the same keys with fewer comparisons.",
            metric="centroids compared; attention caught",
            setting="coarse centroids of 1% and fine ones of 5% of the keys",
            size="LLaMA-2-7B-32K",
            figure="from linear to logarithmic in the length, at the same accuracy",
            section="hierarchical lookup",
            experiment=LOOKUP,
            limits=(
                Limit(number="attention that the second level loses", at_most=2, expected=0.5),
                Limit(number="centroids compared with two levels, of those with one", at_most=100, expected=80),
            ),
            also=("attention caught with two levels", "keys read with two levels"),
        ),
        Claim(
            says="Reading and generating are several times as fast.",
            metric="speed of the attention kernels over FlashAttention",
            setting="prompts up to 512 thousand tokens, one H100; here decoding at 4 thousand, on a CPU",
            size="LLaMA-2-7B-32K",
            figure="more than 4 times",
            section="abstract; kernels",
            experiment=SPEED,
            limits=(
                Limit(number="squeezed-attention, speed over dense", at_least=1, expected=4),
                Limit(number="squeezed-attention, speed over dense", at_least=4, expected=4),
            ),
        ),
    ),
)
