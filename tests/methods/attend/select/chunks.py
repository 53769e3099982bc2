"""One text read in other pieces, and a layer reduced to what a selecting part asks of it."""

from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor

import paretolm
from paretolm.bridge.rope import rotate
from paretolm.contracts import Moment, Step
from tests.contract.tiny import text, tiny

FREQUENCIES = torch.tensor([1.0, 0.1])


def logits_of(line: str, chunk: int, prompt: int = 40, length: int = 96) -> tuple[Tensor, dict[str, int]]:
    """Logits [length - prompt, V] of what follows the prompt, in forwards of `chunk` tokens, and the counters."""
    asked, ids = paretolm.recipe(line), text(length)
    with asked.apply(tiny()) as session, torch.inference_mode():
        stream = session.stream()
        stream.read(ids[:, :prompt], last=True)
        parts = [stream.step(piece).logits for piece in ids[:, prompt:].split(chunk, dim=1)]
        return torch.cat(parts, 1)[0], session.counters[asked.methods[0].name]


class FakeContext(SimpleNamespace):
    def __init__(self, **more: object) -> None:
        super().__init__(counts=Counter(), notes={}, **more)

    def count(self, counter: str, amount: int = 1) -> None:
        self.counts[counter] += amount


@dataclass
class FakeHeld:
    """own [B, H, n, D] keys; seen: tokens before this forward."""

    own: Tensor
    seen: int
    layer: int = 0

    @property
    def length(self) -> int:
        return self.own.shape[2]

    @property
    def positions(self) -> Tensor:
        return torch.arange(self.length)[None, None]

    def keys(self, index: Tensor | None = None) -> Tensor:
        return self.own if index is None else self.own[:, :, index[0, 0]]

    def turned(self, x: Tensor, by: Tensor) -> Tensor:
        return rotate(x, by, FREQUENCIES)


def tensors(num_queries: int, length: int, *, heads: int = 2, group: int = 2, dim: int = 4, seed: int = 0):
    """Queries [1, heads * group, Q, dim] and keys [1, heads, n, dim]."""
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(1, heads * group, num_queries, dim, generator=generator)
    return queries, torch.randn(1, heads, length, dim, generator=generator)


def step(num_queries: int, seen: int, moment: Moment = Moment.DECODE) -> Step:
    return Step(None, torch.arange(seen, seen + num_queries)[None], moment, seen)
