"""Simple hacks for long texts (2403.12563): without stopwords, half the tokens say as much."""

from __future__ import annotations

from ..claim import Claim, Limit, Paper, Rerun

SET = Rerun(study="text-shortening-hacks(path={data}/subjectivity)", needs_data=("subjectivity",))

PAPER = Paper(
    title="Simple Hack for Transformers against Heavy Long-Text Classification on a Time- and Memory-Limited GPU Service",
    arxiv=("2403.12563",),
    family="prompts",
    studies=("text-shortening-hacks",),
    claims=(
        Claim(
            says="Shortened texts of 256 tokens are classified as well as the first 512 of the whole ones.",
            metric="accuracy, points",
            setting="18 thousand Indonesian news articles; here joined sentences of two classes, the model as it is",
            size="IndoBERT, IndoRoBERTa and others",
            figure="some setups at 128 and 256 above the first 512",
            section="abstract; comparison of lengths",
            experiment=SET,
            limits=(Limit(number="best way at 256 against first 512", at_least=-1, expected=1),),
            needs=(Limit(number="first tokens at 512", at_least=60, expected=95),),
            also=("best way at 128 against first 512",),
        ),
        Claim(
            says="The best hack takes stopwords out and leaves punctuation and rare words.",
            metric="accuracy, points",
            setting="18 thousand Indonesian news articles; here joined sentences of two classes, the model as it is",
            size="IndoBERT, IndoRoBERTa and others",
            figure="best of the removals",
            section="abstract; comparison of hacks",
            experiment=SET,
            limits=(Limit(number="no stopwords at 256 against first 512", at_least=-1, expected=1),),
            needs=(Limit(number="first tokens at 512", at_least=60, expected=95),),
            also=("no stopwords at 256", "no punctuation at 256", "no rare words at 256", "no repetitions at 256"),
        ),
    ),
)
