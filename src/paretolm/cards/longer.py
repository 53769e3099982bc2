"""Texts longer than the model was trained on: what reading on costs, and what a window recomputed for every token
would have given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import TextError
from ..evaluation.rows import Row
from ..evaluation.source import TextSource
from ..evaluation.streams import TextStream, build
from ..evaluation.summary import Summary, summarise
from .positions import SINKS, WARM, by_position, edges, even_share, losses, recomputed, sink_share, streaming_recipes
from .scoring import Tell, portion, silent

if TYPE_CHECKING:
    from ..bridge.lm import LM

CHUNK = 256  # tokens a forward; the recipes here mean the same at any
DOCUMENTS = 8  # of a stream
TWINS = {"window, recomputed": 0, "sinks + window, recomputed": SINKS}  # name -> first tokens read again


@dataclass(frozen=True)
class Effort:
    """lengths: of a stream in trained lengths. samples: positions at which windows are recomputed."""

    lengths: int = 16
    streams: int = 2
    samples: int = 96


def longer(lm: LM, source: TextSource, effort: Effort, tell: Tell = silent) -> dict[str, Any]:
    """Perplexity by position of dense, window and sinks + window, and beside the recomputed twins.

    A model without rotary positions is read up to its trained length."""
    trained = lm.view.trained_length
    length = trained * (effort.lengths if lm.view.rope is not None else 1)
    streams = build(source, lm, length, effort.streams, per_document=length // DOCUMENTS, seed=0, shrink=True)
    nll = _losses(lm, streams, portion(tell, 0, 2))
    borders = edges(streams[0].length, trained)
    return {
        "window": trained,
        "recipes": streaming_recipes(trained),
        "streams": len(streams),
        "tokens": sum(s.length for s in streams),
        "edges": borders,
        "perplexity": {name: by_position(found, borders, trained) for name, found in nll.items()},
        "sampled": _sampled(lm, streams, nll, effort.samples, portion(tell, 1, 2)),
    }


def _losses(lm: LM, streams: Sequence[TextStream], tell: Tell) -> dict[str, list[Tensor]]:
    recipes = streaming_recipes(lm.view.trained_length)
    found: dict[str, list[Tensor]] = {name: [] for name in recipes}
    whole = len(recipes) * len(streams)
    for name, line in recipes.items():
        for stream in streams:
            done = sum(map(len, found.values()))
            found[name].append(losses(lm, line, stream.ids, CHUNK, portion(tell, done, whole)))
    return found


def _sampled(
    lm: LM, streams: Sequence[TextStream], nll: Mapping[str, Sequence[Tensor]], samples: int, tell: Tell
) -> dict[str, Any] | None:
    """Perplexity of every recipe at the same positions, and its ratio to the plain recomputed window, paired and
    clustered by document. None where no stream reaches two trained lengths."""
    trained, rows = lm.view.trained_length, dict[str, list[Row]]()
    places = [_places(s, 2 * trained, samples // len(streams)) for s in streams]
    if not all(map(len, places)):
        return None
    whole = len(TWINS) * len(streams)
    for i, (stream, at) in enumerate(zip(streams, places, strict=True)):
        for j, (name, sinks) in enumerate(TWINS.items()):
            done = portion(tell, i * len(TWINS) + j, whole)
            twin = recomputed(lm, stream.ids, at, trained, sinks, done)
            rows.setdefault(name, []).extend(_rows(stream, at, twin))
        for name, found in nll.items():
            rows.setdefault(name, []).extend(_rows(stream, at, found[i][at]))
    first = next(iter(TWINS))
    return {"positions": sum(map(len, places)), "from": 2, "arms": {s.recipe: _arm(s) for s in summarise(rows, first)}}


def _places(stream: TextStream, start: int, count: int) -> Tensor:
    """Positions evenly spread over the rest of a stream, those before a separator left out."""
    scored = torch.from_numpy(stream.where[1:]) >= 0
    reach = torch.arange(stream.length - 1)[scored]
    reach = reach[reach >= start]
    return reach[torch.linspace(0, len(reach) - 1, min(count, len(reach))).long()]


def _rows(stream: TextStream, places: Tensor, nll: Tensor) -> list[Row]:
    return [
        Row(f"{stream.id}:{place}", stream.docs[stream.where[place + 1]], "nll", value)
        for place, value in zip(places.tolist(), nll.double().tolist(), strict=True)
    ]


def _arm(summary: Summary) -> dict[str, Any]:
    found: dict[str, Any] = {"value": summary.mean}
    if summary.delta is not None:
        found |= {"ratio": summary.delta, "low": summary.delta_low, "high": summary.delta_high}
    return found


def first_tokens(lm: LM, source: TextSource, count: int, tell: Tell = silent) -> dict[str, Any]:
    """The share of attention that the first 4 tokens of texts of the trained length get, by layer."""
    trained = lm.view.trained_length
    streams = build(source, lm, trained, count, per_document=trained, seed=0, shrink=True)
    if streams[0].length <= WARM:
        raise TextError(f"texts of {streams[0].length} tokens are too short to see what attention the first ones get")
    shares = []
    for number, stream in enumerate(streams):
        shares.append(sink_share(lm, stream.ids))
        tell((number + 1) / len(streams))
    by_layer = [sum(layer) / len(shares) for layer in zip(*shares, strict=True)]
    return {"tokens": SINKS, "texts": len(streams), "by_layer": by_layer, "even": even_share(streams[0].length)}
