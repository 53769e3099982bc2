"""What NTK-like scalings share: the angles of a longer text, and one ramp between two sets of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def stretched(inv_freq: Tensor, factor: float) -> Tensor:
    """Frequencies of a base times factor^(d / (d - 2)): the fastest stays, the slowest is divided by `factor`.

    [D/2] -> [D/2]; one frequency alone stays as it is."""
    half = inv_freq.numel()
    i = torch.arange(half, device=inv_freq.device, dtype=inv_freq.dtype)
    return inv_freq * factor ** (-i / max(1, half - 1))


def correction(rotations: float, width: int, base: float, length: int) -> float:
    """The frequency, counted from the fastest, that turns `rotations` times in `length` tokens, of those
    base^(-2i/width)."""
    return width * math.log(length / (rotations * 2 * math.pi)) / (2 * math.log(base))


def ramp(low: float, high: float, half: int) -> Tensor:
    """0 up to frequency `low`, 1 from `high` on, a line between. [D/2]."""
    width = high - low if high > low else 0.001
    return ((torch.arange(half) - low) / width).clamp(0, 1)
