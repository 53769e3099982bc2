"""An estimator of attention: from a linear attention's answer, a small decoder draws a map of cells for every head."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from paretolm.contracts import LayerView

from ._linear import directions, key_features, linear_attention, query_features

PLACES, TIMES = 16, 8  # waves that mark a position, and that say how much there is to read
CHANNELS, ZOOM = 2, 4  # of the decoder: images a head, and cells that one of their columns stands for
KERNEL, DILATION = 3, 2
MEMORY = (KERNEL - 1) * DILATION  # earlier rows that a convolution reads
OCTAVE = 2  # knots between a distance and its double

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Shape:
    """Sizes of the estimator of one layer."""

    layer: LayerView
    cells: int
    features: int
    inner: int
    longest: int

    @property
    def inputs(self) -> int:
        return 2 * PLACES + 2 * self.layer.value_dim + TIMES

    @property
    def images(self) -> int:
        return CHANNELS * self.layer.num_heads

    @property
    def columns(self) -> int:
        return self.cells // ZOOM

    @property
    def products(self) -> int:
        """Numbers multiplied for one token, over all heads."""
        heads, images, width = self.layer.num_heads, self.images, self.columns
        sums = linear_products(self.layer, self.features, 2 * PLACES + self.layer.value_dim)
        encoder = heads * self.inner * (self.inputs + CHANNELS * width + 2)
        return sums + encoder + images * width * (2 * images * KERNEL**2 + heads * ZOOM)

    @property
    def knots(self) -> int:
        return OCTAVE * math.ceil(math.log2(4 * self.longest))

    def past(self) -> list[tuple[int, ...]]:
        """Of the linear attention, of the sum of values, of what each convolution remembers; without the batch."""
        heads, width = self.layer.num_kv_heads, self.layer.value_dim
        rows = (self.images, MEMORY, self.columns)
        return [(heads, self.features, 2 * PLACES + width + 1), (heads, 1, width), rows, rows]

    def weights(self) -> dict[str, tuple[int, ...]]:
        heads, images = self.layer.num_heads, self.images
        kernel = (images, images, KERNEL, KERNEL)
        return {
            "towards": (self.features, self.layer.key_dim),
            "encode": (heads, self.inputs, self.inner),
            "rows": (heads, self.inner, CHANNELS * self.columns),
            "rows_bias": (heads, 1, CHANNELS * self.columns),
            "first": kernel,
            "first_bias": (images,),
            "second": kernel,
            "second_bias": (images,),
            "cells": (heads * ZOOM, images, 1, 1),
            "far": (heads, self.knots),
            "scales": (heads, self.inner, 2),
            "scales_bias": (heads, 1, 2),
        }

    def drawn(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Weights to begin with: the decoder says nothing yet, and what is read is taken as it is."""
        made = {name: torch.zeros(shape) for name, shape in self.weights().items()}
        made["towards"] = directions(self.features, self.layer.key_dim, generator)
        fan = self.images * KERNEL**2
        for name, inputs in (("encode", self.inputs), ("rows", self.inner), ("first", fan), ("second", fan)):
            made[name] = torch.randn(made[name].shape, generator=generator) * inputs**-0.5
        made["scales_bias"][..., 0] = 4.0
        return made


def linear_products(layer: LayerView, features: int, width: int) -> int:
    """Numbers multiplied for one token by a linear attention over values of some width."""
    return (layer.num_heads + layer.num_kv_heads) * features * (layer.key_dim + width + 1)


@dataclass
class Past:
    """What the estimator of one layer carries on: tensors [B, ...] in the order of Shape.past, and how many tokens."""

    tensors: list[Tensor] = field(default_factory=list)
    tokens: int = 0

    def begin(self, shape: Shape, batch: int, device: torch.device) -> None:
        self.tensors = [torch.zeros(batch, *one, device=device) for one in shape.past()]

    def select_rows(self, rows: Tensor) -> None:
        self.tensors = [t[rows] for t in self.tensors]


@dataclass(frozen=True)
class Seen:
    """What the linear attention says of Q queries: inputs [B, Hq, Q, f] of the decoder, and the mean [B, H, Q, Dv] of
    the values up to each."""

    inputs: Tensor
    mean: Tensor


@dataclass(frozen=True)
class Estimate:
    """logits [B, Hq, Q, K] of cells; scales [B, Hq, Q, 2]: logits of how much counts what is read, and how far it
    stands for the whole."""

    logits: Tensor
    scales: Tensor


