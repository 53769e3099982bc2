"""Attention without a mask in near-linear time: sorted hashing finds large entries, a sample stands for the rest.

R rows of heads, q queries, n keys, D head width. Every result comes with the logarithm of its softmax's denominator, so
that parts of the keys can be merged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SCORES_AT_ONCE = 2**22


@dataclass(frozen=True)
class Part:
    """Attention over some of the keys: output [R, q, Dv] and lse [R, q, 1] float32."""

    output: Tensor
    lse: Tensor

    def merge(self, other: Part) -> Part:
        lse = torch.logaddexp(self.lse, other.lse)
        ours, theirs = ((part.lse - lse).exp().to(part.output.dtype) for part in (self, other))
        return Part(self.output * ours + other.output * theirs, lse)

    def rows(self, index: Tensor) -> Part:
        """The queries index [R, q]."""
        return Part(_rows(self.output, index), _rows(self.lse, index))


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """x [R, n, D] at index [R, m]."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))


def exact(queries: Tensor, keys: Tensor, values: Tensor, scaling: float, causal: bool) -> Part:
    """Over all keys, or up to a query's own, queries and keys ending with the same entry; a few queries at a time."""
    rows, size, length = queries.shape[0], queries.shape[1], keys.shape[1]
    step = max(1, SCORES_AT_ONCE // (rows * length))
    outputs, lses = [], []
    for start in range(0, size, step):
        stop = min(start + step, size)
        upto = length - size + stop if causal else length
        logits = torch.bmm(queries[:, start:stop], keys[:, :upto].transpose(1, 2)).float() * scaling
        if causal:
            own = logits[..., upto - (stop - start) :]
            own.masked_fill_(torch.ones_like(own[0], dtype=torch.bool).triu(1), float("-inf"))
        lse = logits.logsumexp(-1, keepdim=True)
        outputs.append(torch.bmm((logits - lse).exp_().to(values.dtype), values[:, :upto]))
        lses.append(lse)
    return Part(torch.cat(outputs, 1), torch.cat(lses, 1))


def hashes(x: Tensor, directions: Tensor) -> Tensor:
    """[R, n] the bin of each vector x [R, n, D]: the signs of its products with directions [D, b], numbered so that
    neighbouring bins differ in one sign (Gray code)."""
    signs = (x.float() @ directions) > 0
    bins = torch.zeros(signs.shape[:-1], dtype=torch.long, device=x.device)
    seen = torch.zeros_like(bins)
    for i in reversed(range(directions.shape[1])):
        seen = seen ^ signs[..., i].long()
        bins = bins * 2 + seen
    return bins


@dataclass(frozen=True)
class Sketch:
    """Sizes of the approximation, and what it draws from."""

    directions: Tensor  # [D, b]
    block_size: int
    sample_size: int
    min_seq_len: int
    generator: torch.Generator

    def unmasked(self, queries: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Part:
        """Every query reads every key: exactly for few of either, else keys hashed like it and a sample of the rest."""
        size, length = queries.shape[1], keys.shape[1]
        if min(size, length) < max(self.min_seq_len, self.block_size + 1):
            return exact(queries, keys, values, scaling, causal=False)
        order = hashes(queries, self.directions).argsort(dim=1, stable=True)
        key_order = hashes(keys, self.directions).argsort(dim=1, stable=True)
        q, k, v = _rows(queries, order), _rows(keys, key_order), _rows(values, key_order)
        num = -(-length // self.block_size)
        found = self._blocks(q, k, v, num, scaling).merge(self._sampled(q, k, v, num, scaling))
        return found.rows(order.argsort(dim=1))

    def _blocks(self, q: Tensor, k: Tensor, v: Tensor, num: int, scaling: float) -> Part:
        """The i-th of `num` blocks of sorted queries reads the i-th block of sorted keys."""
        size, length = q.shape[1], k.shape[1]
        width = -(-size // num)
        q = torch.nn.functional.pad(q, (0, 0, 0, num * width - size)).unflatten(1, (num, width))
        missing = num * self.block_size - length
        k, v = (torch.nn.functional.pad(x, (0, 0, 0, missing)).unflatten(1, (num, self.block_size)) for x in (k, v))
        logits = torch.matmul(q, k.transpose(-1, -2)).float() * scaling
        if missing:
            logits[:, -1, :, self.block_size - missing :] = float("-inf")
        lse = logits.logsumexp(-1, keepdim=True)
        output = torch.matmul((logits - lse).exp_().to(v.dtype), v)
        return Part(output.flatten(1, 2)[:, :size], lse.flatten(1, 2)[:, :size])

    def _sampled(self, q: Tensor, k: Tensor, v: Tensor, num: int, scaling: float) -> Part:
        """What the keys outside of a query's block add, judged by a sample of all keys."""
        size, length = q.shape[1], k.shape[1]
        taken = min(self.sample_size, length)
        width = -(-size // num)
        draws = torch.rand(q.shape[0], length, generator=self.generator).topk(taken, dim=1).indices.to(q.device)
        k, v = _rows(k, draws), _rows(v, draws)
        inside = torch.arange(size, device=q.device)[None, :, None] // width == (draws // self.block_size)[:, None]
        logits = (torch.bmm(q, k.transpose(1, 2)).float() * scaling).masked_fill_(inside, float("-inf"))
        lse = logits.logsumexp(-1, keepdim=True)
        weights = (logits - lse).exp_().nan_to_num_()  # a query whose sample lies in its block has no rest
        return Part(torch.bmm(weights.to(v.dtype), v), lse + math.log(length / taken))

    def causal(self, queries: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Part:
        """Equally many queries and keys. The later half reads the earlier one without a mask; halves are cut again."""
        size = queries.shape[1]
        if size <= self.min_seq_len:
            return exact(queries, keys, values, scaling, causal=True)
        cut = size // 2
        first = self.causal(queries[:, :cut], keys[:, :cut], values[:, :cut], scaling)
        last = self.causal(queries[:, cut:], keys[:, cut:], values[:, cut:], scaling)
        across = self.unmasked(queries[:, cut:], keys[:, :cut], values[:, :cut], scaling)
        last = last.merge(across)
        return Part(torch.cat([first.output, last.output], 1), torch.cat([first.lse, last.lse], 1))

    def pairs(self, size: int, length: int, causal: bool) -> int:
        """Pairs of query and key that `causal` or `unmasked` multiplies for one head."""
        if not causal:
            if min(size, length) < max(self.min_seq_len, self.block_size + 1):
                return size * length
            return size * (self.block_size + min(self.sample_size, length))
        if size <= self.min_seq_len:
            return size * (size + 1) // 2
        cut = size // 2
        halves = self.pairs(cut, cut, True) + self.pairs(size - cut, size - cut, True)
        return halves + self.pairs(size - cut, cut, False)
