"""Quantized entries that can be gathered one by one. Immutable: every change is a new object, so clones share.

B batch, H key-value heads, n entries, D channels, P packed bytes of an entry, N groups of tokens, C groups of channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from paretolm.methods.keep._ranking import taken

from ._packing import dequantize, gather, half_dtype, pack, quantize, unpack


class Codes(Protocol):
    """Entries [B, H, n, D] in few bits."""

    def join(self, new: Self) -> Self:
        """These entries and then those."""
        ...

    def take(self, index: Tensor) -> Self:
        """Entries `index` [B|1, H|1, m], ascending; codes are moved, never rounded again."""
        ...

    def rows(self, rows: Tensor) -> Self: ...
    def decode(self, dtype: torch.dtype, index: Tensor | None = None) -> Tensor:
        """[B, H, n|m, D]."""
        ...

    def tensors(self) -> Iterable[Tensor]: ...


@dataclass(frozen=True)
class ChannelCodes:
    """One scale and zero a channel for a group of tokens: keys, whose outliers sit in a few channels.

    packed [B, H, n, P]; scale, zero [B, H, N, D]; group [B|1, H|1, n]: the group of each entry, ascending, or
    None while every group still has its `size` tokens.
    """

    packed: Tensor
    scale: Tensor
    zero: Tensor
    bits: int
    size: int
    group: Tensor | None = None

    @classmethod
    def encode(cls, x: Tensor, bits: int, group_size: int) -> ChannelCodes:
        """x [B, H, N * group_size, D]."""
        codes, scale, zero = quantize(x.unflatten(2, (-1, group_size)), bits, -2, half_dtype(x.dtype))
        return cls(pack(codes.flatten(2, 3), bits), scale.squeeze(-2), zero.squeeze(-2), bits, group_size)

    def join(self, new: ChannelCodes) -> ChannelCodes:
        group = None
        if self.group is not None:
            later = (new.numbers() + self.scale.shape[2]).expand(*self.group.shape[:2], -1)
            group = torch.cat((self.group, _small(later)), dim=2)
        return replace(
            self,
            packed=torch.cat((self.packed, new.packed), dim=2),
            scale=torch.cat((self.scale, new.scale), dim=2),
            zero=torch.cat((self.zero, new.zero), dim=2),
            group=group,
        )

    def numbers(self) -> Tensor:
        """[B|1, H|1, n] the group of each entry."""
        if self.group is not None:
            return self.group.long()
        return torch.arange(self.packed.shape[2], device=self.packed.device)[None, None] // self.size

    def take(self, index: Tensor) -> ChannelCodes:
        """Drops the groups that no kept entry of a head belongs to, and numbers the others anew."""
        old = taken(self.numbers(), index)
        starts = torch.ones_like(old, dtype=torch.bool)
        starts[..., 1:] = old[..., 1:] != old[..., :-1]
        new = starts.cumsum(-1) - 1
        table = new.new_zeros(*new.shape[:2], int(new[..., -1].max()) + 1).scatter_(-1, new, old)
        return replace(
            self,
            packed=gather(self.packed, index),
            scale=gather(self.scale, table),
            zero=gather(self.zero, table),
            group=_small(new),
        )

    def rows(self, rows: Tensor) -> ChannelCodes:
        group = self.group if self.group is None or self.group.shape[0] == 1 else self.group[rows]
        return replace(self, packed=self.packed[rows], scale=self.scale[rows], zero=self.zero[rows], group=group)

    def decode(self, dtype: torch.dtype, index: Tensor | None = None) -> Tensor:
        packed = self.packed if index is None else gather(self.packed, index)
        codes = unpack(packed, self.bits, self.scale.shape[-1])
        if index is None and self.group is None:
            groups = codes.unflatten(2, (-1, self.size))
            return dequantize(groups, self.scale.unsqueeze(-2), self.zero.unsqueeze(-2), dtype).flatten(2, 3)
        group = self.numbers() if index is None else taken(self.numbers(), index)
        return dequantize(codes, gather(self.scale, group), gather(self.zero, group), dtype)

    def tensors(self) -> Iterable[Tensor]:
        return (t for t in (self.packed, self.scale, self.zero, self.group) if t is not None)


@dataclass(frozen=True)
class TokenCodes:
    """One scale and zero an entry for a group of channels: values, which have no outlier channels.

    packed [B, H, n, P]; scale, zero [B, H, n, C]; width is D, size the channels of a group (the last may be shorter).
    """

    packed: Tensor
    scale: Tensor
    zero: Tensor
    bits: int
    width: int
    size: int

    @classmethod
    def encode(cls, x: Tensor, bits: int, group_size: int) -> TokenCodes:
        """x [B, H, n, D]."""
        width = x.shape[-1]
        size = min(group_size, width)
        if width % size:  # the last channel again: it changes no minimum and no maximum
            x = torch.cat((x, x[..., -1:].expand(*x.shape[:-1], size - width % size)), dim=-1)
        codes, scale, zero = quantize(x.unflatten(-1, (-1, size)), bits, -1, half_dtype(x.dtype))
        return cls(pack(codes.flatten(-2)[..., :width], bits), scale.squeeze(-1), zero.squeeze(-1), bits, width, size)

    def join(self, new: TokenCodes) -> TokenCodes:
        return replace(
            self,
            packed=torch.cat((self.packed, new.packed), dim=2),
            scale=torch.cat((self.scale, new.scale), dim=2),
            zero=torch.cat((self.zero, new.zero), dim=2),
        )

    def take(self, index: Tensor) -> TokenCodes:
        packed, scale, zero = (gather(t, index) for t in self.tensors())
        return replace(self, packed=packed, scale=scale, zero=zero)

    def rows(self, rows: Tensor) -> TokenCodes:
        packed, scale, zero = (t[rows] for t in self.tensors())
        return replace(self, packed=packed, scale=scale, zero=zero)

    def decode(self, dtype: torch.dtype, index: Tensor | None = None) -> Tensor:
        asked = self if index is None else self.take(index)
        codes = unpack(asked.packed, self.bits, self.width)
        short = self.scale.shape[-1] * self.size - self.width
        groups = F.pad(codes, (0, short)).unflatten(-1, (-1, self.size))
        x = dequantize(groups, asked.scale.unsqueeze(-1), asked.zero.unsqueeze(-1), dtype)
        return x.flatten(-2)[..., : self.width]

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.packed, self.scale, self.zero


def _small(x: Tensor) -> Tensor:
    """Group numbers in as few bytes as they need."""
    return x.to(torch.int16 if int(x.max()) <= torch.iinfo(torch.int16).max else torch.int32)
