"""EMS: entries of little use are evicted, those that repeat others are merged into them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from paretolm.contracts import (
    Budget,
    Cost,
    Edit,
    Held,
    Interval,
    Kept,
    Method,
    ModelView,
    Moment,
    Need,
    Observe,
    Observed,
    OpenContext,
    Phase,
    Slot,
    Step,
    knob,
)
from paretolm.errors import RecipeError

from ._cost import holding, query_bytes, received_bytes
from ._ranking import top
from .h2o import accumulate
from .snapkv import smooth, window_votes

TINY = torch.finfo(torch.float32).tiny


def global_local(everywhere: Tensor, lately: Tensor) -> Tensor:
    """[B, H, n] the larger of attention received from all queries and from the last ones, at equal sums.

    everywhere, lately [B, H, n]. What all queries gave is scaled to the sum of what the last ones gave, head by head.
    """
    scale = lately.sum(-1, keepdim=True) / everywhere.sum(-1, keepdim=True).clamp(min=TINY)
    return torch.maximum(everywhere * scale, lately)


@dataclass(frozen=True)
class Merge:
    """index [B, H, m] of the entries that stay, ascending; shares [B, H, m, o] float32: what each of the entries
    `others` [B, H, o] adds to each of them, in parts of the entry's own weight; all 0 for one that is evicted."""

    index: Tensor
    others: Tensor
    shares: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """[B, H, m, D] the weighted means of x [B, H, n, D], in the dtype of x."""
        own, other = (
            x.gather(2, i[..., None].expand(*i.shape, x.shape[-1])).float() for i in (self.index, self.others)
        )
        return ((own + self.shares @ other) / (1 + self.shares.sum(-1, keepdim=True))).to(x.dtype)

    def add(self, scores: Tensor) -> Tensor:
        """[B, H, m]: scores [B, H, n] of what stays, with those of what was merged into it."""
        own, other = scores.gather(-1, self.index), scores.gather(-1, self.others)
        return own + ((self.shares > 0).float() @ other[..., None])[..., 0]

    @property
    def num_merged(self) -> int:
        """Entries of the head that merges most."""
        return int((self.shares > 0).any(-2).sum(-1).max())


def evict_then_merge(keys: Tensor, scores: Tensor, capacity: int, candidates: int, threshold: float) -> Merge:
    """What stays of n entries, and what is merged into it.

    keys [B, H, n, D]; scores [B, H, n - w], of all but the last w entries, which stay and take nothing in. The best
    capacity - w of the others stay; of the rest the `candidates` best are merged each into the one whose key has the
    most similar direction, by the share of its score, if that similarity reaches `threshold`. All else is evicted.
    """
    n, window = keys.shape[2], keys.shape[2] - scores.shape[-1]
    num, heads = capacity - window, keys.shape[:2]
    order = top(scores, num + (candidates if num else 0))
    own = torch.zeros_like(order, dtype=torch.bool).scatter_(-1, top(scores.gather(-1, order), num), True)
    split = own.int().argsort(dim=-1, descending=True, stable=True)  # those that stay first, each part ascending
    centres, others = order.gather(-1, split).split([num, order.shape[-1] - num], dim=-1)
    last = torch.arange(n - window, n, device=keys.device).expand(*heads, -1)
    shares = torch.zeros(*heads, capacity, others.shape[-1], device=keys.device)
    if others.shape[-1]:
        best, centre = _most_similar(keys, others, centres)
        weight = scores.gather(-1, others) / scores.gather(-1, centres).gather(-1, centre).clamp(min=TINY)
        shares.scatter_(2, centre[:, :, None], torch.where(best >= threshold, weight, 0.0)[:, :, None])
    return Merge(torch.cat([centres, last], dim=-1), others, shares)


