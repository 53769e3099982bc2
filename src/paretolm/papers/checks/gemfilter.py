"""GemFilter (2409.17422): an early layer knows which tokens of the prompt the answer needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Direct, Limit, Paper
from ._tasks import RECALL

if TYPE_CHECKING:
    from ...studies.study import Findings, Number, Place
    from ..found import Found

TENTH, RIVAL = "gemfilter(budget=10%)", "snapkv(budget=10%)"
OURS = "gemfilter(budget=10%, score=probabilities, recent=32)"
THOUSANDTH = "gemfilter(budget=1tok)"
LENGTHS, REPEATS = 4, 7  # trained lengths of the prompt that is timed


def measure(found: Found) -> Mapping[str, Number]:
    from ..numbers import exact

    longest = max(one.facts["prompt"] for one in found.items("dense"))
    return {
        "recall from a tenth of the prompt": found.mean("recall", TENTH),
        "change of recall from a tenth of the prompt": found.change("recall", TENTH),
        "change of recall, by probabilities and with the question kept": found.change("recall", OURS),
        "change of recall against snapkv": found.change("recall", TENTH, RIVAL),
        "change of recall from a thousandth": found.change("recall", THOUSANDTH),
        "tokens in a thousandth of the longest prompt": exact(longest / 1000),
        "dense recall": found.mean("recall"),
    }


def first_token(at: Place) -> Findings:
    """Time to the first token of a prompt of 4 trained lengths, in turns with the untouched model and snapkv."""
    import torch

    from ...evaluation.streams import build
    from ...recipes.recipe import Recipe
    from ...recipes.session import Session
    from ...studies.study import Findings
    from ..timing import faster, turns

    lm = at.load(at.models[0])
    length = LENGTHS * lm.view.trained_length
    (text,) = build(at.source, lm, length, 1, per_document=length, seed=0)
    jobs: dict[str, Callable[[], object]] = {}
    with ExitStack() as stack, torch.inference_mode():
        for line in ("dense", TENTH, RIVAL):
            session = stack.enter_context(Session.open(at.load(at.models[0]), Recipe.parse(line)))
            jobs[line] = partial(session.generate, text.ids, max_new_tokens=1)
        seconds = turns(jobs, REPEATS)
    rows = [{"arm": name, "repeat": i, "seconds": s} for name, found in seconds.items() for i, s in enumerate(found)]
    numbers = {
        "first token, speed over dense": faster(seconds[TENTH], seconds["dense"]),
        "first token, speed over snapkv": faster(seconds[TENTH], seconds[RIVAL]),
    }
    return Findings(numbers=numbers, rows=rows)


PROMPTS = Bench(recipes=(TENTH, OURS, RIVAL, THOUSANDTH), tasks=(RECALL,), measure=measure)
TIMES = Direct(work=first_token, uses=("papers/timing.py", "methods/prompt/gemfilter.py", "methods/keep"))
ABLE = Limit(number="dense recall", at_least=80, expected=100)

PAPER = Paper(
    title="Discovering the Gems in Early Layers: Accelerating Long-Context LLMs with 1000x Input Token Reduction",
    arxiv=("2409.17422",),
    family="prompts",
    methods=("gemfilter",),
    claims=(
        Claim(
            says="Answers from the picked tokens are at least as good as from the whole prompt.",
            metric="needle score",
            setting="Needle in a Haystack to 120 thousand tokens, 1,024 picked",
            size="Mistral NeMo 12B, Llama 3.1 8B, Phi 3.5 Mini",
            figure="significantly above full attention",
            section="abstract; needle experiments",
            experiment=PROMPTS,
            limits=(
                Limit(number="recall from a tenth of the prompt", at_least=80, expected=95),
                Limit(number="change of recall from a tenth of the prompt", at_least=-10, expected=0),
            ),
            needs=(ABLE,),
            also=("change of recall, by probabilities and with the question kept",),
        ),
        Claim(
            says="It finds needles better than SnapKV at an equal budget.",
            metric="needle score",
            setting="Needle in a Haystack, 1,024 picked",
            size="Mistral NeMo 12B, Llama 3.1 8B",
            figure="significantly above SnapKV",
            section="abstract; needle experiments",
            experiment=PROMPTS,
            limits=(Limit(number="change of recall against snapkv", at_least=0, expected=10),),
            needs=(ABLE,),
        ),
        Claim(
            says="A thousandth of the prompt is enough.",
            metric="tokens that are read by the whole model",
            setting="108 thousand tokens reduced to 100",
            size="Llama 3.1 8B",
            figure="1,000 times fewer tokens",
            section="title; introduction",
            experiment=PROMPTS,
            limits=(Limit(number="change of recall from a thousandth", at_least=-10, expected=0),),
            needs=(ABLE, Limit(number="tokens in a thousandth of the longest prompt", at_least=16, expected=100)),
        ),
        Claim(
            says="The first token comes sooner than with the methods before it.",
            metric="running time of the prompt",
            setting="long prompts, one GPU",
            size="Llama 3.1 8B, Mistral NeMo 12B, Phi 3.5 Mini",
            figure="2.4 times faster",
            section="abstract; running time",
            experiment=TIMES,
            limits=(
                Limit(number="first token, speed over snapkv", at_least=1, expected=2.4),
                Limit(number="first token, speed over snapkv", at_least=2.4, expected=2.4),
            ),
            also=("first token, speed over dense",),
        ),
    ),
)
