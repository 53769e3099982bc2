"""SEA: a linear attention estimates a map of attention, and its best cells are read exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

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
    Need,
    OpenContext,
    Slot,
    Step,
    knob,
)
from paretolm.errors import FitError, RecipeError
from paretolm.methods.attend.select._choice import own_entries, probabilities, within
from paretolm.methods.attend.select._hold import HoldAll

from ._cells import densities, entries, grouped_top, sizes
from ._distil import learn, mixed, scale, weighted
from ._estimator import ZOOM, Estimate, Past, Seen, Shape, decode, of_layer, parameters, see

ROWS = 128  # queries of a long forward whose maps are drawn and read together
BREAKS = frozenset({Need.PADDING, Need.ROLLBACK, Need.TREE, Need.FULL_SCORES})


def read_one(queries: Tensor, held: Held, mask: Tensor, scaling: float) -> Tensor:
    """[B, Hq, 1, Dv] of one query [B, Hq, 1, D], for which nothing is read but what mask [B, Hq, 1, n] names."""
    most = int(mask.sum(-1).max())
    found = mask[:, :, 0].int().topk(most, dim=-1)
    heads = held.values(found.indices.new_zeros(1, 1, 1)).shape[1]
    index = found.indices.unflatten(1, (heads, -1)).flatten(2)
    keys, values = (x.unflatten(2, (-1, most)).flatten(1, 2) for x in (held.keys(index), held.values(index)))
    return weighted(probabilities(queries, keys, scaling, found.values[:, :, None] > 0), values)


def read_some(queries: Tensor, stored: tuple[Tensor, Tensor], chosen: Tensor, tokens: Tensor, scaling: float) -> Tensor:
    """[B, Hq, Q, Dv] of queries [B, Hq, Q, D] that read the chosen cells [B, Hq, Q, K] of their first tokens [Q];
    stored: keys and values [B, Hq, n, D]."""
    upto = int(tokens[-1])  # none of these reads more
    bias = torch.zeros(chosen.shape, device=queries.device).masked_fill_(~chosen, float("-inf"))
    mask = entries(bias, tokens, upto, float("-inf"))
    keys, values = (x[:, :, :upto] for x in stored)
    return functional.scaled_dot_product_attention(queries.float(), keys, values, mask, scale=scaling)


@dataclass
class Sea:
    """The ATTEND part of one layer."""

    ctx: OpenContext
    budget: Budget
    shape: Shape
    past: Past = field(default_factory=Past)

    def __post_init__(self) -> None:
        if self.ctx.artifact is None:
            raise FitError("sea-attention has no estimator yet; run `paretolm fit` with this recipe and a text")
        mine = of_layer(self.ctx.artifact.tensors, self.shape.layer.index)
        self.weights = {name: t.to(self.ctx.device) for name, t in mine.items()}

    def compute(
        self, queries: Tensor, held: Held, allowed: Callable[[], Tensor | None], scaling: float, step: Step
    ) -> Tensor | None:
        own = own_entries(held.length, step.num_queries, queries.device)
        if not self.past.tensors:
            self.past.begin(self.shape, queries.shape[0], queries.device)
        k = within(self.budget, own)
        everything, one, outputs = bool((k > own).all()), step.num_queries == 1, []
        stored = None if everything or one else self._stored(held)
        for start in range(0, len(own), ROWS):
            some = slice(start, start + ROWS)
            new, part = own[some][None, None], queries[:, :, some]
            seen = see(self.weights, self.shape, (part, held.keys(new), held.values(new)), scaling, self.past)
            estimate = decode(self.weights, self.shape, seen.inputs, own[some] + 1, self.past)
            if not everything:
                outputs.append(self._output(part, held, stored, (seen, estimate), (own[some] + 1, k[some]), scaling))
        return None if everything else torch.cat(outputs, dim=2).to(queries.dtype)

    def _stored(self, held: Held) -> tuple[Tensor, Tensor]:
        """Keys and values [B, Hq, n, D] in float32."""
        layer = self.shape.layer
        groups = layer.num_heads // layer.num_kv_heads
        keys, values = (x.float().repeat_interleave(groups, dim=1) for x in (held.keys(), held.values()))
        return keys, values

    def _output(
        self,
        queries: Tensor,
        held: Held,
        stored: tuple[Tensor, Tensor] | None,
        found: tuple[Seen, Estimate],
        each: tuple[Tensor, Tensor],
        scaling: float,
    ) -> Tensor:
        """[B, Hq, Q, Dv] of some queries; each: how many tokens [Q] one may read, and how many entries k [Q] it does.
        Several queries multiply what they do not read too."""
        (seen, estimate), (tokens, k) = found, each
        size = sizes(tokens, self.shape.cells)
        density = densities(estimate.logits, size)
        covered = (k >= tokens)[:, None]
        chosen = (grouped_top(density, size, k) | covered) & (size > 0)
        batch, heads = chosen.shape[:2]
        self.ctx.count("entries_unread", batch * heads * int(tokens.sum()) - int((chosen * size).sum()))
        scales = tuple(x.masked_fill(covered, 1.0) for x in scale(estimate, density, size, chosen))
        if stored is None:
            read = read_one(queries, held, entries(chosen, tokens, held.length), scaling)
        else:
            read = read_some(queries, stored, chosen, tokens, scaling)
        return mixed(read, seen.mean, (scales[0], scales[1]))

    def tensors(self) -> Iterable[Tensor]:
        yield from self.weights.values()
        yield from self.past.tensors

    def select_rows(self, rows: Tensor) -> None:
        self.past.select_rows(rows)


@dataclass(frozen=True, kw_only=True)
class SeaAttention(Method):
    """Reads the entries that a linear attention with a small decoder, trained beside the frozen model, expects to matter.

    SEA: Sparse Linear Attention with Estimated Attention Mask (2310.01777), section 3. Random features (FAVOR+) carry
    a sum over the past, so that each query learns at a fixed cost roughly what it attends to and where; an encoder and
    two causal convolutions draw from that a map of `predictor_length` cells for each head, which stand for equal parts
    of the text so far. The likeliest cells of all heads together are read exactly, `budget` entries a head; the output
    is scaled, and mixed with the mean of all values, by two learnt numbers. It acts from the first token, in the
    prompt too, on full-attention layers; everything stays held. The estimator is distilled from the model's own
    attention and outputs (`fit`).

    Where we leave the paper: the model itself is not trained; positions are marked by fixed waves, turned to distances
    from the query, while there a vector is learnt for each position; the decoder adds to how each head's attention falls
    off with distance, which is measured on the first text and then learnt; encoders are one a head; what is mixed
    starts from the estimated attention on the cells read, so that one estimator serves any budget; cells are taken
    while they fit the budget, and each head reads the query's own cell; the layer norm of the map is left out. Where the budget
    covers all entries, attention is the model's own. One query reads only its entries; many in one forward multiply
    the others too and mask them. Padded batches are refused.
    """

    papers: ClassVar[tuple[str, ...]] = ("2310.01777",)
    fit_knobs: ClassVar[tuple[str, ...]] = ("predictor_length", "features", "inner", "steps")

    budget: Budget = knob(Budget(64, "tok"), help="entries read by a query in each head, on average over heads (k)")
    predictor_length: int = knob(256, low=4, help="cells of the estimated map (K), a multiple of 4")
    features: int = knob(128, low=1, help="random features of the linear attention")
    inner: int = knob(64, low=1, help="width of the encoder, twice a head's in the paper")
    steps: int = knob(100, low=1, help="texts that the estimator is trained on, one after the other")

    def validate(self) -> None:
        if self.predictor_length % ZOOM:
            raise RecipeError(
                f"sea-attention: predictor_length={self.predictor_length} is no multiple of {ZOOM}, which the decoder "
                "draws at a time; round it"
            )

    def plan(self, view: ModelView) -> Iterable[Edit]:
        needs = frozenset({Need.QUERIES, Need.FITTED, Need.PLAIN_ATTENTION})
        for shape in self._shapes(view):

            def make(ctx: OpenContext, shape: Shape = shape) -> Sea:
                return Sea(ctx, self.budget, shape)

            where = frozenset({shape.layer.index})
            yield Edit(slot=Slot.ATTEND, where=where, make=make, needs=needs, breaks=BREAKS)
        yield Edit(slot=Slot.KEEP, where=view.full_layers, make=lambda _: HoldAll())

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """Everything is held; the estimators and what they carry on, which does not grow, come on top."""
        shapes = self._shapes(view)
        numbers = parameters(shapes) + sum(math.prod(one) for shape in shapes for one in shape.past())
        return replace(before, index_bytes=before.index_bytes + Interval.exact(4 * numbers))

    def fit(self, fitter: Fitter, budget: int | None) -> Artifact:
        shapes = self._shapes(fitter.view)
        tensors, tokens = learn(fitter, shapes, self.steps, budget)
        learnt = parameters(shapes)
        share = learnt * fitter.view.dtype_bytes / fitter.view.weight_bytes
        return Artifact(tensors, {"parameters": learnt, "share": round(share, 5), "tokens": tokens})

    def _shapes(self, view: ModelView) -> list[Shape]:
        sizes = {"cells": self.predictor_length, "features": self.features, "inner": self.inner}
        layers = [view.layers[i] for i in sorted(view.full_layers)]
        return [Shape(layer, longest=view.trained_length, **sizes) for layer in layers]
