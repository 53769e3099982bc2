"""Reading far beyond the trained length: recipes through the cache, and the window recomputed for every token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from ..claim import Direct

if TYPE_CHECKING:
    from ...evaluation.rows import Row
    from ...evaluation.streams import TextStream
    from ...studies.study import Findings, Place

TRAINED_LENGTHS = 16
DOCUMENTS = 32
FROM = 4  # trained lengths; what stands before is not counted
SAMPLES = 64  # positions at which the window is recomputed
ARMS = {
    "dense": "dense",
    "window": "window(window=1024)",
    "sinks + window": "streaming-llm(sinks=4, window=1020)",
    "lm-infinite": "lm-infinite(n_global=10, n_local=1014)",
}


def work(at: Place) -> Findings:
    """Perplexity beyond 4 trained lengths of a stream of 16, and at some positions that of a fresh window."""
    import torch

    from ...cards.positions import losses, recomputed
    from ...evaluation.streams import build
    from ...studies.study import Findings
    from ..numbers import change

    lm = at.load(at.models[0])
    trained = lm.view.trained_length
    length = TRAINED_LENGTHS * trained
    (stream,) = build(at.source, lm, length, 1, per_document=length // DOCUMENTS, seed=0)
    every = [p for p in range(FROM * trained, length - 1) if stream.where[p + 1] >= 0]
    few = [every[round(i * (len(every) - 1) / (SAMPLES - 1))] for i in range(SAMPLES)]
    at.progress.plan({name: name for name in (*ARMS, "fresh")})
    nll = {name: losses(lm, line, stream.ids, 256, _told(at, name)) for name, line in ARMS.items()}
    fresh = recomputed(lm, stream.ids, torch.tensor(few), trained, tell=_told(at, "fresh"))
    whole = {name: _rows(stream, every, found[every].tolist()) for name, found in nll.items()}
    part = {name: _rows(stream, few, found[few].tolist()) for name, found in nll.items()}
    again = _rows(stream, few, fresh.tolist())
    numbers = {f"{name}, perplexity against a recomputed window": change(rows, again) for name, rows in part.items()}
    for base in ("dense", "window"):
        numbers |= {
            f"{name}, perplexity against {base}": change(rows, whole[base])
            for name, rows in whole.items()
            if name != base
        }
    arms = {**part, "recomputed": again}
    return Findings(numbers=numbers, rows=[{"arm": arm, **asdict(row)} for arm, rows in arms.items() for row in rows])


def _told(at: Place, name: str) -> Callable[[float], None]:
    return partial(at.progress.update, name)


def _rows(stream: TextStream, places: Sequence[int], values: Sequence[float]) -> list[Row]:
    from ...evaluation.rows import Row

    docs = [stream.docs[stream.where[p + 1]] for p in places]
    return [Row(str(p), doc, "nll", v) for p, doc, v in zip(places, docs, values, strict=True)]


FAR = Direct(
    work=work,
    uses=("papers/checks/_far.py", "cards/positions.py", "methods/keep", "methods/attend/masks/lm_infinite.py"),
)
