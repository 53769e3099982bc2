"""Seconds and bytes a token once much text has been read, recipes in turns with the untouched model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from ..claim import Direct

if TYPE_CHECKING:
    from torch import Tensor

    from ...bridge.stream import Stream
    from ...studies.study import Findings, Number, Place

LENGTHS = (2, 8)  # trained lengths read before bytes are counted; the clock runs after the last
STEPS, REPEATS, CHUNK = 16, 11, 256
ARMS = {
    "dense": "dense",
    "sinks + window": "streaming-llm(sinks=4, window=1020)",
    "lm-infinite": "lm-infinite(n_global=10, n_local=1014)",
    "snapkv": "snapkv(budget=1024tok)",
}


def work(at: Place) -> Findings:
    """Decoding after 8 trained lengths, in turns with dense and with recomputing the window; bytes held at 2 and 8."""
    import torch

    from ...evaluation.streams import build
    from ...recipes.recipe import Recipe
    from ...recipes.session import Session
    from ...studies.study import Findings
    from ..timing import turns

    first = at.load(at.models[0])
    trained = first.view.trained_length
    at.progress.plan({name: name for name in (*ARMS, "turns")})
    (text,) = build(at.source, first, LENGTHS[1] * trained, 1, per_document=LENGTHS[1] * trained, seed=0)
    held: dict[str, list[int]] = {}
    jobs: dict[str, Callable[[], object]] = {}
    with ExitStack() as stack, torch.inference_mode():
        for name, line in ARMS.items():
            session = stack.enter_context(Session.open(at.load(at.models[0]), Recipe.parse(line)))
            streams = [_read(session.stream(), text.ids[:, : times * trained]) for times in LENGTHS]
            held[name] = [s.kv_bytes for s in streams]
            jobs[name] = partial(_decode, streams[-1], text.ids[:, :1])
            at.progress.finish(name)
        jobs["recomputing"] = partial(first.model, text.ids[:, -trained:], use_cache=False, logits_to_keep=1)
        seconds = turns(jobs, REPEATS)
    at.progress.finish("turns")
    rows = [{"arm": name, "repeat": i, "seconds": s} for name, found in seconds.items() for i, s in enumerate(found)]
    return Findings(numbers=_numbers(held, seconds), rows=rows)


def _read(stream: Stream, ids: Tensor) -> Stream:
    size = ids.shape[1]
    for start in range(0, size, CHUNK):
        stream.read(ids[:, start : start + CHUNK], last=start + CHUNK >= size, logits=False)
    return stream


def _decode(stream: Stream, token: Tensor) -> None:
    for _ in range(STEPS):
        stream.step(token)


def _numbers(held: Mapping[str, Sequence[int]], seconds: Mapping[str, Sequence[float]]) -> dict[str, Number]:
    from ..numbers import exact
    from ..timing import faster

    found = {}
    for name, sizes in held.items():
        found[f"{name}, cache at {LENGTHS[1]} trained lengths over that at {LENGTHS[0]}"] = exact(
            sizes[1] / sizes[0], "x"
        )
        found[f"{name}, dense cache over its own"] = exact(held["dense"][1] / sizes[1], "x")
        found[f"{name}, speed over dense"] = faster(seconds[name], seconds["dense"])
        found[f"{name}, speed over recomputing"] = faster(seconds[name], seconds["recomputing"], STEPS)
    return found


DECODING = Direct(
    work=work,
    uses=("papers/checks/_decoding.py", "papers/timing.py", "methods/keep", "methods/attend/masks/lm_infinite.py"),
)
