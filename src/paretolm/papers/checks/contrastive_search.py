"""Contrastive Search Is What You Need For Neural Text Generation (2210.14140)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Direct, Limit, Paper
from ._tasks import CONTINUED, SAMPLED

if TYPE_CHECKING:
    from ...evaluation.rows import Row
    from ...studies.study import Findings, Number, Place
    from ..found import Found

LINE = "contrastive-search(k=4, alpha=0.6)"
TEXTS, LENGTH = 24, 256


def measure(found: Found) -> Mapping[str, Number]:
    from ..numbers import change, mean

    def rows(recipe: str, task: str, metric: str) -> list[Row]:
        return found.rows(recipe, task, lambda row: row.metric == metric)

    greedy, own = rows("dense", CONTINUED, "rep_4"), rows(LINE, CONTINUED, "rep_4")
    beyond = [100 * (b.value - a.value / 2) for a, b in zip(greedy, own, strict=True)]
    return {
        "repeated 4-grams": found.mean("rep_4", LINE, CONTINUED),
        "repeated 4-grams, greedy": found.mean("rep_4", task=CONTINUED),
        "repeated 4-grams less half of greedy's": mean(beyond, [row.doc for row in own], unit="points"),
        "change of diversity against greedy": found.change("diversity", LINE, task=CONTINUED),
        "change of perplexity against samples": change(
            rows(LINE, CONTINUED, "judge_nll"), rows("dense", SAMPLED, "judge_nll")
        ),
        "diversity": found.mean("diversity", LINE, CONTINUED),
        "diversity of samples": found.mean("diversity", task=SAMPLED),
    }


def isotropies(at: Place) -> Findings:
    """Isotropy of the token states of texts: one minus their mean cosine, for each of the embedded models."""
    from ...bridge.fitter import TextFitter
    from ...evaluation.streams import build
    from ...methods.decode.contrastive_search import isotropy
    from ...studies.study import Findings
    from ..numbers import mean

    numbers, rows = {}, []
    for name in at.models:
        lm = at.load(name)
        fitter = TextFitter(lm, [at.source.eval_documents[0].text])
        streams = build(at.source, lm, LENGTH, TEXTS, per_document=LENGTH, seed=0)
        found = [isotropy(fitter.forward(s.ids)[1][0]) for s in streams]
        rows += [{"model": name, "text": s.id, "isotropy": v} for s, v in zip(streams, found, strict=True)]
        numbers[f"isotropy of {name}"] = mean(found, [s.id for s in streams])
    return Findings(numbers=numbers, rows=rows)


TEXT = Bench(recipes=(LINE,), tasks=(CONTINUED, SAMPLED), measure=measure)

PAPER = Paper(
    title="Contrastive Search Is What You Need For Neural Text Generation",
    arxiv=("2210.14140", "2202.06417"),
    family="decoding",
    methods=("contrastive-search",),
    claims=(
        Claim(
            says="It ends the repetition of greedy search.",
            metric="diversity: the product of one minus repeated 2-, 3- and 4-grams",
            setting="open-ended continuation in 16 languages",
            size="GPT-2, OPT and others up to 2.7B",
            figure="diversity near that of human text where greedy search is far below",
            section="section 4",
            experiment=TEXT,
            limits=(
                Limit(number="repeated 4-grams less half of greedy's", at_most=0, expected=-20),
                Limit(number="change of diversity against greedy", at_least=0, expected=40),
            ),
            also=("repeated 4-grams", "repeated 4-grams, greedy"),
        ),
        Claim(
            says="The text stays more coherent than samples.",
            metric="coherence: likelihood under another model; here perplexity under the plain one",
            setting="open-ended continuation, against nucleus sampling; here against plain sampling",
            size="GPT-2, OPT and others up to 2.7B",
            figure="higher coherence than nucleus sampling at similar diversity",
            section="section 4",
            experiment=TEXT,
            limits=(Limit(number="change of perplexity against samples", at_most=0, expected=-40),),
            also=("diversity", "diversity of samples"),
        ),
        Claim(
            says="Language models are isotropic by nature, English GPT-2 small and medium apart.",
            metric="isotropy: one minus the mean cosine of token states",
            setting="38 models of 16 languages, WIT",
            size="117M to 30B",
            figure="clearly isotropic except for two models",
            section="section 3",
            experiment=Direct(work=isotropies, models=("reference", "draft"), uses=("methods/decode",)),
            limits=(
                Limit(number="isotropy of reference", at_least=0.5, expected=0.8),
                Limit(number="isotropy of draft", at_least=0.5, expected=0.8),
            ),
        ),
    ),
)
