"""TokenButler (2503.07518): which tokens matter can be predicted before attention is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Direct, Limit, Paper
from ._tasks import TEXT

if TYPE_CHECKING:
    from ...studies.study import Findings, Number, Place
    from ..found import Found

OURS, PAGES, EVICTING = "token-butler(budget=50%)", "quest(budget=50%, page_size=16)", "h2o(budget=50%)"
LENGTH, TEXTS = 512, 20


def measure(found: Found) -> Mapping[str, Number]:
    return {
        "change of perplexity": found.change("nll", OURS),
        "perplexity against pages": found.change("nll", OURS, PAGES),
        "perplexity against eviction": found.change("nll", OURS, EVICTING),
    }


def recall(at: Place) -> Findings:
    """Of the half of the entries that each query attends to most, the share that the predictor names, fitted afresh."""
    import torch

    from ...bench.workers.fitting import fit_recipe
    from ...bridge.fitter import TextFitter
    from ...evaluation.streams import build
    from ...methods.attend.select._choice import best
    from ...methods.attend.select._predictor import encode, lesson, predicted
    from ...recipes.recipe import Recipe
    from ...studies.study import Findings
    from ..numbers import exact, mean

    lm, texts = at.load(at.models[0]), [d.text for d in at.source.fit_documents]
    artifacts = fit_recipe(lm, Recipe.parse(OURS), lambda: texts)
    (artifact,) = artifacts.values()
    dense, rest = [0, 1], list(range(2, lm.view.num_layers))
    fitter = TextFitter(lm, texts)
    found: dict[str, dict[str, float]] = {}
    own = torch.arange(LENGTH)
    half, seen = (own + 2) // 2, own <= own[:, None]
    with torch.inference_mode():
        for text in build(at.source, lm, LENGTH, TEXTS, per_document=LENGTH, seed=0):
            features, truth = lesson(fitter, text.ids, dense, rest)
            logits = predicted(*encode(features, artifact.tensors["inner"], artifact.tensors["outer"], truth.shape[1]))
            wanted, named = (best(x.masked_fill(~seen, float("-inf")), half) for x in (truth, logits))
            mass = float((truth * named).sum() / truth.sum())
            late = slice(LENGTH // 4, None)
            hits = (wanted & named)[:, :, late].sum() / wanted[:, :, late].sum()
            found[text.id] = {"found": 100 * float(hits), "mass": 100 * mass}
    ids = list(found)
    numbers = {
        "most attended half that is named": mean([found[i]["found"] for i in ids], ids, unit="%"),
        "attention on what is named": mean([found[i]["mass"] for i in ids], ids, unit="%"),
        "parameters of the predictor": exact(100 * artifact.facts["share"], "%"),
    }
    return Findings(numbers=numbers, rows=[{"text": i, **found[i]} for i in ids])


QUALITY = Bench(recipes=(OURS, PAGES, EVICTING), tasks=(TEXT,), measure=measure)
NAMED = Direct(work=recall, uses=("methods/attend/select",))

PAPER = Paper(
    title="TokenButler: Token Importance is Predictable",
    arxiv=("2503.07518",),
    family="cache",
    methods=("token-butler",),
    claims=(
        Claim(
            says="A tiny predictor names the tokens that will be attended to.",
            metric="tokens of the true upper half among those predicted",
            setting="half of the tokens; here fitted on the embedded text",
            size="Llama-3.2-1B and 3B, Llama-2-7B, DeepSeek-R1 distillations",
            figure="far above other estimates, with under 1.2% more parameters",
            section="abstract; accuracy of the predictor",
            experiment=NAMED,
            limits=(
                Limit(number="most attended half that is named", at_least=70, expected=75),
                Limit(number="parameters of the predictor", at_most=1.2, expected=0.8),
            ),
            also=("attention on what is named",),
        ),
        Claim(
            says="Reading by prediction keeps quality better than pages or eviction.",
            metric="perplexity; task accuracy",
            setting="half of the tokens, against Quest, H2O, SnapKV and others",
            size="Llama-3.2-1B and 3B, Llama-2-7B",
            figure="over 8% better than other estimates of importance",
            section="abstract; experiments",
            experiment=QUALITY,
            limits=(
                Limit(number="perplexity against pages", at_most=0, expected=-1),
                Limit(number="perplexity against eviction", at_most=0, expected=-1),
            ),
            also=("change of perplexity",),
        ),
    ),
)
