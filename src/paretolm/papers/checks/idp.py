"""IDP (2310.00867): each input gets its own prompt, and a compressed model some of its answers back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Limit, Paper

if TYPE_CHECKING:
    from ...evaluation.rows import Row
    from ...studies.study import Number
    from ..found import Found

SMALL = "magnitude(sparsity=0.5)"
PROMPTS = (
    "Read the text with care and answer the question at its end.",
    "Remember every name and every number in the following text.",
    "The following text holds all that is needed. Answer briefly and exactly.",
    "Question and answer. The answer is in the text.",
    "Remember: the key of a person is a number.",
)
EACH = f'{SMALL} + idp(prompts="{" | ".join(PROMPTS)}")'
ALONE = tuple(f'{SMALL} + idp(prompts="{text}")' for text in PROMPTS)
TASKS = (
    "recall(lengths=0.25, repeats=3)",
    "recall(lengths=0.25, repeats=3, num_facts=3)",
    "recall(lengths=0.25, repeats=3, kinds=paraphrased)",
)


def measure(found: Found) -> Mapping[str, Number]:
    from ..numbers import change, of_rows

    rows = {recipe: _rows(found, recipe) for recipe in (SMALL, EACH, *ALONE)}
    best = max(ALONE, key=lambda recipe: sum(row.value for row in rows[recipe]))
    return {
        "change of recall, a prompt for each input against the best single one": change(rows[EACH], rows[best]),
        "change of recall, a prompt for each input against none": change(rows[EACH], rows[SMALL]),
        "recall of the compressed model": of_rows(rows[SMALL]),
        "recall with the best single prompt": of_rows(rows[best]),
    }


def _rows(found: Found, recipe: str) -> list[Row]:
    """Of all three tasks, each with items of its own."""
    return [
        replace(row, item=f"{task} {row.item}", tags={})
        for task in TASKS
        for row in found.rows(recipe, task, lambda row: row.metric == "recall")
    ]


COMPRESSED = Bench(recipes=(SMALL, EACH, *ALONE), tasks=TASKS, measure=measure)
ABLE = (Limit(number="recall of the compressed model", at_least=10, expected=40),)

PAPER = Paper(
    title="(Dynamic) Prompting might be all you need to repair Compressed LLMs",
    arxiv=("2310.00867",),
    family="prompts",
    methods=("idp",),
    claims=(
        Claim(
            says="A prompt chosen for each input is better than the best prompt for all.",
            metric="average accuracy",
            setting="nine tasks; tuned prompts, quantized and pruned models; here words, half the weights gone",
            size="LLaMA-7B, OPT-6.7B",
            figure="1.24% on average",
            section="abstract; inference-time dynamic prompting",
            experiment=COMPRESSED,
            limits=(
                Limit(
                    number="change of recall, a prompt for each input against the best single one",
                    at_least=0,
                    expected=1.24,
                ),
            ),
            needs=ABLE,
            also=("recall with the best single prompt",),
        ),
        Claim(
            says="Compression displaces knowledge, and a prompt brings it back.",
            metric="average accuracy",
            setting="nine tasks; against the compressed model without a prompt",
            size="LLaMA-7B, OPT-6.7B",
            figure="higher with prompts",
            section="abstract; displaced knowledge",
            experiment=COMPRESSED,
            limits=(Limit(number="change of recall, a prompt for each input against none", at_least=0, expected=5),),
            needs=ABLE,
        ),
    ),
)
