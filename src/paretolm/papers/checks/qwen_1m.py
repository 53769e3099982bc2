"""Qwen2.5-1M (2501.15383): four times the trained length without training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..claim import Claim, Direct, Limit, Paper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from ...evaluation.rows import Row
    from ...evaluation.streams import TextStream
    from ...studies.study import Findings, Place

TIMES, STREAMS, DOCUMENTS = 4, 3, 8  # trained lengths of a stream, streams, documents in each
SAMPLES = 16  # of each stream: positions at which the window is recomputed
ARMS = {
    "qwen-1m": "qwen-1m",
    "without its temperature": "qwen-1m(temperature=false)",
    "dense": "dense",
    "self-extend": "self-extend(group_size=6)",
    "yarn": "yarn(factor=4)",
    "dynamic-ntk": "dynamic-ntk",
}
RIVALS = tuple(name for name in ARMS if name != "qwen-1m")


def work(at: Place) -> Findings:
    """Perplexity from the trained length to 4 times it, beside that of a window recomputed at some positions."""
    import torch

    from ...cards.positions import losses, recomputed
    from ...evaluation.streams import build
    from ...studies.study import Findings
    from ..numbers import change, exact

    lm = at.load(at.models[0])
    trained = lm.view.trained_length
    length = TIMES * trained
    streams = build(at.source, lm, length, STREAMS, per_document=length // DOCUMENTS, seed=0)
    at.progress.plan({str(i): stream.id for i, stream in enumerate(streams)})
    rows: dict[str, list[Row]] = {name: [] for name in (*ARMS, "fresh", "qwen-1m at samples")}
    apart = 0.0
    for i, stream in enumerate(streams):
        every = [p for p in range(trained, length - 1) if stream.where[p + 1] >= 0]
        few = [every[round(j * (len(every) - 1) / (SAMPLES - 1))] for j in range(SAMPLES)]
        nll = {name: losses(lm, line, stream.ids, 512) for name, line in ARMS.items()}
        for name, found in nll.items():
            rows[name] += _rows(stream, every, found[every])
        rows["qwen-1m at samples"] += _rows(stream, few, nll["qwen-1m"][few])
        rows["fresh"] += _rows(stream, few, recomputed(lm, stream.ids, torch.tensor(few), trained))
        whole = losses(lm, ARMS["qwen-1m"], stream.ids, length)
        apart = max(apart, float((whole - nll["qwen-1m"]).abs().max()))
        at.progress.finish(str(i))
    numbers = {
        "perplexity against a recomputed window": change(rows["qwen-1m at samples"], rows["fresh"]),
        "largest difference of a loss, in chunks against at once": exact(apart, "nats"),
        **{f"perplexity against {name}": change(rows["qwen-1m"], rows[name]) for name in RIVALS},
    }
    return Findings(numbers=numbers)


def _rows(stream: TextStream, places: Sequence[int], values: Tensor) -> list[Row]:
    from ...evaluation.rows import Row

    docs = [stream.docs[stream.where[p + 1]] for p in places]
    return [Row(f"{stream.id} {p}", doc, "nll", v) for p, doc, v in zip(places, docs, values.tolist(), strict=True)]


BEYOND = Direct(work=work, uses=("cards/positions.py", "methods/index", "methods/frequency"))

PAPER = Paper(
    title="Qwen2.5-1M Technical Report",
    arxiv=("2501.15383", "2402.17463"),
    family="positions",
    methods=("qwen-1m",),
    claims=(
        Claim(
            says="Without training the model reads at least four times its trained length.",
            metric="accuracy on long tasks; here perplexity beyond the trained length against a recomputed window",
            setting="32 thousand tokens trained, 256 thousand to 1 million read",
            size="Qwen2.5-7B and 14B-Instruct",
            figure="at least fourfold",
            section="abstract; length extrapolation",
            experiment=BEYOND,
            limits=(Limit(number="perplexity against a recomputed window", at_most=10, expected=5),),
            also=tuple(f"perplexity against {name}" for name in RIVALS if name != "without its temperature"),
        ),
        Claim(
            says="Attention that grows sharper with the text helps it there.",
            metric="perplexity",
            setting="attention scaling of YaRN beside dual chunk attention",
            size="Qwen2.5-7B and 14B-Instruct",
            figure="better beyond the trained length, no change within",
            section="attention scaling",
            experiment=BEYOND,
            limits=(Limit(number="perplexity against without its temperature", at_most=0, expected=-1),),
        ),
        Claim(
            says="A prompt read in chunks is the prompt read at once.",
            metric="difference of results",
            setting="chunked prefill of 32 thousand tokens",
            size="Qwen2.5-7B and 14B-Instruct",
            figure="none; activations take 96.7% less memory",
            section="chunked prefill",
            experiment=BEYOND,
            limits=(
                Limit(number="largest difference of a loss, in chunks against at once", at_most=1e-4, expected=1e-5),
            ),
        ),
    ),
)
