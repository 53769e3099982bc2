"""H2O (2306.14048): a fifth of the cache, chosen by received attention, is nearly as good as all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Direct, Limit, Paper
from ._tasks import RECALL, TEXT

if TYPE_CHECKING:
    from ...studies.study import Findings, Number, Place
    from ..found import Found

FIFTH = "h2o(budget=20%)"
EQUAL, LOCAL = "h2o(budget=204tok)", "window(window=205)"  # entries held: 204 each
TEXTS = 8


def measure(found: Found) -> Mapping[str, Number]:
    return {
        "change of perplexity at a fifth": found.change("nll", FIFTH, task=TEXT),
        "change of recall at a fifth": found.change("recall", FIFTH, task=RECALL),
        "dense recall": found.mean("recall", task=RECALL),
        "cache held": found.held(FIFTH, task=RECALL),
        "change of perplexity against the newest tokens alone": found.change("nll", EQUAL, LOCAL, task=TEXT),
        "change of recall against the newest tokens alone": found.change("recall", EQUAL, LOCAL, task=RECALL),
    }


def sparsity(at: Place) -> Findings:
    """Share of attention weights below a hundredth of their row's largest, in texts of the trained length."""
    import torch

    from ...bridge.reading import attention_weights
    from ...evaluation.streams import build
    from ...recipes.recipe import Recipe
    from ...recipes.session import Session
    from ...studies.study import Findings
    from ..numbers import mean

    lm = at.load(at.models[0])
    length = lm.view.trained_length
    streams = build(at.source, lm, length, TEXTS, per_document=length, seed=0)
    seen = torch.ones(length, length, dtype=torch.bool).tril()
    found: dict[str, list[float]] = {}
    with Session.open(lm, Recipe()) as session:
        for text in streams:
            for layer in range(lm.view.num_layers):
                inputs = session.binding.layer_inputs(text.ids, layer)
                weights = attention_weights(inputs.queries, inputs.keys, seen[None, None], inputs.scaling)
                small = (weights < 0.01 * weights.amax(-1, keepdim=True)) & seen
                found.setdefault(text.id, []).append(float(small.sum() / (seen.sum() * weights.shape[1])))
    shares = {name: 100 * sum(layers) / len(layers) for name, layers in found.items()}
    rows = [{"text": name, "share_by_layer": layers} for name, layers in found.items()]
    return Findings(
        numbers={"weights below 1% of the largest": mean(list(shares.values()), list(shares), unit="%")}, rows=rows
    )


CACHE = Bench(recipes=(FIFTH, EQUAL, LOCAL), tasks=(TEXT, RECALL), measure=measure)

PAPER = Paper(
    title="H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language Models",
    arxiv=("2306.14048",),
    family="cache",
    methods=("h2o",),
    claims=(
        Claim(
            says="Attention is sparse although the model was trained dense.",
            metric="share of attention weights below 1% of their row's largest",
            setting="WikiText-103",
            size="OPT-6.7B to 66B",
            figure="over 95% in almost all layers",
            section="section 3.1",
            experiment=Direct(work=sparsity),
            limits=(Limit(number="weights below 1% of the largest", at_least=95, expected=97),),
        ),
        Claim(
            says="A fifth of the cache costs hardly any quality.",
            metric="task accuracy",
            setting="COPA, MathQA, OpenBookQA, PiQA, RTE, Winogrande, XSUM, CNN/DailyMail",
            size="OPT-6.7B to 66B, LLaMA-7B, GPT-NeoX-20B",
            figure="within 1% of the full cache at a budget of 20%, five times less memory",
            section="experiments on accuracy",
            experiment=CACHE,
            limits=(
                Limit(number="change of perplexity at a fifth", at_most=5, expected=0),
                Limit(number="change of recall at a fifth", at_least=-10, expected=0),
                Limit(number="cache held", at_most=25, expected=20),
            ),
            needs=(Limit(number="dense recall", at_least=80, expected=100),),
        ),
        Claim(
            says="Heavy hitters are worth more than as many recent tokens.",
            metric="task accuracy at equal budget",
            setting="the same tasks, against keeping the newest tokens alone",
            size="OPT-6.7B to 66B",
            figure="H2O near the full cache where local attention falls sharply",
            section="experiments on accuracy",
            experiment=CACHE,
            limits=(
                Limit(number="change of perplexity against the newest tokens alone", at_most=0, expected=-10),
                Limit(number="change of recall against the newest tokens alone", at_least=0, expected=40),
            ),
            needs=(Limit(number="dense recall", at_least=80, expected=100),),
        ),
    ),
)
