"""Attention under bands in the plainest form: every pair on its own, angles in float64."""

import torch
from torch import Tensor

from paretolm.contracts import Band

FREQUENCIES = torch.tensor([1.0, 0.3, 0.01], dtype=torch.float64)


def rope(x: Tensor, positions: Tensor) -> Tensor:
    """x [n, 6] in halves, turned to `positions` [n]."""
    turn = torch.polar(torch.ones(3, dtype=torch.float64), FREQUENCIES * positions[:, None].double())
    z = torch.complex(x[:, :3], x[:, 3:]) * turn
    return torch.cat([z.real, z.imag], dim=-1)


def random_rows(length: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [length, 6] before RoPE."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(3, length, 6, generator=generator, dtype=torch.float64))  # type: ignore[return-value]


def attend(logits: Tensor, values: Tensor) -> Tensor:
    return logits.softmax(-1) @ values


def banded_logits(q: Tensor, k: Tensor, bands: list[Band], visible: Tensor, row: int = 0) -> Tensor:
    """[Q, n] scores of one row with -inf where hidden; q, k are before RoPE. Each visible pair must have one band."""
    logits = torch.full(visible.shape, float("-inf"), dtype=torch.float64)
    covered = torch.zeros(visible.shape, dtype=torch.int)
    for band in bands:
        columns = torch.arange(k.shape[0])[band.keys if band.keys is not None else slice(None)]
        own = band.key_positions.expand(max(row + 1, band.key_positions.shape[0]), -1, -1)[row, 0]
        at = band.query_positions.expand(max(row + 1, band.query_positions.shape[0]), -1)[row]
        scores = rope(q, at) @ rope(k[columns], own).T
        mine = visible[:, columns]
        if band.allowed is not None:
            mine = mine & band.allowed.expand(max(row + 1, band.allowed.shape[0]), -1, -1, -1)[row, 0]
        logits[:, columns] = torch.where(mine, scores, logits[:, columns])
        covered[:, columns] += mine.int()
    assert torch.equal(covered, visible.int())
    return logits


def causal(query_positions: Tensor, key_positions: Tensor) -> Tensor:
    """[Q, n] of one row."""
    return (key_positions[None] <= query_positions[:, None]) & (key_positions >= 0)[None]
