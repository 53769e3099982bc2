"""Perplexities of n-grams as a vector (2307.09255): one odd token stands out, where the mean hides it."""

from __future__ import annotations

from ..claim import Claim, Limit, Paper, Rerun

TYPOS = Rerun(study="ngram-ppl-vector")

PAPER = Paper(
    title="Text vectorization via transformer-based language models and n-gram perplexities",
    arxiv=("2307.09255",),
    family="evaluation",
    studies=("ngram-ppl-vector",),
    claims=(
        Claim(
            says="A single typo shows in the vector.",
            metric="share of sentences with one typo whose vector peaks there",
            setting="an argument with examples",
            size="not said",
            figure="none",
            section="abstract",
            experiment=TYPOS,
            limits=(Limit(number="peaks at the typo", at_least=80, expected=90),),
        ),
        Claim(
            says="Texts of equal perplexity, one with an odd token and one hard all over, have different vectors.",
            metric="which vector has the higher peak, and how far apart their deciles are",
            setting="an argument with examples",
            size="not said",
            figure="none",
            section="abstract",
            experiment=TYPOS,
            needs=(
                Limit(number="ratio of the pairs' perplexities", at_least=0.98, expected=1),
                Limit(number="ratio of the pairs' perplexities", at_most=1.02, expected=1),
            ),
            limits=(
                Limit(number="peak with a typo above peak without", at_least=50, expected=80),
                Limit(number="distance beyond that of two untouched ones", at_least=0, expected=0.3),
            ),
            also=("distance of vectors in a pair", "distance of two untouched ones"),
        ),
    ),
)
