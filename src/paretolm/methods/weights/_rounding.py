"""Rounding weights to symmetric integers with a scale a group."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 1 << 18  # weights rounded at a time: they stay in a CPU's cache, and no second full matrix is made
RATIOS = (1.0, 0.8, 0.85, 0.9, 0.95, 1.05, 1.1, 1.15, 1.2)  # of the scale the largest weight asks for


def quantize(weight: Tensor, bits: int, group: int, least_squares: bool = True) -> tuple[Tensor, Tensor]:
    """[out, in] -> codes int8 [out, in] in -2^(bits-1) .. 2^(bits-1) - 1, scales float16 [out, in / group]."""
    rows = max(1, BLOCK // weight.shape[1])
    parts = [_quantize_rows(w.float(), bits, group, least_squares and bits < 8) for w in weight.split(rows)]
    codes, scales = (torch.cat(part) for part in zip(*parts, strict=True))
    return codes, scales


def _quantize_rows(weight: Tensor, bits: int, group: int, least_squares: bool) -> tuple[Tensor, Tensor]:
    groups = weight.reshape(weight.shape[0], -1, group)
    top = 2 ** (bits - 1)
    if least_squares:
        largest = -groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
        scale = _best_scale(groups, largest / top, top)
    else:
        scale = (groups.abs().amax(-1, keepdim=True) / top).half()
    return _rounded(groups, scale, top).view(weight.shape).to(torch.int8), scale.squeeze(-1)


def _best_scale(groups: Tensor, first: Tensor, top: int) -> Tensor:
    """Of RATIOS times the first, the one with the least squared error."""
    best, least = first.half(), torch.full_like(first, torch.inf)
    for ratio in RATIOS:
        scale = (first * ratio).half()
        error = _rounded(groups, scale, top).mul_(scale.float()).sub_(groups).square_().sum(-1, keepdim=True)
        better = error < least
        best, least = torch.where(better, scale, best), torch.where(better, error, least)
    return best


def _rounded(groups: Tensor, scale: Tensor, top: int) -> Tensor:
    """Codes against the scale as it is stored; a group of zeros has scale zero and codes zero."""
    divisor = torch.where(scale == 0, torch.inf, scale.float())
    return (groups / divisor).round_().clamp_(-top, top - 1)
