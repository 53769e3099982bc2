"""Linear attention with positive random features, as a sum over the past that is carried on from forward to forward."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 128  # queries whose products with each other's keys are in memory together
LARGEST = 30.0  # exponent of a key's feature; beyond it float32 sums lose the other keys
SMALLEST = 1e-6  # of a feature, so that no denominator is zero


def directions(num: int, width: int, generator: torch.Generator) -> Tensor:
    """[num, width] drawn as Gaussian vectors, but at right angles within each `width` of them (2009.14794, section
    2.4)."""
    blocks = [torch.linalg.qr(torch.randn(width, width, generator=generator)).Q.mT for _ in range(-(-num // width))]
    lengths = torch.randn(num, width, generator=generator).norm(dim=1, keepdim=True)
    return torch.cat(blocks)[:num] * lengths


def query_features(queries: Tensor, towards: Tensor, scaling: float) -> Tensor:
    """[..., m] float32 of queries [..., D] towards [m, D]; a factor of each query, which attention divides out, is
    left away."""
    exponent = _exponent(queries, towards, scaling)
    return (exponent - exponent.amax(-1, keepdim=True)).exp() + SMALLEST


def key_features(keys: Tensor, towards: Tensor, scaling: float) -> Tensor:
    """[..., m] float32; products with query features estimate exp(scaling * q k)."""
    return _exponent(keys, towards, scaling).clamp(max=LARGEST).exp() + SMALLEST


def _exponent(x: Tensor, towards: Tensor, scaling: float) -> Tensor:
    x = x.float() * scaling**0.5
    return x @ towards.mT - x.square().sum(-1, keepdim=True) / 2


def linear_attention(queries: Tensor, keys: Tensor, values: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """([B, Hq, Q, E] causal averages of the values, what the past is afterwards).

    queries [B, Hq, Q, m] and keys [B, H, Q, m] are features, values [B, H, Q, E]; past [B, H, m, E + 1]: the sum of
    every earlier key's features times its values, and in the last place times 1."""
    values = torch.nn.functional.pad(values, (0, 1), value=1.0)
    grouped, parts = queries.unflatten(1, (keys.shape[1], -1)), []
    for start in range(0, queries.shape[2], BLOCK):
        rows = slice(start, start + BLOCK)
        q, k, v = grouped[:, :, :, rows], keys[:, :, rows], values[:, :, rows]
        weights = torch.matmul(q, k[:, :, None].mT).tril()
        parts.append(torch.matmul(weights, v[:, :, None]) + torch.matmul(q, past[:, :, None]))
        past = past + torch.matmul(k.mT, v)
    found = torch.cat(parts, dim=3).flatten(1, 2)
    return found[..., :-1] / found[..., -1:], past
