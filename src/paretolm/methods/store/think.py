"""ThinK: keys lose the channels that the end of the prompt reads least."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import (
    Cost,
    Edit,
    Held,
    Interval,
    LayerCost,
    Method,
    ModelView,
    Moment,
    Need,
    OpenContext,
    Side,
    Slot,
    Step,
    Store,
    knob,
)
from paretolm.errors import ConflictError
from paretolm.methods.keep._ranking import top

from ._coded import CodedStore
from ._packing import gather

CRITERIA = ("query", "magnitude", "random")
SPLIT_BYTES = 8  # where a head's thin keys end, once heads differ


def channel_scores(queries: Tensor, keys: Tensor) -> Tensor:
    """[B, H, D] float32: how large the logits are that each channel makes, the Frobenius norm of the product of its
    column of queries with its column of keys, squared and summed over a group's query heads.

    queries [B, Hq, w, D], keys [B, H, n, D]."""
    read = queries.unflatten(1, (keys.shape[1], -1)).float().square().sum((2, 3))
    return read * keys.float().square().sum(2)


@dataclass(frozen=True)
class ThinKeys:
    """Keys without some of their channels, which read as zero. As `_codes.Codes`; immutable.

    kept [B, H, n, D'] the channels that stay; channels [B, H, D'] which of the `width` they are, ascending."""

    kept: Tensor
    channels: Tensor
    width: int

    @classmethod
    def prune(cls, keys: Tensor, scores: Tensor, num_pruned: int) -> ThinKeys:
        """keys [B, H, n, D] without the num_pruned channels of the lowest scores [B|1, H, D]."""
        width = keys.shape[-1]
        index = top(scores.expand(keys.shape[0], -1, -1), width - num_pruned)
        kept = keys.gather(-1, index[:, :, None].expand(-1, -1, keys.shape[2], -1))
        return cls(kept, index.to(torch.uint8 if width <= 256 else torch.int16), width)

    def join(self, new: ThinKeys) -> ThinKeys:
        """Those must lack the same channels."""
        return replace(self, kept=torch.cat((self.kept, new.kept), dim=2))

    def take(self, index: Tensor) -> ThinKeys:
        return replace(self, kept=gather(self.kept, index))

    def rows(self, rows: Tensor) -> ThinKeys:
        return replace(self, kept=self.kept[rows], channels=self.channels[rows])

    def decode(self, dtype: torch.dtype, index: Tensor | None = None) -> Tensor:
        kept = self.kept if index is None else gather(self.kept, index)
        channels = self.channels.long()[:, :, None].expand_as(kept)
        return kept.new_zeros(*kept.shape[:3], self.width).scatter_(-1, channels, kept).to(dtype)

    def tensors(self) -> Iterable[Tensor]:
        return self.kept, self.channels


@dataclass
class QueryWatch:
    """The ATTEND part: changes nothing, and remembers the prompt's last queries [B, Hq, w, D] until its end."""

    window: int
    queries: Tensor | None = None

    def select(self, queries: Tensor, held: Held, step: Step) -> Tensor | None:
        if step.moment in (Moment.PREFILL, Moment.PREFILL_END):
            seen = queries if self.queries is None else torch.cat((self.queries, queries), dim=2)
            self.queries = seen[:, :, -self.window :].clone()
        return None

    def take(self) -> Tensor:
        queries, self.queries = self.queries, None
        assert queries is not None, "the prompt's end has no queries"
        return queries

    def tensors(self) -> Iterable[Tensor]:
        return () if self.queries is None else (self.queries,)

    def select_rows(self, rows: Tensor) -> None:
        self.queries = None if self.queries is None else self.queries[rows]


