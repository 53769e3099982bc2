"""XL3M (2405.17755): the segments after which the model is sure stand for a text of many trained lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..claim import Claim, Direct, Limit, Paper
from ._haystack import USES, last_tokens, measured

if TYPE_CHECKING:
    from ...studies.study import Findings, Place

LENGTHS = 16
LINE = "xl3m(question=24)"


def work(at: Place) -> Findings:
    """A fact in 16 trained lengths: the segments kept, the answers, and those of plain truncation."""
    longest = at.load(at.models[0]).view.trained_length
    others = {"truncation": lambda _, ids, __: last_tokens(ids, longest - 8)}
    return measured(at, LINE, LENGTHS, others, "xl3m")


FAR = Direct(work=work, uses=USES)

PAPER = Paper(
    title="XL3M: A Training-free Framework for LLM Length Extension Based on Segment-wise Inference",
    arxiv=("2405.17755",),
    family="prompts",
    methods=("xl3m",),
    claims=(
        Claim(
            says="Segments after which the model is sure of its answer are those that hold what is asked for.",
            metric="relevant segments among those kept",
            setting="needles and LongBench-E; inputs of many times the trained length",
            size="Llama-2-7B and models of its size",
            figure="the answer's segment is kept; here in more than 80% of texts of 16 trained lengths",
            section="method; needle experiments",
            experiment=FAR,
            limits=(Limit(number="xl3m: fact kept", at_least=80, expected=100),),
        ),
        Claim(
            says="What is put together fits the trained length, however long the input.",
            metric="tokens of the key context",
            setting="inputs up to 20 million tokens",
            size="Llama-2-7B",
            figure="at most the trained length",
            section="abstract; method",
            experiment=FAR,
            limits=(Limit(number="longest prompt that is read, of the window", at_most=100, expected=99),),
        ),
        Claim(
            says="The answers are right more often than from a truncated input.",
            metric="task scores; needle accuracy",
            setting="LongBench-E and Needle in a Haystack",
            size="Llama-2-7B and models of its size",
            figure="above the plain model and other extensions",
            section="abstract; experiments",
            experiment=FAR,
            limits=(Limit(number="change of answers against truncation", at_least=0, expected=60),),
            also=("xl3m: answers", "truncation: answers", "truncation: fact kept"),
        ),
    ),
)
