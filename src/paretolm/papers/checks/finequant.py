"""FineQuant (2308.09723): weights in few bits, from the weights alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from ..claim import Bench, Claim, Direct, Limit, Paper
from ._tasks import TEXT

if TYPE_CHECKING:
    from ...studies.study import Findings, Number, Place
    from ..found import Found

EIGHT, FOUR = "finequant(bits=8)", "finequant(bits=4, scale=range)"  # scale=range is the paper's
COLUMN = "finequant(bits=4, group_size=-1, scale=range)"
READ, STEPS, REPEATS = 256, 16, 11


def measure(found: Found) -> Mapping[str, Number]:
    return {
        "change of perplexity at 8 bits": found.change("nll", EIGHT),
        "change of perplexity at 4 bits": found.change("nll", FOUR),
        "change of perplexity against whole columns": found.change("nll", FOUR, COLUMN),
        "change of perplexity at 4 bits, whole columns": found.change("nll", COLUMN),
        "weights held at 4 bits, with embeddings": found.weights(FOUR),
    }


def speed(at: Place) -> Findings:
    """Decoding with 4-bit weights in turns with the untouched model."""
    import torch

    from ...evaluation.streams import build
    from ...recipes.recipe import Recipe
    from ...recipes.session import Session
    from ...studies.study import Findings
    from ..timing import faster, turns

    (text,) = build(at.source, at.load(at.models[0]), READ, 1, per_document=READ, seed=0)
    jobs: dict[str, Callable[[], object]] = {}
    with ExitStack() as stack, torch.inference_mode():
        for line in ("dense", FOUR):
            session = stack.enter_context(Session.open(at.load(at.models[0]), Recipe.parse(line)))
            stream = session.stream()
            stream.read(text.ids, last=True)
            jobs[line] = partial(lambda s: [s.step(text.ids[:, :1]) for _ in range(STEPS)], stream)
        seconds = turns(jobs, REPEATS)
    rows = [{"arm": name, "repeat": i, "seconds": s} for name, found in seconds.items() for i, s in enumerate(found)]
    return Findings(numbers={"decoding speed over dense": faster(seconds[FOUR], seconds["dense"])}, rows=rows)


WEIGHTS = Bench(recipes=(EIGHT, FOUR, COLUMN), tasks=(TEXT,), measure=measure)

PAPER = Paper(
    title="FineQuant: Unlocking Efficiency with Fine-Grained Weight-Only Quantization for LLMs",
    arxiv=("2308.09723",),
    family="weights",
    methods=("finequant",),
    claims=(
        Claim(
            says="Eight-bit weights lose nothing, without any calibration.",
            metric="BLEU, perplexity, task accuracy",
            setting="translation; OPT on WikiText, PTB, C4",
            size="a 5.3B mixture of experts; OPT-125M to 175B",
            figure="no visible loss",
            section="experiments",
            experiment=WEIGHTS,
            limits=(Limit(number="change of perplexity at 8 bits", at_most=0.5, expected=0),),
        ),
        Claim(
            says="With groups chosen by matrix four bits lose little.",
            metric="task accuracy, perplexity",
            setting="OPT on LAMBADA, HellaSwag, PiQA, Winogrande and more",
            size="OPT-125M to 175B",
            figure="minimal loss",
            section="abstract; experiments",
            experiment=WEIGHTS,
            limits=(Limit(number="change of perplexity at 4 bits", at_most=5, expected=2),),
            also=("weights held at 4 bits, with embeddings",),
        ),
        Claim(
            says="One scale for a whole column is what breaks four bits; finer groups mend it.",
            metric="BLEU, perplexity",
            setting="whole columns against blocks",
            size="OPT up to 175B",
            figure="whole columns collapse on some models, blocks recover them",
            section="analysis of quantization",
            experiment=WEIGHTS,
            limits=(Limit(number="change of perplexity against whole columns", at_most=0, expected=-5),),
            also=("change of perplexity at 4 bits, whole columns",),
        ),
        Claim(
            says="Fewer bytes a weight make inference faster.",
            metric="throughput",
            setting="fused GPU kernels; here codes are unpacked by plain operations on a CPU",
            size="OPT-175B",
            figure="up to 3.65 times",
            section="abstract",
            experiment=Direct(work=speed, uses=("papers/timing.py", "methods/weights")),
            limits=(
                Limit(number="decoding speed over dense", at_least=1, expected=3.65),
                Limit(number="decoding speed over dense", at_least=3.65, expected=3.65),
            ),
        ),
    ),
)
