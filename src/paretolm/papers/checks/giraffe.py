"""Giraffe (2308.10882): which change of the rotary frequencies reaches furthest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Limit, Paper, Rerun

if TYPE_CHECKING:
    from ...studies.study import Number
    from ..found import Found

TWO, FOUR = "giraffe(basis=linear, scale=2)", "giraffe(basis=linear, scale=4)"
POWER, TRUNCATED = "giraffe(basis=power)", "giraffe(basis=truncated)"
BEYOND = "recall(lengths=1.5, repeats=5)"
LONG = "perplexity(length=2048, streams=6, context=0.5, audit=0)"
UNTUNED = "without the tuning that the paper adds"


def measure(found: Found) -> Mapping[str, Number]:
    return {
        "recall beyond the trained length, linear basis": found.mean("recall", TWO, BEYOND),
        "change of recall, linear against power": found.change("recall", TWO, POWER, BEYOND),
        "change of recall, linear against truncated": found.change("recall", TWO, TRUNCATED, BEYOND),
        "change of recall, scale 4 against 2": found.change("recall", FOUR, TWO, BEYOND),
        "change of perplexity at twice it, linear": found.change("nll", TWO, task=LONG),
        "change of perplexity at twice it, power": found.change("nll", POWER, task=LONG),
        "change of perplexity at twice it, truncated": found.change("nll", TRUNCATED, task=LONG),
        "change of recall there, truncated": found.change("recall", TRUNCATED, task=BEYOND),
        "dense recall there": found.mean("recall", task=BEYOND),
    }


BASES = Bench(recipes=(TWO, FOUR, POWER, TRUNCATED), tasks=(BEYOND, LONG), measure=measure)
TUNED = Rerun(study="giraffe(schemes=linear, steps=40, texts=1)")
ABLE = (Limit(number="recall beyond the trained length, linear basis", at_least=20, expected=60),)

PAPER = Paper(
    title="Giraffe: Adventures in Expanding Context Lengths in LLMs",
    arxiv=("2308.10882",),
    family="positions",
    methods=("giraffe",),
    studies=("giraffe",),
    claims=(
        Claim(
            says="Tuned after positions are divided, the model reads longer texts as well as those within its window.",
            metric="perplexity",
            setting="tuned on 4 thousand tokens, twice the trained length, read at 2 to 16 thousand; here tuned 40 steps "
            "at the trained length and read at 4 times it",
            size="LLaMA-13B",
            figure="level up to the length that the scale stands for",
            section="comparison of methods; perplexity",
            experiment=TUNED,
            limits=(Limit(number="linear, tuned: perplexity at 4x against in-window", at_most=10, expected=3),),
            also=(
                "linear: perplexity at 4x against in-window",
                "none: perplexity at 4x against in-window",
                "linear, tuned: key-value accuracy at 1x",
                "linear, tuned: key-value accuracy at 4x",
            ),
        ),
        Claim(
            says="Dividing positions reaches further than the other bases.",
            metric="accuracy on LongChat-Lines",
            setting=f"2 to 16 thousand tokens; here {UNTUNED}",
            size="LLaMA-13B",
            figure="linear best at every length",
            section="comparison of methods",
            experiment=BASES,
            limits=(
                Limit(number="change of recall, linear against power", at_least=0, expected=30),
                Limit(number="change of recall, linear against truncated", at_least=0, expected=30),
            ),
            needs=ABLE,
            also=("dense recall there",),
        ),
        Claim(
            says="A larger scale at evaluation than in tuning reaches further still.",
            metric="accuracy on LongChat-Lines",
            setting=f"scale 16 tuned, 24 and more evaluated; here {UNTUNED}",
            size="LLaMA-13B",
            figure="higher beyond the tuned length",
            section="abstract; scales at evaluation",
            experiment=BASES,
            limits=(Limit(number="change of recall, scale 4 against 2", at_least=0, expected=20),),
            needs=ABLE,
        ),
        Claim(
            says="The truncated basis extrapolates.",
            metric="accuracy on LongChat-Lines, perplexity",
            setting=f"beyond the tuned length; here {UNTUNED}",
            size="LLaMA-13B",
            figure="above zero where others have fallen to it, though far below linear",
            section="abstract; comparison of methods",
            experiment=BASES,
            limits=(
                Limit(number="change of perplexity at twice it, truncated", at_most=0, expected=-20),
                Limit(number="change of recall there, truncated", at_least=0, expected=10),
            ),
            also=("change of perplexity at twice it, linear", "change of perplexity at twice it, power"),
        ),
    ),
)
