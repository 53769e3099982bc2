"""What stream tasks share: automatic lengths, reading given tokens in chunks, position buckets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...contracts import Forward
from ...errors import CellError
from ..metrics.likelihood import token_nll
from ..streams import chunks
from ..task import Stream

if TYPE_CHECKING:
    from ...bridge.lm import LM


def auto_length(lm: LM, times: float, most: int) -> int:
    """`times` the trained length, at most `most`; never beyond the last position of a model without RoPE."""
    trained = lm.view.trained_length
    wanted = min(int(times * trained), most)
    return wanted if lm.view.rope is not None else min(wanted, trained)


def step_through(stream: Stream, ids: Tensor, start: int, end: int, chunk: int) -> Iterator[tuple[int, Forward]]:
    """Feeds ids[:, start:end] after the prompt, at most `chunk` tokens a forward: (position of the first, forward)."""
    for a, b in chunks(start, end, chunk):
        yield a, stream.step(ids[:, a:b])


@dataclass(frozen=True)
class Targets:
    """Of given tokens: nats of each [n], and whether each was the most likely one [n]."""

    nll: np.ndarray
    top: np.ndarray

    def last(self, count: int) -> Targets:
        return Targets(self.nll[-count:], self.top[-count:])


def read_targets(stream: Stream, prompt_end: Forward, ids: Tensor, start: int, chunk: int) -> Targets:
    """The tokens ids[0, start:], read through the cache after a prompt of ids[:, :start]; the last one is not fed.
    Raises CellError for what is no number."""
    nll, top = [], []
    for logits, targets in _predictions(stream, prompt_end, ids, start, chunk):
        nll.append(token_nll(logits, targets).cpu())
        top.append(logits.argmax(-1).cpu() == targets.cpu())
    return Targets(_finite(nll, start), torch.cat(top).numpy())


def _finite(nll: Sequence[Tensor], start: int) -> np.ndarray:
    found: np.ndarray = torch.cat(list(nll)).double().numpy()
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        what = "gives the text probability 0" if np.isposinf(found[bad[0]]) else "gives logits that are no numbers"
        raise CellError(f"the recipe {what} at token {start + int(bad[0])}")
    return found


def _predictions(
    stream: Stream, prompt_end: Forward, ids: Tensor, start: int, chunk: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits [q, V] beside the tokens [q] that come after them."""
    yield prompt_end.logits[0, -1:], ids[0, start : start + 1]
    for at, out in step_through(stream, ids, start, ids.shape[1] - 1, chunk):
        yield out.logits[0], ids[0, at + 1 : at + 1 + out.logits.shape[1]]


def read_nll(stream: Stream, prompt_end: Forward, ids: Tensor, start: int, chunk: int) -> np.ndarray:
    """Nats of each token ids[0, start:], as `read_targets`."""
    predictions = _predictions(stream, prompt_end, ids, start, chunk)
    return _finite([token_nll(logits, targets).cpu() for logits, targets in predictions], start)


def bucket(position: int, trained: int) -> int:
    """Lower edge of the position's bucket: 0, then trained/4 times powers of two."""
    quarter = max(1, trained // 4)
    return quarter << int(math.log2(position / quarter)) if position >= quarter else 0
