"""Divergence from the untouched model: KL, Jensen-Shannon, same top token, at sampled positions after a prompt.

By default streams are of the trained length: beyond it the untouched model is no standard. The untouched
model's log-probabilities are kept as float16 and normalised again when read. What that rounding costs, a KL of
1e-6 or so, stands in the untouched model's own rows too, so that a recipe that changes nothing differs by nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from ....contracts import knob
from ...metrics import divergence
from ...rows import Row
from ...streams import TextStream, build
from ...task import Base, Item, Run, Scored, Task
from .._reading import auto_length, bucket, step_through

if TYPE_CHECKING:
    from ....bridge.lm import LM
    from ...source import TextSource

_METRICS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "kl": divergence.kl,
    "js": divergence.js,
    "same_top": divergence.same_top,
}


@dataclass(frozen=True, kw_only=True)
class Divergence(Task):
    """Rows: kl, js and same_top by document and position bucket, weighted by positions."""

    headline: ClassVar[str] = "kl"
    needs_base: ClassVar[bool] = True

    length: int | None = knob(None, low=16, help="tokens of a stream; by itself the trained length, 2048 at most")
    streams: int = knob(24, low=1, help="how many streams, each from one document as far as documents reach")
    context: float = knob(0.5, low=0.01, high=0.9, help="share of a stream that is read as the prompt")
    positions: int = knob(64, low=1, help="positions sampled from the rest of a stream")

    def items(self, source: TextSource, lm: LM) -> list[Item]:
        length = self.length or auto_length(lm, 1, 2048)
        streams = build(
            source, lm, length, self.streams, per_document=length, seed=self.seed, shrink=self.length is None
        )
        return [self._item(s, i, lm.view.trained_length) for i, s in enumerate(streams)]

    def _item(self, stream: TextStream, number: int, trained: int) -> Item:
        prompt = min(max(1, round(stream.length * self.context)), stream.length - 1)
        rng = np.random.default_rng([self.seed, number])
        reach = np.arange(prompt, stream.length)[stream.where[prompt:] >= 0]
        at = np.sort(rng.choice(reach, min(self.positions, len(reach)), replace=False))
        data = {"stream": stream, "at": at, "trained": trained}
        return Item(stream.id, stream.id, stream.ids[:, :prompt], data, docs=stream.documents(prompt))

    def tokens(self, item: Item) -> int:
        return int(item.data["stream"].length)

    def score(self, run: Run, item: Item, base: Base | None) -> Scored:
        """Of each sampled position the distribution after the token there was read."""
        found: dict[str, list[Tensor]] = {name: [] for name in _METRICS}
        kept: list[np.ndarray] = []
        done = 0
        for logits in self._sampled(run, item):
            q = divergence.log_probs(logits)
            if base is None:
                kept.append(q.cpu().numpy().astype(np.float16))
            p = unpacked(kept[-1] if base is None else base["log_probs"][done : done + len(q)]).to(q.device)
            for name, measure in _METRICS.items():
                found[name].append(measure(p, q).cpu())
            done += len(q)
        values = {name: torch.cat(parts).double().numpy() for name, parts in found.items()}
        return Scored(_rows(item, values), None if base is not None else {"log_probs": np.concatenate(kept)})

    def _sampled(self, run: Run, item: Item) -> Iterator[Tensor]:
        """Logits [n, V] of the sampled positions of each forward, in order; no other logits are kept."""
        assert run.stream is not None
        at, stream = item.data["at"], item.data["stream"]
        for first, out in step_through(run.stream, stream.ids, item.prompt_length, int(at[-1]) + 1, run.chunk):
            rows = at[(at >= first) & (at < first + out.logits.shape[1])] - first
            if len(rows):
                yield out.logits[0, torch.from_numpy(rows)]


def unpacked(log_probs: np.ndarray) -> Tensor:
    """float16 log-probabilities [n, V] as a distribution again: rounding must not look like a divergence."""
    return divergence.log_probs(torch.from_numpy(log_probs.astype(np.float32)))


def _rows(item: Item, values: Mapping[str, np.ndarray]) -> list[Row]:
    stream: TextStream = item.data["stream"]
    groups: dict[tuple[str, int], list[int]] = {}
    for i, position in enumerate(item.data["at"].tolist()):
        key = stream.docs[stream.where[position]], bucket(position, item.data["trained"])
        groups.setdefault(key, []).append(i)
    return [
        Row(item.id, doc, name, float(values[name][i].mean()), float(len(i)), {"position": edge})
        for name in _METRICS
        for (doc, edge), i in groups.items()
    ]
