"""A map of attention of fixed width: cell c of K stands for the c-th of K equal parts of what a query may read."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def cell_of(tokens: Tensor, length: int, cells: int) -> Tensor:
    """[Q, n] the cell of each entry for queries that may read the first tokens [Q]; `cells` for entries behind them."""
    places = torch.arange(length, device=tokens.device)
    # exact, and faster than a division of integers: a quotient below a whole number is farther from it than a rounding
    cell = ((2 * places + 1) * cells).double() / (2 * tokens[:, None]).double()
    return cell.long().clamp(max=cells)


def sizes(tokens: Tensor, cells: int) -> Tensor:
    """[Q, K] entries in each cell; a query that reads fewer than K has empty ones."""
    edges = torch.arange(cells + 1, device=tokens.device)
    return (-((cells - 2 * tokens[:, None] * edges) // (2 * cells))).diff(dim=1)


def pooled(probabilities: Tensor, tokens: Tensor, cells: int) -> Tensor:
    """[B, H, Q, K] the attention that falls into each cell, of probabilities [B, H, Q, n]."""
    places = cell_of(tokens, probabilities.shape[-1], cells).expand(probabilities.shape)
    found = probabilities.new_zeros(*probabilities.shape[:3], cells + 1).scatter_add_(-1, places, probabilities)
    return found[..., :cells]


def densities(logits: Tensor, size: Tensor) -> Tensor:
    """[B, H, Q, K] log-probability of one entry of each cell, -inf where there is none; size [Q, K].

    All entries of a cell have its logit; the softmax is over entries."""
    logits = logits.float().masked_fill(size == 0, float("-inf"))
    return logits - (logits + size.clamp(min=1).log()).logsumexp(-1, keepdim=True)


def grouped_top(density: Tensor, size: Tensor, k: Tensor) -> Tensor:
    """[B, H, Q, K] True at the cells that are read: the likeliest of all heads together, of k [Q] entries a head.

    Each head reads the cell of the query itself, whatever its size."""
    heads, cells = density.shape[1], density.shape[3]
    newest = torch.where(size > 0, torch.arange(cells, device=size.device), -1).amax(-1, keepdim=True)
    own = torch.arange(cells, device=size.device) == newest
    flat = density.masked_fill(own, float("inf")).transpose(1, 2).flatten(2)
    each = (size + (size == 0) * int(size.max())).amin(-1)  # a cell that holds anything holds at least so much
    most = min(flat.shape[-1], int((k * heads // each).max()))
    order = flat.topk(most, dim=-1).indices
    taken = size.repeat(1, heads).expand(flat.shape).gather(-1, order).cumsum(-1) <= (k * heads)[:, None]
    wanted = torch.zeros_like(flat, dtype=torch.bool).scatter_(-1, order, taken)
    return (wanted.unflatten(-1, (heads, cells)).transpose(1, 2) | own) & (size > 0)


def entries(chosen: Tensor, tokens: Tensor, length: int, behind: float = 0) -> Tensor:
    """[B, H, Q, n] of each entry what chosen [B, H, Q, K] says of its cell; `behind` for those behind the query."""
    places = cell_of(tokens, length, chosen.shape[-1])
    return functional.pad(chosen, (0, 1), value=behind).gather(-1, places.expand(*chosen.shape[:3], -1))
