"""Needle threading (2411.05000): several threads at once cost little, length costs much."""

from __future__ import annotations

from ..claim import Claim, Limit, Paper, Rerun

THREADS = Rerun(
    study="needle-threading(form=number, lengths=0.25/0.5/1.0, kinds=single/thread/multi-thread, repeats=10)"
)

PAPER = Paper(
    title="Needle Threading: Can LLMs Follow Threads through Near-Million-Scale Haystacks?",
    arxiv=("2411.05000",),
    family="evaluation",
    tasks=("needle-threading",),
    studies=("needle-threading",),
    claims=(
        Claim(
            says="A single needle is found less often in long haystacks: the effective limit is below the stated one.",
            metric="needles found at a quarter of the trained length minus at all of it, points",
            setting="JSON haystacks of UUID pairs, up to 630,000 characters",
            size="17 models, Gemini 1.5, GPT-4o, Claude 3 and Llama 3.1 among them",
            figure="accuracy falls with length for most models",
            section="section 4",
            experiment=THREADS,
            needs=(Limit(number="single: at the shortest", at_least=75, expected=95),),
            limits=(Limit(number="single: lost by length", at_least=5, expected=30),),
            also=("single: effective length",),
        ),
        Claim(
            says="Following two threads at once costs little beside following one.",
            metric="values found by several threads minus by one, points",
            setting="the same, threads forward through the text",
            size="the same models",
            figure="curves of 2 to 25 threads lie close together",
            section="section 4.6",
            experiment=THREADS,
            needs=(Limit(number="thread: values found", at_least=25, expected=60),),
            limits=(Limit(number="several threads minus one", at_least=-10, expected=0),),
        ),
    ),
)
