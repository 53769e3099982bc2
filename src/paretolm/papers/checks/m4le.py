"""M4LE (2310.19240): scores fall with length, and most where several spans are needed."""

from __future__ import annotations

from ..claim import Claim, Limit, Paper, Rerun

ABILITIES = Rerun(study="m4le(repeats=2)")
ABLE = Limit(number="at the shortest", at_least=20, expected=45)  # below it there is nothing that length could take

PAPER = Paper(
    title="M4LE: A Multi-Ability Multi-Range Multi-Task Multi-Domain Long-Context Evaluation Benchmark for Large "
    "Language Models",
    arxiv=("2310.19240",),
    family="evaluation",
    tasks=("m4le",),
    studies=("m4le",),
    claims=(
        Claim(
            says="Scores fall as the context grows.",
            metric="f1 at the shortest length minus at the longest, points",
            setting="36 sets, 1,000 to 8,000 words",
            size="11 models, LLaMA2 of 7 and 13 billion parameters and ChatGPT-16K among them",
            figure="normalised score from 0.50 to 0.36 for ChatGPT-16K, from 0.41 to 0.07 for LLaMA2-7B",
            section="section 4",
            experiment=ABILITIES,
            needs=(ABLE,),
            limits=(Limit(number="lost by length", at_least=0, expected=15),),
        ),
        Claim(
            says="Tasks that need several spans are harder than those that need one.",
            metric="f1 of the multiple-span abilities minus that of the single-span ones, points",
            setting="the same",
            size="the same",
            figure="multiple-span abilities lose most with length",
            section="section 4",
            experiment=ABILITIES,
            needs=(ABLE,),
            limits=(Limit(number="several spans minus one", at_most=0, expected=-15),),
        ),
    ),
)