def _most_similar(keys: Tensor, others: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """[B, H, o] cosine of each of `others` with the key among `centres` [B, H, c] nearest to it, and that one's place."""
    unit = functional.normalize(keys.float(), dim=-1)
    one, two = (unit.gather(2, i[..., None].expand(*i.shape, keys.shape[-1])) for i in (others, centres))
    return torch.max(one @ two.mT, dim=-1)


@dataclass
class EMSKeep:
    """scores [B, H, n]: attention each entry had received when entries were last evicted, in float32."""

    ctx: OpenContext
    method: EMS
    scores: Tensor | None = None
    observe: Observe = field(init=False)

    def __post_init__(self) -> None:
        self.observe = Observe(queries=self.method.window_size, received=True, decoding=True)

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        return None

    def settle(self, held: Held, observed: Observed, step: Step) -> Kept | None:
        capacity = self.method.budget.tokens(held.seen)
        if step.moment is Moment.PREFILL or held.length <= capacity:
            return None
        assert observed.received is not None
        keys = held.keys()
        received = accumulate(self.scores, observed.received, keys.shape[1])
        merge = self._merge(keys, received, observed, capacity)
        self.scores = merge.add(received)
        merged = merge.num_merged
        self.ctx.count("tokens_evicted", held.length - capacity - merged)
        self.ctx.count("tokens_merged", merged)
        return Kept(merge.index, keys=merge.apply(keys), values=merge.apply(held.values()))

    def _merge(self, keys: Tensor, received: Tensor, observed: Observed, capacity: int) -> Merge:
        assert observed.queries is not None
        method, n = self.method, keys.shape[2]
        window = min(observed.queries.shape[2], max(1, capacity // 2))
        lately = window_votes(observed.queries[:, :, -window:], keys, observed.scaling)
        scores = smooth(global_local(received[..., : n - window], lately), method.kernel_size, "maxpool")
        candidates = min(n - capacity, math.ceil(method.merge_ratio * capacity))
        return evict_then_merge(keys, scores, capacity, candidates, method.threshold)

    def tensors(self) -> Iterable[Tensor]:
        return () if self.scores is None else (self.scores,)

    def select_rows(self, rows: Tensor) -> None:
        self.scores = None if self.scores is None else self.scores[rows]


@dataclass(frozen=True, kw_only=True)
class EMS(Method):
    """Evicts what received least attention, ever and lately, and merges what repeats an entry into it.

    EMS: Adaptive Evict-then-Merge Strategy for Head-wise KV Cache Compression Based on Global-Local Importance
    (2412.08521), section 4. An entry's score is the larger of the attention it received from all queries and from
    the last `window_size`, at equal sums, pooled over neighbours. The best entries and the window stay; of the
    others the best are merged, each into the entry with the most similar key, unless none is similar enough, and
    the rest are evicted. Every head decides for itself, at the end of the prompt and after every step.

    Where we leave the paper: no code was released, so the weights of a merge (scores) and the defaults of
    `threshold`, `merge_ratio` and `kernel_size` are ours. Keys are merged as they are held, each turned to its own
    position, so only keys that are similar there are. One score for a key-value head; a budget in percent grows with
    the text; of equal scores the later entry stays.
    """

    papers: ClassVar[tuple[str, ...]] = ("2412.08521",)

    budget: Budget = knob(Budget(25, "%"), help="entries held, window included")
    window_size: int = knob(16, low=1, help="last queries whose attention is the local score; their entries stay")
    threshold: float = knob(0.8, low=-1, high=1, help="cosine of two keys from which they are merged")
    merge_ratio: float = knob(1.0, low=0, help="candidates for merging, in parts of the budget; 0: only eviction")
    kernel_size: int = knob(5, low=1, help="width of the pooling, odd")

    def validate(self) -> None:
        if self.kernel_size % 2 == 0:
            raise RecipeError(f"ems: kernel_size must be odd, not {self.kernel_size}")
        fixed = self.budget.fixed
        if fixed is not None and fixed <= self.window_size:
            raise RecipeError(
                f"ems: window_size={self.window_size} leaves nothing of budget={self.budget} to select; "
                "make the budget larger than the window"
            )

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(
            slot=Slot.KEEP,
            where=view.full_layers,
            make=lambda ctx: EMSKeep(ctx, self),
            phase=Phase.AFTER,
            needs=frozenset({Need.FULL_SCORES, Need.QUERIES}),
            # what is merged cannot be taken apart, nor a rejected draft's attention taken out of the scores
            breaks=frozenset({Need.CHUNK_INVARIANT, Need.PADDING, Need.ROLLBACK, Need.TREE}),
        )

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        capacity = self.budget.tokens(tokens)
        cost = before.with_layers(view.full_layers, lambda layer: holding(layer, capacity, per_head=True))
        layers = [view.layers[i] for i in view.full_layers]
        window = min(tokens, self.window_size)
        scores = received_bytes(layers, self.budget, tokens)
        return replace(cost, index_bytes=cost.index_bytes + Interval.exact(window * query_bytes(view)) + scores)

    def chunk(self, tokens: int) -> int | None:
        return max(1, self.budget.tokens(tokens) // 8)
