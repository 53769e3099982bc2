"""LongICLBench (2404.02060): many labels from long demonstrations are hard, and late ones are favoured."""

from __future__ import annotations

from ..claim import Claim, Limit, Paper, Rerun

EXAMPLES = Rerun(study="licon-bench")

PAPER = Paper(
    title="Long-context LLMs Struggle with Long In-context Learning",
    arxiv=("2404.02060",),
    family="evaluation",
    tasks=("licon-bench",),
    studies=("licon-bench",),
    claims=(
        Claim(
            says="Longer demonstrations do not help beyond some length: accuracy falls.",
            metric="accuracy at the shortest prompt minus at the longest, points",
            setting="six sets of 28 to 174 classes, 2,000 to 50,000 tokens; here 12 classes",
            size="13 models of 2.8 to 13 billion parameters, GPT-4-turbo and Gemini-1.0-Pro",
            figure="most models but GPT-4-turbo fall sharply after 20,000 tokens",
            section="section 4.2",
            experiment=EXAMPLES,
            needs=(Limit(number="scattered: at the shortest", at_least=16, expected=50),),
            limits=(Limit(number="scattered: lost by length", at_least=0, expected=20),),
            also=("nearest example",),
        ),
        Claim(
            says="Models favour labels shown late.",
            metric="where the label said stands in the prompt: 0% is first, 100% is last",
            setting="examples of a label together",
            size="the same models",
            figure="labels at the end are said more often",
            section="section 4.3",
            experiment=EXAMPLES,
            needs=(Limit(number="grouped: said a label", at_least=50, expected=95),),
            limits=(Limit(number="grouped: place of the label said", at_least=50, expected=65),),
        ),
    ),
)
