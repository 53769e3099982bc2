"""KNN-LM Does Not Improve Open-ended Text Generation (2305.14625): perplexity falls, most tokens get worse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Direct, Limit, Paper
from ._tasks import SAMPLED

if TYPE_CHECKING:
    from torch import Tensor

    from ...contracts import Artifact
    from ...methods.logits.knn_lm import KnnLM
    from ...studies.study import Findings, Number, Place
    from ..found import Found

LINE = "knn-lm(k=256, max_keys=40000)"
TEXTS, LENGTH = 24, 384
PROMPT, NEW, PARTS = 64, 96, 4  # of continuations; entropies are compared between the first and the last part


def given_text(at: Place) -> Findings:
    """Token by token on given text: the mix with the neighbours beside the model alone."""
    from ...evaluation.metrics.likelihood import token_nll
    from ...evaluation.rows import Row
    from ...evaluation.streams import build
    from ...methods.logits.knn_lm import mix
    from ...studies.study import Findings
    from ..numbers import change, share

    neighbours = _Neighbours(at)
    plain: list[Row] = []
    mixed: list[Row] = []
    for stream in build(at.source, neighbours.lm, LENGTH, TEXTS, per_document=LENGTH, seed=0):
        logits, retrieved = neighbours.read(stream.ids)
        targets = stream.ids[0, 1:]
        both = (logits[:-1], mix(logits, retrieved, neighbours.method.lmbda)[:-1])
        for rows, scores in zip((plain, mixed), both, strict=True):
            for p, value in enumerate(token_nll(scores, targets).tolist(), 1):
                if stream.where[p] >= 0:
                    rows.append(Row(f"{stream.id}:{p}", stream.docs[stream.where[p]], "nll", value))
    worse = [b.value > a.value for a, b in zip(plain, mixed, strict=True)]
    numbers = {
        "change of perplexity": change(mixed, plain),
        "tokens made worse": share(worse, [row.doc for row in plain]),
    }
    arms = {"plain": plain, "mixed": mixed}
    return Findings(numbers=numbers, rows=[{"arm": arm, **asdict(row)} for arm, rows in arms.items() for row in rows])


def own_text(at: Place) -> Findings:
    """Entropies along continuations that the mix has sampled: of the retrieved distribution and of the model's."""
    from ...evaluation.streams import build
    from ...recipes.recipe import Recipe
    from ...recipes.session import Session
    from ...studies.study import Findings
    from ..numbers import mean

    neighbours = _Neighbours(at)
    streams = build(at.source, neighbours.lm, PROMPT, TEXTS, per_document=PROMPT, seed=0)
    with Session.open(neighbours.lm, Recipe.parse(LINE), neighbours.artifacts) as session:
        new = [
            session.generate(
                s.ids, max_new_tokens=NEW, seed=i, do_sample=True, top_p=0.8, top_k=0, min_new_tokens=NEW
            ).ids
            for i, s in enumerate(streams)
        ]
    names = [s.id for s in streams]
    growth = [_growth(neighbours, s.ids, ids) for s, ids in zip(streams, new, strict=True)]
    retrieved, model = ([g[k] for g in growth] for k in ("retrieved", "model"))
    numbers = {
        "growth of retrieval entropy over the model's": mean(
            [r - m for r, m in zip(retrieved, model, strict=True)], names, unit="nats"
        ),
        "growth of retrieval entropy": mean(retrieved, names, unit="nats"),
        "growth of the model's entropy": mean(model, names, unit="nats"),
    }
    return Findings(numbers=numbers, rows=[{"text": name, **g} for name, g in zip(names, growth, strict=True)])


def _growth(neighbours: _Neighbours, prompt: Tensor, new: Tensor) -> dict[str, float]:
    """Mean entropy over the last part of a continuation minus that over the first, of both distributions."""
    import torch

    from ...methods.logits.knn_lm import entropy

    logits, retrieved = neighbours.read(torch.cat([prompt[0], new])[None])
    size = NEW // PARTS
    curves = {"retrieved": entropy(retrieved), "model": entropy(logits.softmax(-1))}
    along = {name: curve[PROMPT - 1 : -1] for name, curve in curves.items()}
    return {name: float(curve[-size:].mean() - curve[:size].mean()) for name, curve in along.items()}


