"""Which held entries a query of this forward may read. Shapes as in contracts.parts."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ..contracts import Step
from .layer import HeldLayer


def _in_order(step: Step, positions: Tensor) -> bool:
    """True where nothing is missing: the positions are 0, 1, ..., and the queries the last of them."""
    n, rows = positions.shape[-1], step.positions
    if step.padding is not None or step.tree is not None or positions.shape[:2] != (1, 1) or rows.shape[0] != 1:
        return False
    ends = (positions[0, 0, 0], positions[0, 0, -1], rows[0, 0], rows[0, -1])  # ascending, none twice
    return [int(e) for e in ends] == [0, n - 1, n - rows.shape[1], n - 1]


@lru_cache(maxsize=4)  # one for the layers of a forward
def _causal(queries: int, keys: int, device: torch.device) -> Tensor:
    with torch.inference_mode(mode=False):  # it may serve a forward with gradients next
        return torch.ones(1, 1, queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def allowed(layer: HeldLayer, step: Step, positions: Tensor) -> Tensor:
    """[B|1, H|1, Q, n] bool: causality, padding, draft tree, and what KEEP and ATTEND leave visible."""
    queries = step.positions
    if not layer.parts.masks and _in_order(step, positions):
        return _causal(step.num_queries, positions.shape[-1], positions.device)
    visible = (positions[:, :, None, :] <= queries[:, None, :, None]) & (positions >= 0)[:, :, None, :]
    if step.tree is not None:
        visible = visible.clone()
        visible[..., -step.num_queries :] = step.tree.to(visible.device)
    for part in layer.parts.masks:
        left = part.visible(queries, positions)
        if left is not None:
            visible = visible & left
    return visible if step.padding is None else visible | dropped(step)


def beyond_causality(layer: HeldLayer, step: Step, positions: Tensor, part: object) -> Tensor | None:
    """`allowed`; None where, but for `part`, causality alone hides entries."""
    others = [mask for mask in layer.parts.masks if mask is not part]
    plain = step.padding is None and step.tree is None
    if plain and all(mask.visible(step.positions, positions) is None for mask in others):
        return None
    return allowed(layer, step, positions)


def dropped(step: Step) -> Tensor:
    """Padding queries [B, 1, Q, 1]: they read anything, since their result is dropped and NaN would spread."""
    return (step.positions < 0)[:, None, :, None]
