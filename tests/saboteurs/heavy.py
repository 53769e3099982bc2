"""Methods of known weight: what they hold is what they say, and they do nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from paretolm.contracts import (
    WHOLE,
    Cost,
    Edit,
    Interval,
    Loop,
    Method,
    ModelRef,
    ModelView,
    OpenContext,
    Phase,
    Slot,
    knob,
)

MIB = 2**20


class _Twice(nn.Module):
    """A linear layer, and a second copy of its weights."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.weight = nn.Parameter(inner.weight.detach().clone(), requires_grad=False)
        self.copy = nn.Parameter(inner.weight.detach().clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight)


class _Doubler:
    def __init__(self, ctx: OpenContext) -> None:
        self.ctx = ctx

    def replace(self, path: str, module: nn.Module) -> nn.Module:
        self.ctx.count("matrices")
        return _Twice(module)


@dataclass(frozen=True, kw_only=True)
class _Heavy(Method):
    papers: ClassVar[tuple[str, ...]] = ("0000.00000",)


@dataclass(frozen=True, kw_only=True)
class Doubling(_Heavy):
    """Every matrix inside the layers twice."""

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(Slot.WEIGHTS, _matrices(view), _Doubler)

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        more = sum(m.in_features * m.out_features for m in view.linears if m.path in _matrices(view))
        return replace(before, weight_bytes=before.weight_bytes + Interval.exact(more * view.dtype_bytes))


def _matrices(view: ModelView) -> frozenset[Any]:
    return frozenset(m.path for m in view.linears if m.path != view.head_path)


class _Index:
    def __init__(self, mib: int) -> None:
        self.table = torch.ones(mib * MIB // 4)

    def tensors(self) -> Iterable[Tensor]:
        return [self.table]

    def __call__(self, ids: Tensor, hidden: Tensor, logits: Tensor) -> Tensor:
        return logits


@dataclass(frozen=True, kw_only=True)
class Indexed(_Heavy):
    """A table beside the cache."""

    mib: int = knob(1, low=1)

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(Slot.LOGITS, WHOLE, lambda _: _Index(self.mib))

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        return replace(before, index_bytes=before.index_bytes + Interval.exact(self.mib * MIB))


class _Second:
    """Greedy; the second model reads each token too."""

    keeps_prompt_logits = False

    def __init__(self, ctx: OpenContext, ref: ModelRef) -> None:
        self.draft = ctx.second(ref)

    def decode(self, loop: Loop) -> None:
        stream = self.draft.stream()
        stream.read(loop.ids, last=True)
        logits = loop.prompt_logits[:, -1]
        while loop.emit(token := loop.pick(loop.scores(logits))[:, None]):
            stream.step(token)
            logits = loop.forward(token).logits[:, -1]


@dataclass(frozen=True, kw_only=True)
class Drafted(_Heavy):
    """A second model that reads along."""

    draft: ModelRef = knob(ModelRef("draft"))

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(Slot.DECODE, WHOLE, lambda ctx: _Second(ctx, self.draft), phase=Phase.AFTER)