def see(weights: Weights, shape: Shape, qkv: tuple[Tensor, Tensor, Tensor], scaling: float, past: Past) -> Seen:
    """The linear attention of queries [B, Hq, Q, D], keys [B, H, Q, D] and values [B, H, Q, Dv] that follow the past,
    which moves on."""
    queries, keys, values = qkv[0], qkv[1], qkv[2].float()
    places = torch.arange(past.tokens, past.tokens + queries.shape[2], device=queries.device)
    waves = _waves(places, shape.longest)
    marked = torch.cat([waves.expand(*values.shape[:2], -1, -1), values], dim=-1)
    features = (
        query_features(queries, weights["towards"], scaling),
        key_features(keys, weights["towards"], scaling),
    )
    context, past.tensors[0] = linear_attention(*features, marked, past.tensors[0])
    sums = values.cumsum(2) + past.tensors[1]
    past.tensors[1] = sums[:, :, -1:].clone()
    past.tokens += len(places)
    own = values.repeat_interleave(queries.shape[1] // keys.shape[1], dim=1)
    times = _times(places + 1, shape.longest).expand(*queries.shape[:2], -1, -1)
    far = _from_here(context[..., : 2 * PLACES], waves)
    inputs = torch.cat([far, context[..., 2 * PLACES :], own, times], dim=-1)
    return Seen(inputs, sums / (places + 1)[:, None])


def _waves(places: Tensor, longest: int) -> Tensor:
    """[Q, 2 * PLACES] cosines, then sines, of waves from 4 tokens to 4 trained lengths."""
    lengths = torch.logspace(math.log10(4), math.log10(4 * longest), PLACES, device=places.device)
    angle = places[:, None] * (2 * math.pi / lengths)
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def _from_here(waves: Tensor, here: Tensor) -> Tensor:
    """Averaged waves [..., Q, 2 * PLACES] of positions as those of distances from the query, whose own are `here`."""
    (a, b), (c, d) = waves.chunk(2, dim=-1), here.chunk(2, dim=-1)
    return torch.cat([a * c + b * d, a * d - b * c], dim=-1)


def _times(tokens: Tensor, longest: int) -> Tensor:
    """[Q, TIMES] smooth functions of the logarithm of tokens [Q]; the first is one."""
    share = tokens.float().log() / math.log(max(2, longest))
    return (share[:, None] * math.pi * torch.arange(TIMES, device=tokens.device)).cos()


def knot_of(distance: Tensor, knots: int) -> Tensor:
    """Where distances stand among the knots, which are close together near the query; fractions between two."""
    return (OCTAVE * (1 + distance.float().clamp(min=0)).log2()).clamp(max=knots - 1)


def by_distance(far: Tensor, tokens: Tensor, cells: int) -> Tensor:
    """[Hq, Q, K] of far [Hq, knots] at the middle of each cell, for queries that read tokens [Q]."""
    middle = (torch.arange(cells, device=far.device) + 0.5) / cells
    at = knot_of(tokens[:, None] * (1 - middle) - 0.5, far.shape[1])
    low = at.floor().long()
    high = (low + 1).clamp(max=far.shape[1] - 1)
    return torch.lerp(far[:, low], far[:, high], at - low)


def decode(weights: Weights, shape: Shape, inputs: Tensor, tokens: Tensor, past: Past) -> Estimate:
    """The map of inputs [B, Hq, Q, f] of queries that read tokens [Q]; rows follow those that the convolutions
    remember."""
    heads, width = shape.layer.num_heads, shape.columns
    hidden = functional.gelu(functional.layer_norm(inputs @ weights["encode"], (shape.inner,)))
    rows = (hidden @ weights["rows"] + weights["rows_bias"]).unflatten(-1, (CHANNELS, width))
    image = functional.layer_norm(rows.transpose(2, 3).flatten(1, 2), (width,))
    for place, name in ((2, "first"), (3, "second")):
        image, past.tensors[place] = _causal(image, weights[name], weights[f"{name}_bias"], past.tensors[place])
    zoomed = functional.conv2d(image, weights["cells"]).unflatten(1, (heads, ZOOM))
    logits = zoomed.permute(0, 1, 3, 4, 2).flatten(3) + by_distance(weights["far"], tokens, shape.cells)
    return Estimate(logits, hidden @ weights["scales"] + weights["scales_bias"])


def _causal(image: Tensor, kernel: Tensor, bias: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """(image [B, C, Q, W] after convolution and ReLU, its last rows), reading rows up to each one's own."""
    image = torch.cat([before, image], dim=2)
    found = functional.conv2d(image, kernel, bias, padding=(0, DILATION), dilation=DILATION)
    return functional.relu(found), image[:, :, -MEMORY:].clone()


def of_layer(tensors: Weights, layer: int) -> dict[str, Tensor]:
    """The weights of one layer out of those of all, which are named `layer.name`."""
    start = f"{layer}."
    return {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}


def parameters(shapes: Iterable[Shape]) -> int:
    return sum(math.prod(one) for shape in shapes for one in shape.weights().values())
