"""TokenButler: a small predictor says, before attention, which entries each head will read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import (
    Artifact,
    Budget,
    Cost,
    Edit,
    Fitter,
    Held,
    Interval,
    Method,
    ModelView,
    Moment,
    Need,
    OpenContext,
    Phase,
    Slot,
    Step,
    knob,
)
from paretolm.errors import ConflictError, FitError

from ._choice import Choosing, count_unread, own_entries, within
from ._hold import HoldAll
from ._predictor import encode, learn, predicted

BREAKS = frozenset({Need.PADDING, Need.ROLLBACK, Need.TREE})
RESOLUTION = 4096
PROMPT = (Moment.PREFILL, Moment.PREFILL_END)


@dataclass
class Predictions:
    """What the dense layers make for the others. features of this forward, by layer; keys [B, heads, n, r] of all
    entries and queries [B, heads, Q, r] of this forward, for the heads of all predicted layers; settled: keys of the
    entries that no later forward takes back."""

    features: dict[int, Tensor]
    queries: Tensor | None = None
    keys: Tensor | None = None
    settled: Tensor | None = None


def _predictions() -> Predictions:
    return Predictions({})


@dataclass
class Showing:
    """A dense layer: shows its values to the predictor, which the last of them runs."""

    ctx: OpenContext
    last: bool
    heads: int
    weights: tuple[Tensor, Tensor] | None = None

    def __post_init__(self) -> None:
        if self.ctx.artifact is None:
            raise FitError("token-butler has no predictor yet; run `paretolm fit` with this recipe and a text")
        if self.last:
            inner, outer = (self.ctx.artifact.tensors[name].to(self.ctx.device) for name in ("inner", "outer"))
            self.weights = inner, outer

    def choose(self, queries: Tensor, held: Held, step: Step) -> Tensor | None:
        if step.moment in PROMPT:
            return None
        made, settled = self.ctx.shared(_predictions), held.length - step.num_queries
        known = 0 if made.settled is None else min(made.settled.shape[2], settled)
        new = torch.arange(known, held.length, device=queries.device)[None, None]
        made.features[held.layer] = held.values(new).transpose(1, 2).flatten(2)
        if self.weights is None:
            return None
        features = torch.cat([made.features[layer] for layer in sorted(made.features)], dim=-1)
        made.queries, keys = encode(features, *self.weights, self.heads)
        made.queries = made.queries[:, :, -step.num_queries :]
        made.keys = keys if made.settled is None else torch.cat([made.settled[:, :, :known], keys], dim=2)
        made.settled = made.keys[:, :, :settled].clone()
        made.features.clear()
        return None

    def tensors(self) -> Iterable[Tensor]:
        if self.weights is None:
            return
        made = self.ctx.shared(_predictions)
        yield from self.weights
        yield from (t for t in (made.settled, made.keys, made.queries) if t is not None)

    def select_rows(self, rows: Tensor) -> None:
        made = self.ctx.shared(_predictions)
        if self.weights is not None and made.settled is not None:
            made.settled = made.settled[rows]
            made.queries = made.keys = None  # made anew by the next forward


@dataclass
class Butler(Choosing):
    """A predicted layer: `rows` are its heads among those predicted."""

    ctx: OpenContext
    budget: Budget
    rows: slice

    def choose(self, queries: Tensor, held: Held, step: Step) -> Tensor | None:
        own = own_entries(held.length, step.num_queries, queries.device)
        budget = within(self.budget, own)
        if step.moment in PROMPT or bool((own < budget).all()):
            return None
        made = self.ctx.shared(_predictions)
        assert made.queries is not None
        assert made.keys is not None
        mask = most_wanted(predicted(made.queries[:, self.rows], made.keys[:, self.rows]), own, budget)
        count_unread(self.ctx, mask, own)
        return mask


def most_wanted(logits: Tensor, own: Tensor, budget: Tensor) -> Tensor:
    """[B, H, Q, n] True for a query's own entry and the best before it by logits [B, H, Q, n], budget [Q] in all.

    Equal tokens may have equal predictions, but for the rounding of a matrix product: of what is closer than
    1 / RESOLUTION the later entries are read."""
    entries = torch.arange(logits.shape[-1], device=own.device)
    before = entries < own[:, None]
    coarse = (logits * RESOLUTION).round().masked_fill(~before, float("-inf"))
    last_first = coarse.flip(-1).argsort(dim=-1, descending=True, stable=True)
    rank = torch.empty_like(last_first).scatter_(-1, last_first, entries.expand_as(last_first)).flip(-1)
    return ((rank < (budget - 1)[:, None]) & before) | (entries == own[:, None])


@dataclass(frozen=True, kw_only=True)
class TokenButler(Method):
    """Reads the entries that a small predictor, trained beside the frozen model, expects each head to attend to.

    TokenButler: Token Importance is Predictable (2503.07518). From what the first layers see of each token the
    predictor makes short queries and keys for the heads of all later layers at once; their products rank the entries
    of the cache before attention is computed. It is distilled from the model's own attention on text (`fit`), the
    model stays as it is. The prompt is read densely and everything stays held.

    Where we leave the paper: the predictor sees the values of the first `dense_layers` layers, which the cache holds
    and no position turns, while there it sees the hidden state behind the first layer; it predicts for key-value
    heads, the mean of their group; it is trained on the cross-entropy with the true attention; a query's own entry is
    always read. Since predictions are counted in entries, no eviction may stand beside it. Many tokens in one forward
    each read what they would read alone. Padded batches are refused.
    """

    papers: ClassVar[tuple[str, ...]] = ("2503.07518",)
    fit_knobs: ClassVar[tuple[str, ...]] = ("dense_layers", "inner", "rank", "steps")

    budget: Budget = knob(Budget(50, "%"), help="entries read by a query")
    dense_layers: int = knob(2, low=1, help="first layers that read everything and feed the predictor")
    inner: int = knob(64, low=1, help="width of the predictor")
    rank: int = knob(32, low=1, help="width of a predicted query and key")
    steps: int = knob(300, low=1, help="texts that the predictor is trained on, one after the other")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        dense, rest = self._layers(view)
        heads = [view.layers[layer].num_kv_heads for layer in rest]
        needs = frozenset({Need.QUERIES, Need.FITTED})
        common = {"slot": Slot.ATTEND, "phase": Phase.AFTER, "needs": needs, "breaks": BREAKS}
        for layer in dense:
            make = partial(Showing, last=layer == dense[-1], heads=sum(heads))
            yield Edit(where=frozenset({layer}), make=make, **common)  # type: ignore[arg-type]
        for place, layer in enumerate(rest):
            rows = slice(sum(heads[:place]), sum(heads[: place + 1]))
            make_butler = partial(Butler, budget=self.budget, rows=rows)
            yield Edit(where=frozenset({layer}), make=make_butler, **common)  # type: ignore[arg-type]
        yield Edit(slot=Slot.KEEP, where=frozenset((*dense, *rest)), make=lambda _: HoldAll(), phase=Phase.AFTER)

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """Everything is held; the predictor, its keys and this forward's queries come on top."""
        dense, rest = self._layers(view)
        heads = sum(view.layers[layer].num_kv_heads for layer in rest)
        width = sum(view.layers[layer].num_kv_heads * view.layers[layer].value_dim for layer in dense)
        weights = self.inner * (width + 2 * heads * self.rank) * 4
        made = 3 * heads * tokens * self.rank * 4
        return replace(before, index_bytes=before.index_bytes + Interval(weights, weights + made))

    def fit(self, fitter: Fitter, budget: int | None) -> Artifact:
        dense, rest = self._layers(fitter.view)
        inner, outer = learn(fitter, dense, rest, self.inner, self.rank, self.steps, budget)
        parameters = inner.numel() + outer.numel()
        share = parameters * fitter.view.dtype_bytes / fitter.view.weight_bytes
        return Artifact({"inner": inner, "outer": outer}, {"parameters": parameters, "share": round(share, 5)})

    def _layers(self, view: ModelView) -> tuple[list[int], list[int]]:
        """(dense, predicted) layers. Raises ConflictError where none is left to predict."""
        full = sorted(view.full_layers)
        if len(full) <= self.dense_layers:
            raise ConflictError(
                f"token-butler leaves the first {self.dense_layers} layers dense, and this model has no layer with full "
                "attention behind them; lower dense_layers"
            )
        return full[: self.dense_layers], full[self.dense_layers :]
