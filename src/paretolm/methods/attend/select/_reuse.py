"""Selections that later queries reuse: which query chose for whom, and what was chosen, from forward to forward."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from paretolm.methods.keep._ranking import taken

from ._choice import indices


def leaders(queries: Tensor, last: Tensor | None, since: int, stride: int | None, threshold: float | None) -> list[int]:
    """For each query the one that chooses for it: itself, an earlier one, or -1, the last of the forwards before.

    A query chooses for itself where nobody did before, `stride` tokens after the last that did, and where its cosine
    similarity with that one, all heads as one vector, lies below `threshold`. queries [B, Hq, Q, D]; last [B, Hq, D]
    chose `since` tokens ago."""
    num = queries.shape[2]
    known = queries if last is None else torch.cat([last[:, :, None], queries], dim=2)
    flat = torch.nn.functional.normalize(known.transpose(1, 2).flatten(2).float(), dim=-1)
    alike: list[list[float]] = [] if threshold is None else (flat @ flat.mT).amin(0).tolist()
    offset = 0 if last is None else 1
    leader = None if last is None else -1
    found: list[int] = []
    for i in range(num):
        since += 1
        far = leader is None or (stride is not None and since >= stride)
        if not far and threshold is not None and leader is not None:
            far = alike[i + offset][leader + offset] < threshold
        if far:
            leader, since = i, 0
        assert leader is not None
        found.append(leader)
    return found


@dataclass
class Reused:
    """The last choice: query [B, Hq, D] that made it, at position `at`, `since` tokens ago; positions [B, H|1, K] of
    the entries."""

    query: Tensor | None = None
    positions: Tensor | None = None
    at: int = -1
    since: int = 0

    def remember(self, query: Tensor, mask: Tensor, held: Tensor, at: int, since: int) -> None:
        """mask [B, H|1, n] of the entries at positions `held` [B|1, H|1, n]."""
        index = indices(mask[:, :, None])
        self.query, self.positions, self.at, self.since = query.clone(), taken(held, index), at, since

    def mask(self, held: Tensor) -> Tensor:
        """[B, H|1, n] True for the held entries, at positions `held` [B|1, H|1, n], that were chosen."""
        assert self.positions is not None
        size = 1 + max(int(held.max()), int(self.positions.amax()) if self.positions.numel() else 0)
        table = torch.zeros(*self.positions.shape[:2], size, dtype=torch.bool, device=held.device)
        table.scatter_(-1, self.positions.long(), True)
        return taken(table, held.long().clamp(min=0)) & (held >= 0)

    def tensors(self) -> Iterable[Tensor]:
        return (t for t in (self.query, self.positions) if t is not None)

    def select_rows(self, rows: Tensor) -> None:
        if self.query is not None and self.positions is not None:
            self.query, self.positions = self.query[rows], self.positions[rows]


def spread(before: Tensor | None, chosen: Tensor | None, who: Sequence[int]) -> Tensor:
    """[B, H|1, Q, n]: each query's mask is its leader's. chosen [B, H|1, L, n] of the queries that lead, in order;
    before [B, H|1, n] what -1 stands for. None where there are no such queries."""
    place = {leader: i for i, leader in enumerate(i for i, w in enumerate(who) if i == w)}
    place[-1] = len(place)
    masks = [m for m in (chosen, None if before is None else before[:, :, None]) if m is not None]
    return torch.cat(masks, dim=2)[:, :, [place[w] for w in who]]
