"""CharBench (2508.02591): counting fails with long words and high counts, locating with long tokens."""

from __future__ import annotations

from ..claim import Claim, Limit, Paper, Rerun

ITEMS = Rerun(study="charbench(items=600)")
# a model that says the same number to everything is right where that number is the answer, whatever the word
ABLE = Limit(number="above the best constant, chosen", at_least=0, expected=10)

PAPER = Paper(
    title="CharBench: Evaluating the Role of Tokenization in Character-Level Tasks",
    arxiv=("2508.02591",),
    family="evaluation",
    tasks=("charbench", "charbench-choice"),
    studies=("charbench",),
    claims=(
        Claim(
            says="Counting is wrong more often in longer words and for higher counts.",
            metric="correlation of being right with the word's length and with the answer",
            setting="counts of a character and of different characters in English words of 4 to 10 letters",
            size="7B to 405B, and proprietary models",
            figure="negative for both, stronger than for properties of the tokens",
            section="abstract and analysis",
            experiment=ITEMS,
            needs=(ABLE,),
            limits=(
                Limit(number="correlation, chosen, counts, word_length", at_most=0, expected=-0.2),
                Limit(number="correlation, chosen, counts, answer", at_most=0, expected=-0.2),
            ),
            also=("correlation, chosen, counts, num_tokens",),
        ),
        Claim(
            says="Finding a position is wrong more often where the character stands in a long token.",
            metric="correlation of being right with the length of the token asked about",
            setting="first and last position of a character in English words of 4 to 10 letters",
            size="7B to 405B, and proprietary models",
            figure="negative",
            section="abstract and analysis",
            experiment=ITEMS,
            needs=(ABLE,),
            limits=(Limit(number="correlation, chosen, positions, token_length", at_most=0, expected=-0.2),),
            also=("correlation, chosen, positions, word_length",),
        ),
        Claim(
            says="Characters in words are hard for language models.",
            metric="accuracy of generated answers",
            setting="all four kinds of questions",
            size="7B to 405B, and proprietary models",
            figure="43.6% on average",
            section="abstract",
            experiment=ITEMS,
            limits=(Limit(number="accuracy, generated, all", at_most=60, expected=43.6),),
            also=("accuracy, chosen, all",),
        ),
    ),
)
