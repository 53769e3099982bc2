"""Asymmetric rounding to few bits, and several codes in a byte."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def quantize(x: Tensor, bits: int, dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Codes (uint8, shape of x) with scale and zero over `dim` (kept as 1, of `dtype`): x is near codes * scale + zero.

    Codes are rounded against scale and zero as stored, so that their own rounding is not added to the error.
    """
    x = x.float()
    top, most = 2**bits - 1, torch.finfo(dtype).max
    low, high = x.aminmax(dim=dim, keepdim=True)
    zero = low.clamp(-most, most).to(dtype)
    scale = ((high - zero.float()) / top).clamp(0, most).to(dtype)
    step = scale.float()
    codes = ((x - zero.float()) / step.where(step > 0, 1.0)).round().clamp(0, top)
    return codes.to(torch.uint8), scale, zero


def dequantize(codes: Tensor, scale: Tensor, zero: Tensor, dtype: torch.dtype) -> Tensor:
    """codes * scale + zero, broadcast, in float32 and rounded once."""
    return codes.float().mul_(scale.float()).add_(zero.float()).to(dtype)


def pack(codes: Tensor, bits: int) -> Tensor:
    """uint8 codes [..., D] -> bytes [..., P], P = ceil(D * bits / 8); byte j holds channels j, j + P, ..., low bits first."""
    per, width = 8 // bits, packed_width(codes.shape[-1], bits)
    parts = F.pad(codes, (0, per * width - codes.shape[-1])).unflatten(-1, (per, width))
    packed = parts[..., 0, :].clone()
    for i in range(1, per):
        packed |= parts[..., i, :] << (bits * i)
    return packed


def unpack(packed: Tensor, bits: int, width: int) -> Tensor:
    """Back to [..., width]."""
    if bits == 8:
        return packed
    parts = [(packed >> shift) & (2**bits - 1) for shift in range(0, 8, bits)]
    return torch.cat(parts, dim=-1)[..., :width]


def packed_width(width: int, bits: int) -> int:
    """Bytes that `width` codes take."""
    return -(-width * bits // 8)


def gather(x: Tensor, index: Tensor) -> Tensor:
    """x [B, H, n, ...] at index [B|1, H|1, m]."""
    batch, heads, _, width = x.shape
    return x.gather(2, index.long().unsqueeze(-1).expand(batch, heads, -1, width))


def half_dtype(dtype: torch.dtype) -> torch.dtype:
    """The model's dtype where it has 16 bits, else float16."""
    return dtype if dtype.itemsize == 2 else torch.float16
