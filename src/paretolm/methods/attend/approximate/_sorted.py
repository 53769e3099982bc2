"""Attention without a mask in near-linear time: sorted hashing finds large entries, a sample stands for the rest.

R rows of heads, q queries, n keys, D head width. Every result comes with the logarithm of its softmax's denominator, so
that parts of the keys can be merged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SCORES_AT_ONCE = 2**19  # of one head, in memory together


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


def fused(queries: Tensor, keys: Tensor, values: Tensor, scaling: float, causal: bool) -> Part | None:
    """`exact` by the kernel behind scaled_dot_product_attention, which knows the denominators; None where it does not
    serve."""
    if queries.device.type != "cpu" or queries.shape[-1] != values.shape[-1]:
        return None
    if causal and queries.shape[1] != keys.shape[1]:
        return None
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    output, lse = kernel(queries[None], keys[None], values[None], is_causal=causal, scale=scaling)
    return Part(output[0], lse[0, ..., None])


def exact(queries: Tensor, keys: Tensor, values: Tensor, scaling: float, causal: bool) -> Part:
    """Over all keys, or up to a query's own, queries and keys ending with the same entry."""
    if found := fused(queries, keys, values, scaling, causal):
        return found
    size, length = queries.shape[1], keys.shape[1]
    step, ahead = max(1, SCORES_AT_ONCE // length), length - size
    parts = []
    for q, k, v in zip(queries * scaling, keys, values, strict=True):
        for start in range(0, size, step):
            stop = min(start + step, size)
            upto = ahead + stop if causal else length
            logits = (q[start:stop] @ k[:upto].T).float()
            if causal:
                own = logits[:, ahead + start :]
                own.masked_fill_(torch.ones_like(own, dtype=torch.bool).triu(1), float("-inf"))
            parts.append(_weighted(logits, v[:upto]))
    return _joined(parts, queries.shape[0])


def _weighted(logits: Tensor, values: Tensor) -> Part:
    """logits [..., q, c] float32 over values [..., c, Dv]; a row without a finite logit comes out NaN."""
    weights, most = logits.softmax(-1), logits.amax(-1, keepdim=True)
    lse = most - weights.amax(-1, keepdim=True).log()  # the largest weight is never too small to be told
    return Part(torch.matmul(weights.to(values.dtype), values), lse)


def _joined(parts: Sequence[Part], rows: int) -> Part:
    """Pieces of queries, row after row."""
    output, lse = torch.cat([part.output for part in parts]), torch.cat([part.lse for part in parts])
    return Part(output.unflatten(0, (rows, -1)), lse.unflatten(0, (rows, -1)))


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
        q = torch.nn.functional.pad(q * scaling, (0, 0, 0, num * width - size)).unflatten(1, (num, width))
        missing = num * self.block_size - length
        k, v = (torch.nn.functional.pad(x, (0, 0, 0, missing)).unflatten(1, (num, self.block_size)) for x in (k, v))
        step, parts = max(1, SCORES_AT_ONCE // (width * self.block_size)), []
        for head in range(len(q)):
            for start in range(0, num, step):
                some = slice(start, start + step)
                logits = torch.bmm(q[head, some], k[head, some].transpose(1, 2)).float()
                if missing and start + step >= num:
                    logits[-1, :, self.block_size - missing :] = float("-inf")
                part = _weighted(logits, v[head, some])
                parts.append(Part(part.output.flatten(0, 1), part.lse.flatten(0, 1)))
        found = _joined(parts, len(q))
        return Part(found.output[:, :size], found.lse[:, :size])

    def _sampled(self, q: Tensor, k: Tensor, v: Tensor, num: int, scaling: float) -> Part:
        """What the keys outside of a query's block add, judged by a sample of all keys."""
        size, length = q.shape[1], k.shape[1]
        taken = min(self.sample_size, length)
        width = -(-size // num)
        draws = torch.rand(q.shape[0], length, generator=self.generator).topk(taken, dim=1).indices.to(q.device)
        k, v, scaled = _rows(k, draws), _rows(v, draws), q * scaling
        own, step, parts = torch.arange(size, device=q.device) // width, max(1, SCORES_AT_ONCE // taken), []
        for head in range(len(q)):
            for start in range(0, size, step):
                some = slice(start, start + step)
                inside = own[some, None] == draws[head] // self.block_size
                logits = (scaled[head, some] @ k[head].T).float()
                parts.append(_weighted(logits.masked_fill_(inside, float("-inf")), v[head]))
        found = _joined(parts, len(q))
        lse = found.lse.nan_to_num(nan=float("-inf"))  # a query whose sample lies in its block has no rest
        return Part(found.output.nan_to_num(), lse + math.log(length / taken))

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
