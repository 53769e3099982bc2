"""OHRBench (2412.02592): errors of text recognition cascade through retrieval into answers."""

from __future__ import annotations

from ..claim import Claim, Limit, Paper, Rerun

NOISE = Rerun(study="ohrbench(queries=60)")

PAPER = Paper(
    title="OCR Hinders RAG: Evaluating the Cascading Impact of OCR on Retrieval-Augmented Generation",
    arxiv=("2412.02592",),
    family="evaluation",
    studies=("ohrbench",),
    claims=(
        Claim(
            says="Wrong words lower retrieval and answers, the more of them the more.",
            metric="rank correlation of noise and score; loss at the strongest noise",
            setting="350 PDF documents of six domains, semantic noise at three degrees",
            size="Llama-3.1-8B, Qwen2-7B and others",
            figure="retrieval and answers fall at every degree",
            section="section 5, figure 5",
            experiment=NOISE,
            limits=(
                Limit(number="semantic noise: evidence", at_most=-0.8, expected=-1),
                Limit(number="semantic noise: end to end", at_most=-0.8, expected=-1),
                Limit(number="semantic noise: loss of end to end", at_least=0, expected=30),
            ),
            also=("semantic noise: retrieval", "semantic noise: answer", "semantic noise: loss of retrieval"),
        ),
        Claim(
            says="Wrong formatting hurts answers too, retrieval hardly.",
            metric="loss from clean text to the strongest noise, points",
            setting="the same, formatting noise",
            size="Llama-3.1-8B, Qwen2-7B and others",
            figure="smaller losses than by semantic noise, larger for some readers",
            section="section 5, figure 5",
            experiment=NOISE,
            limits=(
                Limit(number="formatting noise: loss of answer", at_least=0, expected=20),
                Limit(number="formatting noise: loss of retrieval", at_most=10, expected=0),
            ),
            also=("formatting noise: loss of end to end",),
        ),
    ),
)
