"""CASTILLO (2505.16881): lengths of answers vary under one setting, and can be foretold in part."""

from __future__ import annotations

from ..claim import Claim, Limit, Paper, Rerun

SAMPLES = Rerun(study="castillo")
# a length is seen only where a sample ends by itself
ENDED = Limit(number="samples cut at the limit", at_most=50, expected=20)
SETTING = "ten samples a prompt of seven instruction sets, each model's own sampling"

PAPER = Paper(
    title="CASTILLO: Characterizing Response Length Distributions of Large Language Models",
    arxiv=("2505.16881",),
    family="evaluation",
    studies=("castillo",),
    claims=(
        Claim(
            says="Answers to one prompt under one setting differ widely in length.",
            metric="deviation of a prompt's samples over their mean",
            setting=SETTING,
            size="1B to 70B",
            figure="wide bands of one deviation around the means",
            section="abstract, figure 1",
            experiment=SAMPLES,
            needs=(ENDED,),
            limits=(Limit(number="relative deviation within a prompt", at_least=20, expected=40),),
            also=("deviation within a prompt", "mean length", "degenerate samples"),
        ),
        Claim(
            says="The lengths carry what a predictor needs: one fitted to them beats a single number.",
            metric="absolute error of the mean length on held-out prompts",
            setting=SETTING,
            size="1B to 70B",
            figure="none; named as a use",
            section="abstract",
            experiment=SAMPLES,
            needs=(ENDED,),
            limits=(Limit(number="error saved by the predictor", at_least=0, expected=5),),
            also=("absolute error of the predictor", "absolute error of the global mean"),
        ),
    ),
)
