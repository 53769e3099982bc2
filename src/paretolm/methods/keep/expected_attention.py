"""Expected attention: what queries that are yet to come will look for, from the distribution of those that came."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import Budget, Cost, Edit, Method, ModelView, Need, Observe, Phase, Slot, knob
from paretolm.errors import ConflictError, RecipeError

from ._cost import holding
from ._prompt import PromptKeep, Text
from ._ranking import top

ALL = 2**31  # queries: as many as the prompt has


def turn(x: Tensor, cos: Tensor, sin: Tensor, halves: bool) -> Tensor:
    """x [..., D] times the rotation (cos, sin), [..., R/2] each, in its first R channels; halves: (x1, x2), not pairs.

    cos and sin need not lie on a circle: a mean of rotations is turned by as well."""
    width = 2 * cos.shape[-1]
    part, rest = x[..., :width], x[..., width:]
    a, b = part.chunk(2, dim=-1) if halves else (part[..., 0::2], part[..., 1::2])
    turned = a * cos - b * sin, b * cos + a * sin
    out = torch.cat(turned, dim=-1) if halves else torch.stack(turned, dim=-1).flatten(-2)
    return torch.cat([out, rest], dim=-1)


def future_queries(
    queries: Tensor, positions: Tensor, inv_freq: Tensor, future: range, halves: bool = True
) -> tuple[Tensor, Tensor]:
    """Mean [B, H, D] and covariance [B, H, D, D] of queries if they stood, on average, at the positions `future`.

    queries [B, H, w, D] as attention sees them, at positions [B|1, w]. They are turned back to position 0, their
    mean and covariance are taken there, and turned by the mean rotation of the future positions.
    """
    inv_freq = inv_freq.float()
    angle = positions[:, None, :, None].float() * inv_freq
    unturned = turn(queries.float(), angle.cos(), -angle.sin(), halves)
    mean = unturned.mean(2)
    centred = unturned - mean[:, :, None]
    covariance = centred.transpose(-1, -2) @ centred / queries.shape[2]
    ahead = torch.arange(future.start, future.stop, device=queries.device)[:, None] * inv_freq
    cos, sin = ahead.cos().mean(0), ahead.sin().mean(0)
    half = turn(covariance, cos, sin, halves)  # rows of C R^T; then the columns
    return turn(mean, cos, sin, halves), turn(half.transpose(-1, -2), cos, sin, halves)


def expected_attention(keys: Tensor, mean: Tensor, covariance: Tensor | None, scaling: float) -> Tensor:
    """[B, H, n] share of attention each key can expect of a Gaussian query, a mean over a group's query heads.

    keys [B, H, n, D]; mean [B, Hq, D]; covariance [B, Hq, D, D] or None. E exp(s q.k) = exp(s m.k + s^2 k.C.k / 2).
    """
    heads, keys = keys.shape[1], keys.float()
    logits = torch.einsum("bhnd,bhgd->bhgn", keys, mean.unflatten(1, (heads, -1))) * scaling
    if covariance is not None:
        spread = torch.einsum("bhnd,bhgde->bhgne", keys, covariance.unflatten(1, (heads, -1)))
        logits = logits + (spread * keys[:, :, None]).sum(-1) * (scaling**2 / 2)
    return logits.softmax(-1).mean(2)


@dataclass
class ExpectedKeep(PromptKeep):
    method: ExpectedAttention
    halves: bool

    def __post_init__(self) -> None:
        self.observe = Observe(queries=ALL)

    def size(self, length: int) -> int:
        return self.method.budget.tokens(length)

    def choose(self, text: Text, size: int) -> Tensor:
        keys, first = text.keys, min(self.method.n_sink, size)
        rest = top(self._scores(text)[..., first:], size - first) + first
        sinks = torch.arange(first, device=keys.device).expand(*keys.shape[:2], -1)
        return torch.cat([sinks, rest], dim=-1)

    def _scores(self, text: Text) -> Tensor:
        """[B, H, n]; sinks are among the keys here as little as in the statistics."""
        method, first = self.method, min(self.method.n_sink, text.length - 1)
        observed, queries = text.observed, text.queries
        assert observed.inv_freq is not None
        assert observed.query_positions is not None
        positions = observed.query_positions[text.rows if len(observed.query_positions) > 1 else slice(None)]
        positions = positions[:, -queries.shape[2] :]
        future = range(text.length, text.length + method.n_future_positions)
        after = slice(min(first, queries.shape[2] - 1), None)
        mean, covariance = future_queries(
            queries[:, :, after], positions[:, after], observed.inv_freq, future, self.halves
        )
        keys = text.keys[:, :, first:]
        scores = expected_attention(keys, mean, covariance if method.use_covariance else None, text.scaling)
        if method.use_vnorm:
            scores = (scores + method.epsilon) * text.values[:, :, first:].float().norm(dim=-1)
        return torch.nn.functional.pad(scores, (first, 0))


@dataclass(frozen=True, kw_only=True)
class ExpectedAttention(Method):
    """Keeps the entries of the prompt to which queries yet to come are expected to attend.

    Expected Attention: KV Cache Compression by Estimating Attention from Future Queries Distribution (2510.00636),
    section 3, as in NVIDIA's kvpress. The prompt's queries, turned back to position 0, are taken for a Gaussian;
    turned by the mean rotation of the next `n_future_positions` it says in closed form what attention each key can
    expect, and that times the norm of the value is the entry's score. The first `n_sink` entries stay and are left
    out of the statistics. What is generated stays.

    All queries of the prompt are held while it is read, in every layer, and are dropped at its end.

    Where we leave the paper: one selection for a key-value head, the mean over its group's query heads, as in
    kvpress. Queries are turned back from where attention sees them instead of being computed once more, so a
    norm between projection and rotation (Qwen3) is in them. Every head keeps as many (adakv shares out among heads).
    """

    papers: ClassVar[tuple[str, ...]] = ("2510.00636",)
    baseline: ClassVar[bool] = True

    budget: Budget = knob(Budget(50, "%"), help="entries of the prompt that stay, sinks included")
    n_future_positions: int = knob(512, low=1, help="positions ahead over which rotations are averaged")
    n_sink: int = knob(4, low=0, help="first entries that stay")
    use_covariance: bool = knob(True, help="whether queries are taken to spread, or only their mean counts")
    use_vnorm: bool = knob(True, help="whether scores are multiplied with the norm of the value")
    epsilon: float = knob(0.0, low=0, help="added to the expected attention before that")

    def validate(self) -> None:
        fixed = self.budget.fixed
        if fixed is not None and fixed <= self.n_sink:
            raise RecipeError(
                f"expected-attention: n_sink={self.n_sink} leaves nothing of budget={self.budget} to select; "
                "make the budget larger than the sinks"
            )

    def plan(self, view: ModelView) -> Iterable[Edit]:
        if view.rope is None:
            raise ConflictError("expected-attention averages rotary positions, and this model has none")
        halves = view.rope.halves
        yield Edit(
            slot=Slot.KEEP,
            where=view.full_layers,
            make=lambda ctx: ExpectedKeep(ctx, self, halves),
            phase=Phase.AFTER,
            needs=frozenset({Need.QUERIES}),
        )

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """Of a prompt of `tokens`."""
        size = self.budget.tokens(tokens)
        return before.with_layers(view.full_layers, lambda layer: holding(layer, size, per_head=True))
