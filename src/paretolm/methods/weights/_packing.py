"""A linear layer whose matrix is held as packed integers with a scale a group, and multiplied as it is unpacked."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

TILE = 1 << 18  # weights unpacked at a time on a CPU: a tile stays in its cache (5 times faster on 4096 x 4096)
FEW_ROWS = 8  # up to here torch's own int8 product beats unpacking in bfloat16


def pack(codes: Tensor, bits: int) -> Tensor:
    """Signed codes [out, in] -> int8 [out, in] or, two a byte, uint8 [out, in / 2]: the first half low, the second high."""
    if bits == 8:
        return codes.to(torch.int8)
    low, high = codes.to(torch.int8).chunk(2, dim=1)
    return ((low & 15) | (high << 4)).view(torch.uint8)


def unpack(packed: Tensor, bits: int) -> Tensor:
    """The signed codes again, int8 [out, in]."""
    if bits == 8:
        return packed
    pairs = packed.view(torch.int8)
    return torch.cat(((pairs << 4) >> 4, pairs >> 4), dim=1)


def packed_bytes(out_features: int, in_features: int, bits: int, group: int) -> int:
    """Codes and 16-bit scales."""
    return out_features * (in_features * bits // 8 + in_features // group * 2)


class QuantLinear(nn.Module):
    """weight[o, i] = scales[o, i // group] * codes[o, i].

    codes: int8 [out, in], or uint8 [out, in / 2]; scales: float16 [out, in / group]. The bias is the one given.
    """

    codes: Tensor
    scales: Tensor
    bias: nn.Parameter | None

    def __init__(self, codes: Tensor, scales: Tensor, bits: int, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.bits = bits
        self.out_features = codes.shape[0]
        self.in_features = codes.shape[1] * 8 // bits
        self.group = self.in_features // scales.shape[1]
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.register_parameter("bias", bias)

    @classmethod
    def empty(cls, out_features: int, in_features: int, bits: int, group: int, bias: bool) -> QuantLinear:
        """Of this shape, for tensors still to be read; the bias has torch's default dtype."""
        columns, kind = (in_features, torch.int8) if bits == 8 else (in_features // 2, torch.uint8)
        codes = torch.empty(out_features, columns, dtype=kind)
        scales = torch.empty(out_features, in_features // group, dtype=torch.float16)
        return cls(codes, scales, bits, nn.Parameter(torch.empty(out_features)) if bias else None)

    def spec(self) -> dict[str, Any]:
        """What `empty` needs."""
        return {
            "out_features": self.out_features,
            "in_features": self.in_features,
            "bits": self.bits,
            "group": self.group,
            "bias": self.bias is not None,
        }

    def matrix(self, dtype: torch.dtype, rows: slice = slice(None)) -> Tensor:
        """Rows of the weight, unpacked."""
        codes = unpack(self.codes[rows], self.bits).to(dtype)
        scales = self.scales[rows].to(dtype).unsqueeze(-1)
        return (codes.view(codes.shape[0], -1, self.group) * scales).view(codes.shape)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return functional.linear(x, self.matrix(x.dtype), self.bias)
        flat = x.reshape(-1, self.in_features).contiguous()
        if self._has_product(flat):
            y = torch._weight_int8pack_mm(flat, self.codes, self.scales.view(-1).to(x.dtype))
            y = y if self.bias is None else y + self.bias
        else:
            y = self._tiled(flat.float()).to(x.dtype)
        return y.view(*x.shape[:-1], self.out_features)

    def _has_product(self, x: Tensor) -> bool:
        """Whether torch's int8 product takes this and is the faster; it crashes on widths that are no multiple of 16."""
        whole = self.bits == 8 and self.group == self.in_features and self.in_features % 32 == 0
        return whole and x.dtype is torch.bfloat16 and len(x) <= FEW_ROWS

    def _tiled(self, x: Tensor) -> Tensor:
        """x [n, in] float32: a CPU unpacks and multiplies bfloat16 more slowly than this."""
        step = max(64, TILE // self.in_features)
        tiles = [self._rows(x, slice(start, start + step)) for start in range(0, self.out_features, step)]
        y = tiles[0] if len(tiles) == 1 else torch.cat(tiles, dim=-1)
        return y if self.bias is None else y + self.bias.float()

    def _rows(self, x: Tensor, rows: slice) -> Tensor:
        """Outputs [n, rows]; one scale for a whole row is cheaper to apply to the product."""
        if self.group < self.in_features:
            return functional.linear(x, self.matrix(x.dtype, rows))
        codes = unpack(self.codes[rows], self.bits).to(x.dtype)
        return functional.linear(x, codes) * self.scales[rows].view(-1).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bits={self.bits}, group={self.group}"
