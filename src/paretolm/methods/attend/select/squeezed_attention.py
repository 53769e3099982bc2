"""Squeezed Attention: the keys of a fixed prompt in clusters, of which a query reads those that matter to it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import (
    Budget,
    Cost,
    Edit,
    Held,
    Interval,
    Method,
    ModelView,
    Moment,
    Need,
    OpenContext,
    Slot,
    Step,
    knob,
)
from paretolm.errors import RecipeError

from ._choice import count_unread, own_entries, reading
from ._clusters import Clusters, cluster, of_keys, regroup, shares, shares_below

LABEL_BYTES = 4  # int32
SIZE_BYTES = 4  # float32


@dataclass
class Calibration:
    """What a layer found at the end of the prompt, until one threshold a row is drawn from all layers."""

    found: list[Tensor] = field(default_factory=list)
    threshold: Tensor | None = None

    def add(self, scores: Tensor) -> None:
        """scores [B, H, n] of one layer's keys."""
        self.found.append(scores.flatten(1))

    def at(self, budget: Budget) -> Tensor:
        """[B, 1, 1, 1] the score above which lies the share of all keys that the budget says."""
        if self.threshold is None:
            scores = torch.cat(self.found, dim=1)
            self.threshold = scores.quantile(1 - budget.amount / 100, dim=1)[:, None, None, None]
            self.found.clear()
        return self.threshold


@dataclass
class Levels:
    fine: Calibration = field(default_factory=Calibration)
    coarse: Calibration = field(default_factory=Calibration)


