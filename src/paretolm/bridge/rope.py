"""Rotary positions: which channels a model turns, and turning a tensor by a further angle."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..contracts import Rope


def rotate(x: Tensor, by: Tensor, inv_freq: Tensor, halves: bool = True) -> Tensor:
    """x [B, H, n, D] turned by `by` [B|1, H|1, n] further positions; only the first 2*len(inv_freq) channels turn.

    Angles in float32 and one rounding at the end: turning bf16 step by step drifts, turning once does not.
    """
    width = 2 * inv_freq.numel()
    angle = by[..., None].to(torch.float32) * inv_freq.to(device=x.device, dtype=torch.float32)
    cos, sin = angle.cos(), angle.sin()
    turned = x[..., :width].to(torch.float32)
    if halves:
        a, b = turned.chunk(2, dim=-1)
        out = torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
    else:
        a, b = turned[..., 0::2], turned[..., 1::2]
        out = torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1).flatten(-2)
    out = out.to(x.dtype)
    return out if width == x.shape[-1] else torch.cat([out, x[..., width:]], dim=-1)


def find_rope(base: nn.Module) -> Rope | None:
    """The rotary module of the full-attention layers, or None for learned or no positions.

    The layout is found by calling the model file's own `apply_rotary_pos_emb` on random input, so it needs no
    weights; a layout that neither form reproduces gives None.
    """
    for path, module in base.named_modules():
        name = buffer_name(module)
        if name is None or not type(module).__name__.endswith("RotaryEmbedding"):
            continue
        half = getattr(module, name).numel()
        halves = _layout(_apply_function(base), half)
        if halves is None:
            return None
        theta = getattr(base.config, "rope_theta", None) or _theta(base.config)
        return Rope(rotated=2 * half, halves=halves, base=float(theta), path=path)
    return None


def buffer_name(module: nn.Module) -> str | None:
    """The buffer with radians per position; models with several kinds of layers have one a kind."""
    return next(
        (n for n in ("inv_freq", "full_attention_inv_freq") if isinstance(getattr(module, n, None), Tensor)), None
    )


def frequencies(model: nn.Module, rope: Rope) -> Callable[[], Tensor]:
    """What answers radians a position, [R/2], as the model has them at that moment."""
    module = model.get_submodule(rope.path)
    name = buffer_name(module)
    assert name is not None
    return lambda: getattr(module, name)


def scaling_name(buffer: str) -> str:
    """The attribute that cos and sin are multiplied with, beside the buffer."""
    return buffer.replace("inv_freq", "attention_scaling")


def _theta(config: object) -> float:
    parameters = getattr(config, "rope_parameters", None) or {}
    if "rope_theta" not in parameters:
        parameters = parameters.get("full_attention") or {}
    return float(parameters.get("rope_theta", 10000.0))


def _apply_function(base: nn.Module) -> Callable[..., tuple[Tensor, Tensor]] | None:
    return getattr(sys.modules[type(base).__module__], "apply_rotary_pos_emb", None)


def _layout(apply: Callable[..., tuple[Tensor, Tensor]] | None, half: int) -> bool | None:
    """True for halves, False for pairs, None where neither reproduces the model's own function."""
    if apply is None:
        return None
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, 3, 2 * half, generator=generator)
    inv_freq = torch.rand(half, generator=generator)
    positions = torch.tensor([[0, 1, 5]])
    angle = positions[..., None].float() * inv_freq
    for halves in (True, False):
        wide = torch.cat([angle, angle], -1) if halves else angle.repeat_interleave(2, -1)
        try:
            own = apply(x, x, wide.cos(), wide.sin())[0]
        except (RuntimeError, TypeError, ValueError):
            continue
        if torch.allclose(own, rotate(x, positions[:, None], inv_freq, halves), atol=1e-5):
            return halves
    return None
