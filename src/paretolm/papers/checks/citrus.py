"""CItruS (2406.12018): a cache evicted chunk by chunk holds what the instruction will ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Limit, Paper
from ._tasks import RECALL, TEXT
from ._twice import longest, over_twice

if TYPE_CHECKING:
    from ...studies.study import Number
    from ..found import Found

LINE = "citrus(budget=160tok, chunk_size=32, instruction=24)"
RIVAL = "h2o(budget=160tok)"


def measure(found: Found) -> Mapping[str, Number]:
    return {
        "recall": found.mean("recall", LINE, RECALL),
        "recall by h2o": found.mean("recall", RIVAL, RECALL),
        "recall, dense": found.mean("recall", task=RECALL),
        "recall less twice that of h2o": over_twice(found, LINE, RIVAL, RECALL, longest(found, RECALL)),
        "change of perplexity against h2o": found.change("nll", LINE, RIVAL, task=TEXT),
        "cache held against h2o": found.held(LINE, RIVAL, task=RECALL),
    }


PROMPTS = Bench(recipes=(LINE, RIVAL), tasks=(RECALL, TEXT), measure=measure)

PAPER = Paper(
    title="CItruS: Chunked Instruction-aware State Eviction for Long Sequence Modeling",
    arxiv=("2406.12018",),
    family="cache",
    methods=("citrus",),
    claims=(
        Claim(
            says="Eviction that keeps perplexity still drops what the task needs; asking the instruction keeps it.",
            metric="accuracy of retrieval and question answering",
            setting="Needle in a Haystack and passkeys to a million tokens, 8 reading comprehension sets, k of 768 tokens",
            size="Llama-2-7B and 13B, Mistral-7B",
            figure="well above eviction by attention of the text itself at equal memory",
            section="abstract; section 5",
            experiment=PROMPTS,
            limits=(
                Limit(number="recall less twice that of h2o", at_least=0, expected=20),
                Limit(number="cache held against h2o", at_most=100, expected=80),
            ),
            needs=(Limit(number="recall, dense", at_least=80, expected=100),),
            also=("recall", "recall by h2o"),
        ),
        Claim(
            says="The language model loses nothing by it.",
            metric="perplexity",
            setting="long documents, read chunk by chunk",
            size="Llama-2-7B, Mistral-7B",
            figure="perplexity as with eviction by the text's own attention",
            section="section 5, language modelling",
            experiment=PROMPTS,
            limits=(Limit(number="change of perplexity against h2o", at_most=3, expected=0),),
        ),
    ),
)
