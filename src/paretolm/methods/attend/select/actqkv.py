"""ActQKV: the most activated queries of a window say which blocks of the past it reads."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import Cost, Interval, ModelView, OpenContext, knob
from paretolm.methods.keep._cost import SCORE_BYTES

from ._blocks import BlockLookup, Sizes
from ._memory import BlockMemory


def activation_bias(queries: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """[B, Q] how far queries [B, Q, C] lie from the mean [B, C], in variances [B, C], a mean over channels."""
    floor = variance.mean(-1, keepdim=True) / 100
    return ((queries - mean[:, None]).square() / (variance + floor)[:, None].clamp(min=1e-12)).mean(-1)


def weighed(queries: Tensor, weights: Tensor) -> Tensor:
    """[B, Hq, D]: the mean of queries [B, Hq, Q, D] with weights [B, Q]; a plain mean where all are 0."""
    weights = torch.where(weights.sum(-1, keepdim=True) > 0, weights, torch.ones_like(weights))
    shares = (weights / weights.sum(-1, keepdim=True)).to(queries.dtype)
    return torch.einsum("bhqd,bq->bhd", queries, shares)


def scatter(scores: Tensor) -> float:
    """From 0 (one block has it all) to 1: the entropy of softmax(scores [B, M]) in shares of the largest possible."""
    if scores.shape[-1] < 2:
        return 1.0
    shares = scores.softmax(-1)
    return float(torch.special.entr(shares).sum(-1).mean()) / math.log(scores.shape[-1])


@dataclass
class Layers:
    """How scattered the scores of each layer were when it last decoded."""

    scatter: dict[object, float] = field(default_factory=dict)

    def share(self, layer: object, own: float, num_layers: int) -> float:
        """What a layer gets of a budget of 1 a layer; 1 until all layers are known."""
        self.scatter[layer] = own
        total = sum(self.scatter.values())
        return 1.0 if len(self.scatter) < num_layers or total == 0 else own * num_layers / total


@dataclass
class ActivationLookup(BlockLookup):
    """num queries seen so far, their sum and sum of squares [B, Hq * D]."""

    cutoff: bool = True
    num: int = field(default=0, init=False)
    total: Tensor | None = field(default=None, init=False)
    squares: Tensor | None = field(default=None, init=False)

    def probe(self, queries: Tensor) -> Tensor:
        flat = queries.transpose(1, 2).flatten(2).float()
        total, squares = flat.sum(1), flat.square().sum(1)
        self.total = total if self.total is None else self.total + total
        self.squares = squares if self.squares is None else self.squares + squares
        self.num += flat.shape[1]
        mean = self.total / self.num
        variance = (self.squares / self.num - mean.square()).clamp(min=0)
        return weighed(queries, activation_bias(flat, mean, variance))

    def number(self, scores: Tensor, num_queries: int) -> int:
        if not self.cutoff or num_queries > 1:
            return self.topk
        share = self.ctx.shared(Layers).share(self.ctx.place, scatter(scores), len(self.ctx.view.full_layers))
        return max(1, round(self.topk * share))

    def tensors(self) -> Iterable[Tensor]:
        yield from super().tensors()
        yield from (t for t in (self.total, self.squares) if t is not None)

    def select_rows(self, rows: Tensor) -> None:
        super().select_rows(rows)
        self.total = None if self.total is None else self.total[rows]
        self.squares = None if self.squares is None else self.squares[rows]


@dataclass(frozen=True, kw_only=True)
class ActQKV(BlockMemory):
    """Looks up blocks of the past with a probe made of the queries that stand out, and more of them where needed.

    Activation-aware Probe-Query: Effective Key-Value Retrieval for Long-Context LLMs Inference (2502.13542). A
    window's queries are averaged with their activation bias as weight: how many variances a query lies from the mean
    of those seen so far. The probe ranks the blocks, which are InfLLM's. While text is generated, layers whose scores
    are scattered over many blocks look up more of them, and layers that know what they want fewer, at the same number
    over all layers (the dynamic cut-off).

    Where we leave the paper: mean and variance are those of all queries of the text so far; the cut-off shares out
    topk blocks a layer by the normalised entropy of each layer's scores at its last step, while the official code
    keeps running means and variances of these entropies (the rows of a batch share these numbers); everything else as
    for InfLLM here.
    """

    papers: ClassVar[tuple[str, ...]] = ("2502.13542",)

    cutoff: bool = knob(True, help="layers share out the blocks while text is generated")

    def lookup(self, ctx: OpenContext, sizes: Sizes) -> BlockLookup:
        return ActivationLookup(ctx, sizes, self.exc_block_size, self.topk, cutoff=self.cutoff)

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """As for the blocks, with the sums over queries."""
        cost = super().cost(view, tokens, before)
        layers = [view.layers[i] for i in view.full_layers]
        sums = 2 * SCORE_BYTES * sum(layer.num_heads * layer.key_dim for layer in layers)
        return replace(cost, index_bytes=cost.index_bytes + Interval(0, sums))
