"""E2LM (2506.07731): completion forms of questions tell early checkpoints apart where letters do not."""

from __future__ import annotations

from ..claim import Claim, Limit, Paper, Rerun

STEPS = (10, 20, 40, 80, 120, 160, 240, 320, 400, 500, 600, 700, 800, 900)
# what `paretolm train early --text CORPUS --to DATA/early` keeps
FORMS = Rerun(
    study="e2lm(items=500)",
    models=tuple(f"{{data}}/early/checkpoints/{step:07d}" for step in STEPS),
    needs_data=("early",),
)

PAPER = Paper(
    title="NeurIPS 2025 E2LM Competition: Early Training Evaluation of Language Models",
    arxiv=("2506.07731",),
    family="evaluation",
    studies=("e2lm",),
    claims=(
        Claim(
            says="A completion form of questions rises steadily over early training.",
            metric="rank correlation of training and score",
            setting="MMLU-var, ARC-easy, SciQ; checkpoints up to 200 billion tokens",
            size="0.5B to 3B",
            figure="clear signals for MMLU-var, flat or noisy curves for MMLU",
            section="section 2, figures 1 and 2",
            experiment=FORMS,
            limits=(Limit(number="cloze probability: signal", at_least=0.5, expected=0.9),),
            also=("cloze: signal", "letters: signal"),
        ),
        Claim(
            says="It tells checkpoints apart better than choosing among letters.",
            metric="difference of signal and of ranking consistency",
            setting="MMLU-var against MMLU",
            size="0.5B to 3B",
            figure="letters stay at chance for small models early in training",
            section="section 2, figures 1 and 2",
            experiment=FORMS,
            limits=(
                Limit(number="cloze minus letters, signal", at_least=0, expected=0.5),
                Limit(number="cloze minus letters, consistency", at_least=0, expected=0.5),
            ),
        ),
    ),
)
