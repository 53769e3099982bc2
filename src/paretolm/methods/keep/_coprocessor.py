"""A narrow transformer that reads a frozen model's cache, layer by layer, and what it adds to each layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from paretolm.contracts import LayerView

from .expected_attention import turn

FEED_FORWARD = 2  # its inner width, in widths


class Weights(NamedTuple):
    """One layer of the coprocessor of width m, beside H heads of keys of width D and values of width V.

    query [H * D, m] and key [H * D, m], value [H * V, m], read [m, H * V], up [2 m, m], down [m, 2 m]."""

    query: Tensor
    read: Tensor
    up: Tensor
    down: Tensor
    key: Tensor
    value: Tensor


@dataclass(frozen=True)
class Rotation:
    """How the model turns keys: inv_freq [R/2] radians a position, None where it does not; halves: see `turn`."""

    inv_freq: Tensor | None
    halves: bool

    def to(self, x: Tensor, places: Tensor) -> Tensor:
        """x [B|1, H, N, D], [B, H, N, D] turned from position 0 to places [B]."""
        x = x.expand(len(places), -1, -1, -1)
        if self.inv_freq is None:
            return x
        angle = places[:, None, None, None].float() * self.inv_freq.float()
        return turn(x, angle.cos(), angle.sin(), self.halves)


def shapes(layer: LayerView, width: int) -> dict[str, tuple[int, int]]:
    """Of each matrix of one layer of the coprocessor."""
    keys, values = layer.num_kv_heads * layer.key_dim, layer.num_kv_heads * layer.value_dim
    inner = FEED_FORWARD * width
    return {
        "query": (keys, width), "read": (width, values), "up": (inner, width), "down": (width, inner),
        "key": (keys, width), "value": (values, width),
    }  # fmt: skip


def layer_weights(tensors: Mapping[str, Tensor], layer: int) -> Weights:
    """Those of `layer` among all tensors of a coprocessor."""
    return Weights(*(tensors[f"{layer}.{name}"] for name in Weights._fields))


def deliberate(
    state: Tensor, keys: Tensor, values: Tensor, seen: Tensor, places: Tensor, weights: Weights, rotation: Rotation
) -> tuple[Tensor, Tensor, Tensor]:
    """One layer: (state [B, N, m] after it, keys [B, H, N, D], values [B, H, N, V] of the latents), in float32.

    state [B|1, N, m] of N latents that stand at the positions places [B]; they read of keys [B|1, H, n, D] and values
    [B|1, H, n, V] those of seen [B, n]."""
    heads, queries = keys.shape[1], rotation.to(_heads(state, weights.query, keys.shape[1]), places)
    logits = queries @ keys.float().mT * keys.shape[-1] ** -0.5
    attention = logits.masked_fill(~seen[:, None, None], float("-inf")).softmax(-1)
    read_keys, read = attention @ keys.float(), attention @ values.float()
    state = state + read.transpose(1, 2).flatten(2) @ weights.read.mT
    state = state + functional.silu(_unit(state) @ weights.up.mT) @ weights.down.mT
    own = rotation.to(_heads(state, weights.key, heads), places), _heads(state, weights.value, heads)
    return state, read_keys + own[0], read + own[1]


def _heads(state: Tensor, matrix: Tensor, heads: int) -> Tensor:
    """[B, H, N, D] of state [B, N, m] and a matrix [H * D, m]."""
    return (_unit(state) @ matrix.mT).unflatten(-1, (heads, -1)).transpose(1, 2)


def _unit(state: Tensor) -> Tensor:
    return functional.layer_norm(state, state.shape[-1:])


@dataclass(frozen=True)
class Lesson:
    """P augmentations of one text, read in one forward: its first n tokens, then for each augmentation the A tokens
    that follow it, as if it stood alone.

    ids, positions [1, n + P * A]; ends [P]: tokens of the text before each augmentation, n at most; targets [P * A]:
    what comes after each token that follows one."""

    ids: Tensor
    positions: Tensor
    ends: Tensor
    targets: Tensor

    @property
    def num_text(self) -> int:
        """n."""
        return self.ids.shape[1] - len(self.targets)

    @property
    def seen(self) -> Tensor:
        """[P, n] the text that each augmentation has before it."""
        return torch.arange(self.num_text, device=self.ends.device) < self.ends[:, None]


def lesson(ids: Tensor, ends: Tensor, ahead: int) -> Lesson:
    """ids [1, T]; `ahead` tokens after each of ends [P], which leave so many and one more in the text."""
    follow = (ends[:, None] + torch.arange(ahead, device=ids.device)).flatten()
    places = torch.cat([torch.arange(int(ends.max()), device=ids.device), follow])
    return Lesson(ids[:, places], places[None], ends, ids[0, follow + 1])


def augmented(
    given: Lesson, tensors: Mapping[str, Tensor], rotation: Rotation
) -> Callable[[int, Tensor, Tensor, Tensor, float], Tensor]:
    """Attention of a forward over `given`, as `Altered` has it: what follows an augmentation reads the text before it,
    its own tokens and the latents."""
    state, n, seen = tensors["soft"][None], given.num_text, given.seen
    num, ahead = len(given.ends), len(given.targets) // len(given.ends)
    causal = torch.ones(ahead, ahead, dtype=torch.bool, device=seen.device).tril()
    parts = (
        seen[:, None].expand(-1, ahead, -1),
        causal.expand(num, -1, -1),
        causal.new_ones(num, ahead, state.shape[1]),
    )
    mask = torch.cat(parts, dim=-1)[:, None]

    def attention(layer: int, queries: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
        nonlocal state
        text, worth, weights = keys[:, :, :n], values[:, :, :n], layer_weights(tensors, layer)
        state, more, added = deliberate(state, text, worth, seen, given.ends - 1, weights, rotation)
        all_keys = _beside(text, keys[:, :, n:], more)
        all_values = _beside(worth, values[:, :, n:], added)
        own = _by_part(queries[:, :, n:], num)
        attend = functional.scaled_dot_product_attention
        first = attend(queries[:, :, :n], text, worth, is_causal=True, scale=scaling, enable_gqa=True)
        rest = attend(own, all_keys, all_values, attn_mask=mask, scale=scaling, enable_gqa=True)
        return torch.cat([first, rest.transpose(0, 1).flatten(1, 2)[None]], dim=2)

    return attention


def _by_part(x: Tensor, num: int) -> Tensor:
    """[P, H, A, D] of x [1, H, P * A, D]."""
    return x[0].unflatten(1, (num, -1)).transpose(0, 1)


def _beside(text: Tensor, own: Tensor, latents: Tensor) -> Tensor:
    """[P, H, n + A + N, D] of text [1, H, n, D], own [1, H, P * A, D] and latents [P, H, N, D]."""
    num = len(latents)
    return torch.cat([text.expand(num, -1, -1, -1), _by_part(own, num), latents.to(text.dtype)], dim=2)
