"""YourBench (2504.01833): questions written from documents, with citations that hold, rank models as known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..claim import Claim, Direct, Limit, Paper

if TYPE_CHECKING:
    from ...studies.study import Findings, Place

DAMAGE = (0.8, 0.4, 0.2, 0.1, 0.0)  # noise on every matrix, in its own deviations: the order is known by construction
QUESTIONS, CONTEXT = 400, 40
TEXTS = ("studies/yourbench.py", "studies/_cloze.py", "studies/_citations.py", "studies/_questions.py")


def ranking(at: Place) -> Findings:
    """One model, damaged more and less, asked questions that were written from the text by rule."""
    import numpy as np

    from ...studies._citations import stands
    from ...studies._cloze import distinct, written
    from ...studies._questions import Question, log_likelihoods, right
    from ...studies.study import Findings
    from ...studies.yourbench import agreement
    from ..numbers import exact, share

    texts = {d.id: d.text for d in at.source.documents}
    works = {d.id: d.work for d in at.source.documents}
    kept = distinct(written(at.source.documents, CONTEXT, 0))
    asked = [kept[i] for i in sorted(np.random.default_rng(0).permutation(len(kept))[:QUESTIONS].tolist())]
    put = [Question(a.id, works[a.doc], a.question, a.choices, a.answer) for a in asked]
    hits = []
    for number, damage in enumerate(DAMAGE):
        at.progress.note(f"damage {damage} ({number + 1} of {len(DAMAGE)})")
        lm = at.load(at.models[0])
        damaged(lm.model, damage)
        hits.append([right(q, lls) for q, lls in zip(put, log_likelihoods(lm, put, "cloze"), strict=True)])
    docs = [q.doc for q in put]
    verbatim = float(np.mean([stands(a.citations, a.doc, texts) for a in asked]))
    numbers = agreement(np.array(hits), np.arange(len(DAMAGE), dtype=float), docs, 0) | {
        "right answers of the whole model": share([bool(h) for h in hits[-1]], docs),
        "citations that stand in the text letter by letter": exact(100 * verbatim, "%", len(asked)),
    }
    rows = [
        {"damage": d, "item": q.id, "right": h}
        for d, own in zip(DAMAGE, hits, strict=True)
        for q, h in zip(put, own, strict=True)
    ]
    return Findings(numbers=numbers, rows=rows)


def damaged(model: object, share: float) -> None:
    """Normal noise on every matrix of a model, `share` times its own deviation."""
    import torch

    assert isinstance(model, torch.nn.Module)
    dice = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                noise = torch.randn(parameter.shape, generator=dice).to(parameter)
                parameter.add_(noise, alpha=share * float(parameter.float().std()))


RANKING = Direct(work=ranking, uses=TEXTS)

PAPER = Paper(
    title="YourBench: Easy Custom Evaluation Sets for Everyone",
    arxiv=("2504.01833",),
    family="evaluation",
    studies=("yourbench",),
    claims=(
        Claim(
            says="Questions written from documents rank models as an established set does.",
            metric="Spearman's correlation of mean scores",
            setting="seven subjects of MMLU written anew from Wikipedia pages by an ensemble of models",
            size="26 models, 3B to 671B",
            figure="1, at a cost below 15 dollars",
            section="abstract, section 3",
            experiment=RANKING,
            needs=(Limit(number="right answers of the whole model", at_least=30, expected=60),),
            limits=(Limit(number="Spearman's correlation with the known order", at_least=0.8, expected=1.0),),
            also=("resampled folders that rank as known",),
        ),
        Claim(
            says="What a question cites stands in the documents.",
            metric="share of questions whose citations pass",
            setting="a likeness of 0.85 or more to the nearest part of the source",
            size="models that write questions, 3B to 671B",
            figure="most; the others are left out",
            section="section 2",
            experiment=RANKING,
            limits=(Limit(number="citations that stand in the text letter by letter", at_least=100, expected=100),),
        ),
    ),
)
