"""PrFlashAttention: which blocks take part is drawn, near ones more likely."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import Edit, Method, ModelView, OpenContext, knob

from ._gathered import Reads, Tiling
from ._prefill import SparsePrefill, prefill_edit

DISTRIBUTIONS = ("harmonic", "uniform")


def drawn_blocks(own: Tensor, keep: float, distribution: str, generator: torch.Generator) -> Tensor:
    """[M, m] key blocks of each query block own [M]: of the blocks before it a share `keep`, rounded up, drawn without
    replacement with weights 1 / distance, or equal ones; -1 fills up."""
    num = int(own[-1])
    distance = own[:, None].cpu() - torch.arange(num)
    weight = torch.where(distance > 0, distance.clamp(min=1), torch.inf).double()
    weight = 1 / weight if distribution == "harmonic" else (weight < torch.inf).double()
    # the largest u^(1/w) are a weighted draw without replacement (Efraimidis and Spirakis)
    score = torch.rand(weight.shape, generator=generator, dtype=torch.float64).log() / weight
    wanted = (own.cpu() * keep - 1e-9).ceil()
    order = score.argsort(dim=1, descending=True)[:, : math.ceil(num * keep - 1e-9)]
    taken = torch.arange(order.shape[1]) < wanted[:, None]
    return order.masked_fill(~taken, -1).to(own.device)


@dataclass
class DrawnBlocks(SparsePrefill):
    method: PrFlash

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.method.seed * 1000 + int(self.ctx.place))

    def reads(self, queries: Tensor, keys: Tensor, tiling: Tiling, scaling: float) -> Sequence[Reads] | None:
        own = tiling.own(queries.device)
        if self.method.keep == 1 or int(own[-1]) == 0:
            return None
        rows = queries.shape[0] * queries.shape[1]
        draw = (own, self.method.keep, self.method.distribution, self.generator)
        return [Reads(drawn_blocks(*draw)) for _ in range(rows)]


@dataclass(frozen=True, kw_only=True)
class PrFlash(Method):
    """Reads of the prompt, for every block of queries and every head, its own block and a random share of earlier ones.

    The Nature of Mathematical Modeling and Probabilistic Optimization Engineering in Generative AI (2410.18441), the
    section on probabilistic FlashAttention: a distribution over block distances decides which blocks take part, and
    the triangle of causality stays. keep=1 is dense. What follows the prompt is read densely. pairs_unread counts
    pairs of query and key.

    Where we leave the paper: it fixes neither the distribution nor the share; here near blocks are more likely, with
    weights 1 / distance, or all alike, and the number of blocks is fixed rather than drawn. It reshapes tensors so
    that skipped blocks leave no hole; here the blocks are gathered. Padded batches are refused.
    """

    papers: ClassVar[tuple[str, ...]] = ("2410.18441",)

    keep: float = knob(0.5, low=0.01, high=1, help="share of the earlier blocks that take part")
    distribution: str = knob("harmonic", choices=DISTRIBUTIONS, help="over block distances: harmonic or uniform")
    block_size: int = knob(64, low=1, help="queries and keys of a block")
    seed: int = knob(0, low=0, help="of the draws")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        def make(ctx: OpenContext) -> DrawnBlocks:
            return DrawnBlocks(ctx, self.block_size, self.block_size, self)

        yield prefill_edit(view.full_layers, make)