@dataclass(frozen=True)
class ThinkPart:
    """The STORE part: keys of a whole prompt are thinned once, all but the newest."""

    method: Think
    ctx: OpenContext

    def store(self, side: Side, inner: Callable[[], Store]) -> Store:
        if side == "value":
            return inner()
        count = partial(self.ctx.count, "keys_thinned")
        return CodedStore(self._encode, 1, self.method.recent_size, inner(), count, once=True)

    def _encode(self, keys: Tensor) -> ThinKeys:
        """keys [B, H, n, D]."""
        queries = watch_of(self.ctx, self.method.window_size).take()
        return ThinKeys.prune(keys, self._scores(queries, keys), self.method.num_pruned(keys.shape[-1]))

    def _scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        if self.method.criterion == "query":
            return channel_scores(queries, keys)
        if self.method.criterion == "magnitude":
            return keys.float().square().sum(2)
        seeded = torch.Generator().manual_seed(self.method.seed + int(self.ctx.place))
        return torch.rand(1, keys.shape[1], keys.shape[-1], generator=seeded).to(keys.device)


def watch_of(ctx: OpenContext, window: int) -> QueryWatch:
    """The one of this layer, which the ATTEND part fills and the STORE part empties."""
    watches: dict[object, QueryWatch] = ctx.shared(dict)
    return watches.setdefault(ctx.place, QueryWatch(window))


@dataclass(frozen=True, kw_only=True)
class Think(Method):
    """Drops the channels of the prompt's keys that contribute least to what its last queries read; values stay.

    ThinK: Thinner Key Cache by Query-Driven Pruning (2407.21018), section 3. A channel's score is the Frobenius norm
    of its part of the logits of the last `window_size` queries. At the end of the prompt each head drops the `ratio`
    of channels with the lowest scores, in all keys but the newest `recent_size`; what is generated stays whole. A KEEP
    method acts before it, so the channels are those of the entries that stay. keys_thinned counts tokens, in every
    layer.

    Where we leave the paper: one choice for a key-value head, from the sum over its group's query heads, since the
    official code repeats the keys for every query head first. The norms are of the keys that are thinned, without the
    newest. A dropped channel reads as zero, so that queries need not be thinned: this saves memory and no time. A
    second prompt in one text is not thinned again. Values are not thinned (the paper's appendix tries it). Padded
    batches are refused: a padding key would count in the norms.
    """

    papers: ClassVar[tuple[str, ...]] = ("2407.21018",)

    ratio: float = knob(0.4, low=0, high=0.95, help="share of the key channels that go (λ)")
    window_size: int = knob(32, low=1, help="last queries of the prompt that score the channels (S_obs)")
    recent_size: int = knob(32, low=0, help="newest keys of the prompt that stay whole")
    criterion: str = knob("query", choices=CRITERIA, help="query, or what the paper compares with")
    seed: int = knob(0, low=0, help="of criterion=random")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        where = frozenset(i for i in view.full_layers if self.num_pruned(view.layers[i].key_dim))
        if not view.full_layers:
            raise ConflictError("think needs a layer with full attention, and this model has none")
        if not where and self.ratio > 0:
            width = max(view.layers[i].key_dim for i in view.full_layers)
            raise ConflictError(f"think: ratio={self.ratio} of {width} key channels is less than one; raise the ratio")
        if where:
            yield Edit(Slot.ATTEND, where, lambda ctx: watch_of(ctx, self.window_size), needs=frozenset({Need.QUERIES}))
            yield Edit(Slot.STORE, where, lambda ctx: ThinkPart(self, ctx), breaks=frozenset({Need.PADDING}))

    def num_pruned(self, width: int) -> int:
        return int(width * self.ratio + 1e-9)

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """Of a prompt of `tokens`."""
        return before.with_layers(view.full_layers, partial(self._layer_cost, view.dtype_bytes))

    def _layer_cost(self, dtype_bytes: int, layer: LayerCost) -> LayerCost:
        """Every key thin; `fixed` has what the newest take on top, and which channels stay. Exact where the number of
        entries is."""
        width = int(layer.key_bytes.high / dtype_bytes)
        pruned = self.num_pruned(width)
        if not pruned or layer.entries.high <= self.recent_size:
            return layer
        thin, number = (width - pruned) * dtype_bytes, 1 if width <= 256 else 2
        extra = self.recent_size * pruned * dtype_bytes + (width - pruned) * number
        exact = layer.entries.low == layer.entries.high
        fixed = Interval.exact(extra) if exact else Interval(0, extra + SPLIT_BYTES)
        return replace(layer, key_bytes=Interval.exact(thin), fixed=layer.fixed + fixed * layer.heads)
