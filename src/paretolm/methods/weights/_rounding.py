"""Rounding weights to symmetric integers with a scale a group."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 1 << 22  # weights rounded at a time, so that no second full-precision matrix is made
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
    largest = groups.abs().amax(-1, keepdim=True)
    if least_squares:
        largest = -groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
    best = (largest / top).half()
    codes = _rounded(groups, best, top)
    if least_squares:
        error = _error(groups, codes, best)
        for ratio in RATIOS[1:]:
            scale = (largest * ratio / top).half()
            tried = _rounded(groups, scale, top)
            new = _error(groups, tried, scale)
            better = new < error
            best, error = torch.where(better, scale, best), torch.where(better, new, error)
            codes = torch.where(better, tried, codes)
    return codes.view(weight.shape).to(torch.int8), best.squeeze(-1)


def _rounded(groups: Tensor, scale: Tensor, top: int) -> Tensor:
    """Codes against the scale as it is stored; a group of zeros has scale zero and codes zero."""
    return (groups / scale.float()).nan_to_num(0, 0, 0).round().clamp(-top, top - 1)


def _error(groups: Tensor, codes: Tensor, scale: Tensor) -> Tensor:
    return (codes * scale.float() - groups).square().sum(-1, keepdim=True)
