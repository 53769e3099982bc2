"""Draft-based approximate inference (2506.08373): a small model knows what the large one will need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Direct, Limit, Paper
from ._tasks import RECALL

if TYPE_CHECKING:
    from torch import Tensor

    from ...bridge.lm import LM
    from ...studies.study import Findings, Number, Place
    from ..found import Found

SPECKV, RIVAL = "draft-approx(budget=12%)", "snapkv(budget=12%)"
SPECPC = "specpc(budget=128tok, window_size=32, kernel_size=8, neighbor_tokens=16)"
RANDOM = "specpc(budget=128tok, window_size=32, kernel_size=8, neighbor_tokens=16, scores=random)"
RECENT = "gemfilter(budget=128tok, recent=128)"  # nothing but the last 128 tokens
TEXTS, LENGTH, WINDOW = 20, 512, 32


def measure(found: Found) -> Mapping[str, Number]:
    return {
        "SpecKV, change of recall against snapkv": found.change("recall", SPECKV, RIVAL),
        "SpecKV, change of recall": found.change("recall", SPECKV),
        "SpecKV, cache held against snapkv": found.held(SPECKV, RIVAL),
        "SpecPC, recall": found.mean("recall", SPECPC),
        "SpecPC, change of recall against random tokens": found.change("recall", SPECPC, RANDOM),
        "SpecPC, change of recall against the last tokens": found.change("recall", SPECPC, RECENT),
        "dense recall": found.mean("recall"),
    }


def correlation(at: Place) -> Findings:
    """Rank correlation, over the tokens of a text, of the largest attention draft and target pay to each at its end."""
    from scipy.stats import spearmanr

    from ...evaluation.streams import build
    from ...studies.study import Findings
    from ..numbers import mean

    lm, draft = at.load(at.models[0]), at.load("draft")
    streams = build(at.source, lm, LENGTH, TEXTS, per_document=LENGTH, seed=0)
    found = {}
    for text in streams:
        ours, theirs = (_importance(model, text.ids) for model in (lm, draft))
        found[text.id] = float(spearmanr(ours, theirs).statistic)
    numbers = {"correlation of attention": mean(list(found.values()), list(found))}
    return Findings(numbers=numbers, rows=[{"text": name, "correlation": value} for name, value in found.items()])


def _importance(lm: LM, ids: Tensor) -> Tensor:
    """[T - WINDOW] what SpecPC ranks by, over all layers."""
    import torch

    from ...methods.prompt.specpc import window_attention
    from ...recipes.recipe import Recipe
    from ...recipes.session import Session

    with Session.open(lm, Recipe()) as session:
        layers = [session.binding.layer_inputs(ids, layer) for layer in range(lm.view.num_layers)]
    return torch.stack([window_attention(inputs, WINDOW, weighted=False) for inputs in layers]).amax(0)[:-WINDOW]


PROMPTS = Bench(recipes=(SPECKV, RIVAL, SPECPC, RANDOM, RECENT), tasks=(RECALL,), measure=measure)
ALIKE = Direct(work=correlation, uses=("methods/prompt/specpc.py",))
ABLE = (Limit(number="dense recall", at_least=80, expected=100),)

PAPER = Paper(
    title="Draft-based Approximate Inference for LLMs",
    arxiv=("2506.08373",),
    family="cache",
    methods=("draft-approx", "specpc"),
    claims=(
        Claim(
            says="What a draft of the answer looks for is worth keeping: more than what the prompt's end votes for.",
            metric="accuracy at equal budget",
            setting="LongBench and RULER at 256 to 2,048 entries, drafts of 0.5B and 1B",
            size="Llama-3.1-8B, Qwen2.5-14B",
            figure="SpecKV above SnapKV and other evictions",
            section="abstract; experiments on SpecKV",
            experiment=PROMPTS,
            limits=(
                Limit(number="SpecKV, change of recall against snapkv", at_least=0, expected=10),
                Limit(number="SpecKV, cache held against snapkv", at_most=101, expected=100),
            ),
            needs=ABLE,
            also=("SpecKV, change of recall",),
        ),
        Claim(
            says="The tokens a small model attends to are the ones the large one needs of the prompt.",
            metric="accuracy from a shortened prompt",
            setting="LongBench and RULER, 1,024 to 3,072 tokens of the prompt",
            size="Llama-3.1-8B, Qwen2.5-14B",
            figure="SpecPC above other prompt compression",
            section="abstract; experiments on SpecPC",
            experiment=PROMPTS,
            limits=(
                Limit(number="SpecPC, change of recall against random tokens", at_least=0, expected=50),
                Limit(number="SpecPC, change of recall against the last tokens", at_least=0, expected=50),
            ),
            needs=ABLE,
            also=("SpecPC, recall",),
        ),
        Claim(
            says="Attention of draft and target is strongly correlated.",
            metric="correlation of the importance of tokens",
            setting="prompts of long-context benchmarks",
            size="drafts of 0.5B and 1B, targets of 8B and 14B",
            figure="strong correlation",
            section="abstract; motivation of SpecPC",
            experiment=ALIKE,
            limits=(Limit(number="correlation of attention", at_least=0.5, expected=0.8),),
        ),
    ),
)
