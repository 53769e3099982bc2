"""SnapKV (2404.14469): the end of the prompt votes for what stays of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Limit, Paper
from ._decoding import DECODING
from ._tasks import RECALL

if TYPE_CHECKING:
    from ...studies.study import Number
    from ..found import Found

EIGHTH, BARE, RIVAL = "snapkv(budget=12%)", "snapkv(budget=12%, kernel_size=1)", "h2o(budget=12%)"
TIGHT = "snapkv(budget=48tok)"


def measure(found: Found) -> Mapping[str, Number]:
    return {
        "change of recall at an eighth": found.change("recall", EIGHTH),
        "change of recall at 48 tokens": found.change("recall", TIGHT),
        "dense recall": found.mean("recall"),
        "cache held at an eighth": found.held(EIGHTH),
        "cache held at 48 tokens": found.held(TIGHT),
        "answer's log-probability with pooling against without": found.change("answer_logprob", EIGHTH, BARE),
        "change of recall with pooling against without": found.change("recall", EIGHTH, BARE),
        "change of recall against h2o": found.change("recall", EIGHTH, RIVAL),
        "answer's log-probability against h2o": found.change("answer_logprob", EIGHTH, RIVAL),
    }


PROMPTS = Bench(recipes=(EIGHTH, BARE, RIVAL, TIGHT), tasks=(RECALL,), measure=measure)
ABLE = (Limit(number="dense recall", at_least=80, expected=100),)

PAPER = Paper(
    title="SnapKV: LLM Knows What You are Looking for Before Generation",
    arxiv=("2404.14469",),
    family="cache",
    methods=("snapkv",),
    claims=(
        Claim(
            says="An eighth of the prompt's cache answers as well as all of it.",
            metric="task scores; memory",
            setting="16 datasets of LongBench at 1,024 to 4,096 entries; prompts of 16 thousand tokens",
            size="LWM-7B, LongChat-7B, Mistral-7B, Mixtral-8x7B",
            figure="comparable scores, 8.2 times less memory at 16 thousand tokens",
            section="abstract; experiments on LongBench",
            experiment=PROMPTS,
            limits=(
                Limit(number="change of recall at an eighth", at_least=-10, expected=0),
                Limit(number="cache held at an eighth", at_most=14, expected=12),
            ),
            needs=ABLE,
        ),
        Claim(
            says="A needle is still found when all but a sliver of the prompt has gone.",
            metric="recall of a planted sentence",
            setting="Needle in a Haystack to 380 thousand tokens at 1,024 entries",
            size="LWM-Text-Chat-1M (7B)",
            figure="negligible loss at 380 times compression",
            section="abstract; needle experiments",
            experiment=PROMPTS,
            limits=(
                Limit(number="change of recall at 48 tokens", at_least=-10, expected=-2),
                Limit(number="cache held at 48 tokens", at_most=6, expected=5),
            ),
            needs=ABLE,
        ),
        Claim(
            says="Pooling the votes over neighbouring tokens keeps details whole.",
            metric="retrieval accuracy",
            setting="LongEval-Lines, with and without pooling",
            size="Mistral-7B-Instruct-v0.2",
            figure="clearly higher with pooling",
            section="ablation of pooling",
            experiment=PROMPTS,
            limits=(Limit(number="answer's log-probability with pooling against without", at_least=0, expected=0.5),),
            needs=ABLE,
            also=("change of recall with pooling against without",),
        ),
        Claim(
            says="Votes of the prompt's end choose better than attention summed over all of it.",
            metric="task scores at equal budget",
            setting="LongBench at 4,096 entries",
            size="LWM-7B, LongChat-7B, Mistral-7B, Mixtral-8x7B",
            figure="above H2O on almost all of the 16 datasets",
            section="experiments on LongBench",
            experiment=PROMPTS,
            limits=(Limit(number="change of recall against h2o", at_least=0, expected=20),),
            needs=ABLE,
            also=("answer's log-probability against h2o",),
        ),
        Claim(
            says="Decoding speed no longer depends on the prompt's length.",
            metric="decoding speed over the full cache",
            setting="prompts of 16 thousand tokens, one A100",
            size="LWM-7B",
            figure="3.6 times",
            section="abstract; decoding speed",
            experiment=DECODING,
            limits=(
                Limit(number="snapkv, speed over dense", at_least=1, expected=3.6),
                Limit(number="snapkv, speed over dense", at_least=3.6, expected=3.6),
            ),
            also=("snapkv, dense cache over its own",),
        ),
    ),
)
