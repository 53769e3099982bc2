"""What stream tasks share: automatic lengths, reading given tokens in chunks, position buckets."""

from __future__ import annotations

import math
from collections.abc import Iterator
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


def read_nll(stream: Stream, prompt_end: Forward, ids: Tensor, start: int, chunk: int) -> np.ndarray:
    """Nats of each token ids[0, start:], read through the cache after a prompt of ids[:, :start]. Raises CellError
    for what is no number."""
    targets, end = ids[0], ids.shape[1]
    found = [token_nll(prompt_end.logits[0, -1:], targets[start : start + 1])]
    for at, out in step_through(stream, ids, start, end - 1, chunk):
        width = out.logits.shape[1]
        found.append(token_nll(out.logits[0], targets[at + 1 : at + 1 + width]))
    nll = torch.cat([x.cpu() for x in found]).double().numpy()
    bad = np.flatnonzero(~np.isfinite(nll))
    if len(bad):
        what = "gives the text probability 0" if np.isposinf(nll[bad[0]]) else "gives logits that are no numbers"
        raise CellError(f"the recipe {what} at token {start + int(bad[0])}")
    return nll


def bucket(position: int, trained: int) -> int:
    """Lower edge of the position's bucket: 0, then trained/4 times powers of two."""
    quarter = max(1, trained // 4)
    return quarter << int(math.log2(position / quarter)) if position >= quarter else 0