@dataclass
class Squeezed:
    """Clusters the prompt at its end; every later query compares itself with the centroids."""

    ctx: OpenContext
    method: SqueezedAttention
    window: Tensor | None = None
    fine: Clusters | None = None
    coarse: Clusters | None = None
    parents: Tensor | None = None
    thresholds: tuple[Tensor, Tensor | None] | None = None

    def choose(self, queries: Tensor, held: Held, step: Step) -> Tensor | None:
        if self.method.budget.amount == 100:
            return None
        if step.moment in (Moment.PREFILL, Moment.PREFILL_END):
            seen = queries if self.window is None else torch.cat([self.window, queries], dim=2)
            self.window = seen[:, :, -self.method.observation_window :].clone()
            if step.moment is Moment.PREFILL_END:
                self._squeeze(held)
            return None
        if self.fine is None:
            return None
        mask = self._mask(queries, held, self.fine)
        count_unread(self.ctx, mask, own_entries(held.length, step.num_queries, queries.device))
        return mask

    def _squeeze(self, held: Held) -> None:
        """Clusters what stands before the observation window, whose queries say how scores are spread."""
        assert self.window is not None
        window = self.window[:, :, -max(1, min(self.window.shape[2], held.length // 2)) :]
        num_keys, self.window = held.length - window.shape[2], None
        if num_keys < 2:
            return
        keys = held.keys()[:, :, :num_keys]
        levels = self.ctx.shared(Levels)
        self.fine = cluster(keys, _number(self.method.clusters, num_keys))
        if self.method.levels == 2:
            self.coarse, self.parents = regroup(self.fine, _number(self.method.coarse_clusters, num_keys))
            levels.coarse.add(of_keys(shares(window, self.coarse), self.coarse.labels).mean(2))
        levels.fine.add(of_keys(shares(window, self.fine), self.fine.labels).mean(2))

    def _resolve(self) -> tuple[Tensor, Tensor | None]:
        if self.thresholds is None:
            levels, method = self.ctx.shared(Levels), self.method
            coarse = levels.coarse.at(method.coarse_budget) if method.levels == 2 else None
            self.thresholds = levels.fine.at(method.budget), coarse
        return self.thresholds

    def _mask(self, queries: Tensor, held: Held, fine: Clusters) -> Tensor:
        """[B, H, Q, n]: clusters above the threshold, and all that came after the clustered keys."""
        limit, coarse_limit = self._resolve()
        if self.coarse is None or self.parents is None or coarse_limit is None:
            scores = shares(queries, fine)
        else:
            passed = shares(queries, self.coarse) >= coarse_limit
            scores = shares_below(queries, fine, self.coarse, self.parents, passed)
        own = own_entries(held.length, queries.shape[2], queries.device)
        last = fine.labels.shape[-1] - 1
        at = held.positions.long().clamp(0, last).expand(*fine.labels.shape[:2], -1)
        picked = of_keys(scores >= limit, fine.labels.gather(-1, at))
        return (picked | (held.positions > last)[:, :, None]) & reading(held.length, own)

    def tensors(self) -> Iterable[Tensor]:
        found = [c for c in (self.fine, self.coarse) if c is not None]
        kept = [self.window, self.parents, *(self.thresholds or ())]
        kept += [t for c in found for t in (c.centroids, c.sizes, c.labels)]
        return (t for t in kept if t is not None)

    def select_rows(self, rows: Tensor) -> None:
        if self.fine is None:
            return
        limit, coarse_limit = self._resolve()
        self.thresholds = limit[rows], None if coarse_limit is None else coarse_limit[rows]
        self.fine = self.fine.rows(rows)
        if self.coarse is not None and self.parents is not None:
            self.coarse, self.parents = self.coarse.rows(rows), self.parents[rows]


def _number(percent: float, keys: int) -> int:
    return min(keys, max(1, math.ceil(keys * percent / 100)))


@dataclass(frozen=True, kw_only=True)
class SqueezedAttention(Method):
    """Reads, of the prompt's keys, the clusters whose centroid promises a query enough attention, and all that follows.

    Squeezed Attention: Accelerating Long Context Length LLM Inference (2411.09688). When the prompt ends, the keys of
    each head are clustered by k-means on their directions. A query compares itself with the centroids alone; a cluster
    is read where the attention a key of it would get, were all keys their centroids, reaches a threshold. That is one
    number for all layers and heads, set so that the last `observation_window` queries of the prompt would have read
    the budget, so that heads and queries read as much as they need. With two levels, coarse centroids are compared
    first, and fine ones only below those that pass.

    Where we leave the paper: what is fixed is the prompt up to its observation window, clustered when it has been
    read (the paper does it once, offline); k-means begins at evenly spaced keys, so that no chance is in it; a group
    of query heads shares its clusters by the mean of its scores; coarse clusters that were not opened count in the
    sum of scores as their centroid. A budget of 100% sets the threshold to zero. After the prompt many tokens in one
    forward read what they would read alone. Padded batches are refused.
    """

    papers: ClassVar[tuple[str, ...]] = ("2411.09688",)

    budget: Budget = knob(Budget(30, "%"), help="share of the prompt's keys read, on average; in percent")
    clusters: float = knob(5.0, low=0.01, high=100, help="centroids, in percent of the keys")
    levels: int = knob(1, choices=(1, 2), help="2: coarse centroids are compared first")
    coarse_clusters: float = knob(1.0, low=0.01, high=100, help="coarse centroids, in percent of the keys")
    coarse_budget: Budget = knob(Budget(60, "%"), help="share of keys below the coarse clusters that pass; in percent")
    observation_window: int = knob(100, low=1, help="last prompt tokens whose queries set the threshold")

    def validate(self) -> None:
        for name, budget in (("budget", self.budget), ("coarse_budget", self.coarse_budget)):
            if budget.unit != "%":
                raise RecipeError(f"squeezed-attention: {name} is a share of the keys, written like 30%, not {budget}")
        if self.levels == 2 and self.coarse_budget.amount < self.budget.amount:
            raise RecipeError(
                f"squeezed-attention: coarse_budget={self.coarse_budget} lets less through than budget={self.budget} "
                "reads; raise it"
            )

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(
            slot=Slot.ATTEND,
            where=view.full_layers,
            make=lambda ctx: Squeezed(ctx, self),
            needs=frozenset({Need.QUERIES}),
            breaks=frozenset({Need.PADDING}),
        )

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """Everything is held; centroids, sizes and labels come on top, and the window's queries while it is read."""
        numbers = [_number(self.clusters, tokens)]
        numbers += [_number(self.coarse_clusters, tokens)] if self.levels == 2 else []
        most = 0.0
        for layer in (view.layers[i] for i in view.full_layers):
            centroid = layer.key_dim * view.dtype_bytes + SIZE_BYTES
            labels = LABEL_BYTES * tokens * len(numbers) + 2 * LABEL_BYTES * numbers[0] * (self.levels - 1)
            window = layer.num_heads * min(tokens, self.observation_window) * layer.key_dim * view.dtype_bytes
            most += layer.num_kv_heads * (sum(numbers) * centroid + labels) + window + 2 * SIZE_BYTES
        return replace(before, index_bytes=before.index_bytes + Interval(0, most))
