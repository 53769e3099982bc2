"""Recipes that read few of the entries they hold: their speed, and how they read far beyond the trained length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from ..claim import Direct
from ._decoding import _decode, _read

if TYPE_CHECKING:
    from ...evaluation.rows import Row
    from ...evaluation.streams import TextStream
    from ...studies.study import Findings, Place

LENGTHS, REPEATS = 4, 7  # trained lengths read before the clock runs
SPEEDS = {
    "dense": "dense",
    "sinks + window": "streaming-llm(sinks=4, window=200)",
    "recycled-attention": "recycled-attention(budget=194tok, stride=10)",
    "token-select": "token-select(budget=204tok, n_init=4, n_local=16)",
    "squeezed-attention": "squeezed-attention(budget=30%, levels=2)",
}

WINDOWS, DOCUMENTS, SAMPLES = 16, 32, 48  # windows of 256 tokens in a stream; places where it is read afresh
BLOCKS = "n_init=4, n_local=256, block_size=32, topk=8, exc_block_size=128"
BEYOND = {
    "dense": ("dense", 256),
    "window": ("window(window=1024)", 256),
    "sinks + window": ("streaming-llm(sinks=4, window=636)", 256),
    "longheads": ("longheads(attn_length=1024, chunk_size=64, query_block=64)", 64),
    "infllm": (f"infllm({BLOCKS})", 128),
    "actqkv": (f"actqkv({BLOCKS})", 128),
}


def speeds(at: Place) -> Findings:
    """Decoding after 4 trained lengths, in turns with dense and with sinks and window."""
    import torch

    from ...evaluation.streams import build
    from ...recipes.recipe import Recipe
    from ...recipes.session import Session
    from ...studies.study import Findings
    from ..timing import faster, turns

    first = at.load(at.models[0])
    length = LENGTHS * first.view.trained_length
    at.progress.plan({name: name for name in (*SPEEDS, "turns")})
    (text,) = build(at.source, first, length, 1, per_document=length, seed=0)
    jobs: dict[str, Callable[[], object]] = {}
    with ExitStack() as stack, torch.inference_mode():
        for name, line in SPEEDS.items():
            session = stack.enter_context(Session.open(at.load(at.models[0]), Recipe.parse(line)))
            jobs[name] = partial(_decode, _read(session.stream(), text.ids), text.ids[:, :1])
            at.progress.finish(name)
        seconds = turns(jobs, REPEATS)
    at.progress.finish("turns")
    numbers = {f"{name}, speed over {base}": faster(seconds[name], seconds[base])
               for name in SPEEDS for base in ("dense", "sinks + window") if name != base}  # fmt: skip
    rows = [{"arm": name, "repeat": i, "seconds": s} for name, found in seconds.items() for i, s in enumerate(found)]
    return Findings(numbers=numbers, rows=rows)


def beyond(at: Place) -> Findings:
    """Perplexity beyond the trained length of a stream of four, and at some places that of a fresh window."""
    import torch

    from ...cards.positions import losses, recomputed
    from ...evaluation.streams import build
    from ...studies.study import Findings
    from ..numbers import change

    lm = at.load(at.models[0])
    trained, length = lm.view.trained_length, WINDOWS * 256
    (stream,) = build(at.source, lm, length, 1, per_document=length // DOCUMENTS, seed=0)
    every = [p for p in range(trained, length - 1) if stream.where[p + 1] >= 0]
    few = [every[round(i * (len(every) - 1) / (SAMPLES - 1))] for i in range(SAMPLES)]
    at.progress.plan({name: name for name in (*BEYOND, "fresh")})
    nll = {
        name: losses(lm, line, stream.ids, chunk, partial(at.progress.update, name))
        for name, (line, chunk) in BEYOND.items()
    }
    fresh = recomputed(lm, stream.ids, torch.tensor(few), trained, tell=partial(at.progress.update, "fresh"))
    whole = {name: _rows(stream, every, found[every].tolist()) for name, found in nll.items()}
    part = {name: _rows(stream, few, found[few].tolist()) for name, found in nll.items()}
    again = _rows(stream, few, fresh.tolist())
    numbers = {f"{name}, perplexity against a recomputed window": change(rows, again) for name, rows in part.items()}
    for base in ("dense", "window", "sinks + window", "infllm"):
        numbers |= {f"{name}, perplexity against {base}": change(rows, whole[base])
                    for name, rows in whole.items() if name != base}  # fmt: skip
    arms = {**part, "recomputed": again}
    return Findings(numbers=numbers, rows=[{"arm": arm, **asdict(row)} for arm, rows in arms.items() for row in rows])


def _rows(stream: TextStream, places: Sequence[int], values: Sequence[float]) -> list[Row]:
    from ...evaluation.rows import Row

    docs = [stream.docs[stream.where[p + 1]] for p in places]
    return [Row(str(p), doc, "nll", v) for p, doc, v in zip(places, docs, values, strict=True)]


_USES = ("papers/checks/_selecting.py", "methods/attend/select", "methods/keep")
SPEED = Direct(work=speeds, uses=("papers/timing.py", "papers/checks/_decoding.py", *_USES))
FAR_TEXT = Direct(work=beyond, uses=("cards/positions.py", *_USES))
