"""LLM-KICK (2310.01382): what compression takes from a model, beside what perplexity says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Limit, Paper
from ._tasks import RECALL, TEXT

if TYPE_CHECKING:
    from ...studies.study import Number
    from ..found import Found

KNOWN = "closed-book"
THIRD = {m: f"{m}(sparsity=0.3{more})" for m, more in (("magnitude", ""), ("wanda", ", nsamples=16"))}
HALF = "sparsegpt(sparsity=0.5, nsamples=16)"
PATTERN = "sparsegpt(prunen=2, prunem=4, nsamples=16)"
BITS, CACHE = "finequant(bits=4)", "snapkv(budget=12%)"


def measure(found: Found) -> Mapping[str, Number]:
    return {
        "facts the whole model knows": found.mean("acc", task=KNOWN),
        "recall of the whole model": found.mean("recall", task=RECALL),
        **{f"facts lost by {m} at 30%": found.change("acc", line, task=KNOWN) for m, line in THIRD.items()},
        "facts lost by 2:4": found.change("acc", PATTERN, task=KNOWN),
        "perplexity of 2:4": found.change("nll", PATTERN, task=TEXT),
        "facts lost by pruning half": found.change("acc", HALF, task=KNOWN),
        "facts, four bits against pruning half": found.change("acc", BITS, HALF, task=KNOWN),
        "perplexity of pruning half": found.change("nll", HALF, task=TEXT),
        "recall lost by pruning half": found.change("recall", HALF, task=RECALL),
        "perplexity, an eighth of the cache against four bits": found.change("nll", CACHE, BITS, task=TEXT),
        "recall, an eighth of the cache against four bits": found.change("recall", CACHE, BITS, task=RECALL),
    }


VERSIONS = Bench(recipes=(*THIRD.values(), HALF, PATTERN, BITS, CACHE), tasks=(TEXT, KNOWN, RECALL), measure=measure)
KNOWING = (Limit(number="facts the whole model knows", at_least=30, expected=42),)
FINDING = (Limit(number="recall of the whole model", at_least=80, expected=100),)
SIZES = "Vicuna-7B and 13B, LLaMA-2"

PAPER = Paper(
    title="Compressing LLMs: The Truth is Rarely Pure and Never Simple",
    arxiv=("2310.01382",),
    family="evaluation",
    methods=("magnitude", "wanda", "sparsegpt"),
    tasks=("closed-book", "nq-open", "summary", "ifeval"),
    claims=(
        Claim(
            says="Pruning takes knowledge already where less than a third of the weights goes.",
            metric="factoid questions, MMLU",
            setting="one-shot magnitude, SparseGPT and Wanda at 25 to 30%",
            size=SIZES,
            figure="clear losses at 25 to 30% sparsity",
            section="abstract; knowledge-intensive tasks",
            experiment=VERSIONS,
            limits=tuple(Limit(number=f"facts lost by {m} at 30%", at_most=-5, expected=-10) for m in THIRD),
            needs=KNOWING,
        ),
        Claim(
            says="Patterns of two in four weights fail on knowledge.",
            metric="factoid questions, MMLU",
            setting="2:4 and 4:8 patterns",
            size=SIZES,
            figure="fail",
            section="abstract; knowledge-intensive tasks",
            experiment=VERSIONS,
            limits=(Limit(number="facts lost by 2:4", at_most=-5, expected=-15),),
            needs=KNOWING,
            also=("perplexity of 2:4",),
        ),
        Claim(
            says="Fewer bits keep more knowledge than pruning.",
            metric="factoid questions, MMLU",
            setting="GPTQ at 8 and 4 bits against pruning by half",
            size=SIZES,
            figure="quantization fares better",
            section="abstract; knowledge-intensive tasks",
            experiment=VERSIONS,
            limits=(Limit(number="facts, four bits against pruning half", at_least=0, expected=10),),
            needs=KNOWING,
            also=("facts lost by pruning half",),
        ),
        Claim(
            says="Models pruned by half still find what stands in their context.",
            metric="questions about a text at hand",
            setting="TriviaQA with retrieved passages at 50% and more",
            size=SIZES,
            figure="robust at 50% and more",
            section="abstract; in-context retrieval",
            experiment=VERSIONS,
            limits=(Limit(number="recall lost by pruning half", at_least=-10, expected=0),),
            needs=FINDING,
            also=("perplexity of pruning half",),
        ),
        Claim(
            says="Perplexity does not see it: versions it calls alike are far apart on tasks.",
            metric="perplexity beside tasks",
            setting="compressed versions side by side",
            size=SIZES,
            figure="perplexity within a few percent, tasks apart",
            section="abstract; introduction",
            experiment=VERSIONS,
            limits=(
                Limit(number="perplexity, an eighth of the cache against four bits", at_most=5, expected=0),
                Limit(number="perplexity, an eighth of the cache against four bits", at_least=-5, expected=0),
                Limit(number="recall, an eighth of the cache against four bits", at_most=-10, expected=-20),
            ),
            needs=FINDING,
        ),
    ),
)
