"""L-Eval (2307.11088): open models are far from full marks on long documents."""

from __future__ import annotations

from ..claim import Claim, Limit, Paper, Rerun

DOCUMENTS = Rerun(study="l-eval")

PAPER = Paper(
    title="L-Eval: Instituting Standardized Evaluation for Long Context Language Models",
    arxiv=("2307.11088",),
    family="evaluation",
    tasks=("l-eval",),
    studies=("l-eval",),
    claims=(
        Claim(
            says="Open models answer closed questions better than chance, and far from all of them.",
            metric="exact match of closed tasks",
            setting="411 documents with over 2,000 questions; here a sample of documents that fit",
            size="open models of 7 to 13 billion parameters beside GPT-4, Claude and Turbo-16k",
            figure="open models lag behind the commercial ones",
            section="section 5",
            experiment=DOCUMENTS,
            needs=(Limit(number="closed: exact_match", at_least=30, expected=45),),
            limits=(Limit(number="closed: exact_match", at_most=75, expected=45),),
            also=("closed: f1", "open: f1", "open: rouge_l"),
        ),
    ),
)