class _Neighbours:
    """The embedded model with a datastore of text that is not judged."""

    def __init__(self, at: Place) -> None:
        from ...bench.workers.fitting import fit_recipe
        from ...bridge.fitter import TextFitter
        from ...methods.logits.knn_lm import KnnLM
        from ...recipes.recipe import Recipe

        self.lm = at.load(at.models[0])
        recipe, texts = Recipe.parse(LINE), [d.text for d in at.source.fit_documents]
        (method,) = recipe.methods
        assert isinstance(method, KnnLM)
        self.method: KnnLM = method
        self.artifacts: Mapping[str, Artifact] = fit_recipe(self.lm, recipe, lambda: texts)
        (self._store,) = (artifact.tensors for artifact in self.artifacts.values())
        self._fitter = TextFitter(self.lm, texts)

    def read(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """(logits, retrieved distribution), both [T, V], of ids [1, T] read in one forward."""
        from ...methods.logits.knn_lm import nearest_keys, retrieval_distribution

        logits, hidden = self._fitter.forward(ids)
        distances, index = nearest_keys(hidden[0].float(), self._store["keys"], self.method.k)
        tokens = self._store["values"][index]
        return logits[0].float(), retrieval_distribution(distances, tokens, logits.shape[-1], self.method.temperature)


def measure(found: Found) -> Mapping[str, Number]:
    return {
        "change of perplexity under the plain model": found.change("judge_nll", LINE),
        "change of diversity": found.change("diversity", LINE),
    }


USES = ("methods/logits/knn_lm.py", "evaluation/metrics")

PAPER = Paper(
    title="KNN-LM Does Not Improve Open-ended Text Generation",
    arxiv=("2305.14625", "1911.00172"),
    family="retrieval",
    methods=("knn-lm",),
    claims=(
        Claim(
            says="Mixing in what followed at the nearest places of a text lowers perplexity.",
            metric="perplexity",
            setting="WikiText-103, its own training set as the datastore (103 million keys)",
            size="247M",
            figure="18.65 falls to 16.12",
            section="1911.00172, table 1",
            experiment=Direct(work=given_text, uses=USES),
            limits=(Limit(number="change of perplexity", at_most=0, expected=-13),),
        ),
        Claim(
            says="Most tokens get worse; the gain comes from the few that get much better.",
            metric="share of tokens with a higher loss than the plain model's",
            setting="WikiText-103 test",
            size="247M",
            figure="over half",
            section="abstract; analysis of tokens",
            experiment=Direct(work=given_text, uses=USES),
            limits=(
                Limit(number="tokens made worse", at_least=50, expected=60),
                Limit(number="change of perplexity", at_most=0, expected=-13),
            ),
        ),
        Claim(
            says="Sampled text is not better for it.",
            metric="MAUVE and human preference; here perplexity under the plain model, and diversity",
            setting="5,000 prompts of WikiText-103, nucleus sampling",
            size="247M",
            figure="no gain in MAUVE, no preference",
            section="abstract; evaluation of generated text",
            experiment=Bench(recipes=(LINE,), tasks=(SAMPLED,), measure=measure),
            limits=(
                Limit(number="change of perplexity under the plain model", at_least=-10, expected=0),
                Limit(number="change of diversity", at_most=5, expected=0),
            ),
        ),
        Claim(
            says="The longer the generated text, the less sure retrieval is, and it loses faster than the model does.",
            metric="entropy of the retrieved and of the model's distribution along a continuation",
            setting="nucleus samples of WikiText-103",
            size="247M",
            figure="retrieval entropy grows faster",
            section="abstract; analysis of entropy",
            experiment=Direct(work=own_text, uses=USES),
            limits=(Limit(number="growth of retrieval entropy over the model's", at_least=0, expected=0.2),),
            also=("growth of retrieval entropy", "growth of the model's entropy"),
        ),
    ),
)
