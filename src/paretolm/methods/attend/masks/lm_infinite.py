"""LM-Infinite: a mask in the form of a Λ, and a cap on distance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import Band, Cost, Edit, Method, ModelView, Need, Slot, knob
from paretolm.errors import RecipeError
from paretolm.methods.keep._cost import holding
from paretolm.methods.keep._window import WindowKeep, in_window


def capped_bands(query_positions: Tensor, key_positions: Tensor, n_global: int, limit: int) -> list[Band]:
    """Original positions, but a distance above `limit` counts as `limit`.

    Only the first `n_global` keys can be so far away (the mask hides the others), so two bands do: those keys
    where they are too far, all of them standing at 0 and the query at `limit`, and everything else.
    query_positions [B|1, Q], key_positions [B|1, H|1, n].
    """
    original = Band(key_positions=key_positions, query_positions=query_positions)
    if n_global == 0 or int(query_positions.max()) <= limit:
        return [original]
    cap = torch.full_like(query_positions, limit)
    is_first = key_positions < n_global
    shared = key_positions.shape[:2] == (1, 1)
    num = int(is_first.sum()) if shared else 0
    if shared and int(query_positions.min()) > limit + n_global:
        return [
            Band(torch.zeros_like(key_positions[..., :num]), cap, keys=slice(0, num)),
            Band(key_positions[..., num:], query_positions, keys=slice(num, None)),
        ]
    distance = query_positions[:, None, :, None] - key_positions[:, :, None, :]
    far = is_first[:, :, None, :] & (distance > limit)
    cut = slice(0, num) if shared else slice(None)
    return [
        Band(torch.zeros_like(key_positions[..., cut]), cap, keys=cut, allowed=far[..., cut]),
        Band(key_positions, query_positions, allowed=~far),
    ]


@dataclass(frozen=True)
class LambdaMask:
    """The ATTEND part: the first tokens and the nearest ones."""

    n_global: int
    n_local: int

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        return in_window(query_positions, key_positions, self.n_global, self.n_local)


@dataclass(frozen=True)
class DistanceLimit:
    """The INDEX part."""

    n_global: int
    limit: int

    def bands(self, query_positions: Tensor, key_positions: Tensor) -> Sequence[Band]:
        return capped_bands(query_positions, key_positions, self.n_global, self.limit)


@dataclass
class LambdaKeep(WindowKeep):
    """The KEEP part: forgets what the mask hides from every later query; the mask itself is ATTEND's."""

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        return None


@dataclass(frozen=True, kw_only=True)
class LMInfinite(Method):
    """Reads the first `n_global` and the nearest `n_local` tokens, at distances of at most `limit_distance`.

    What no later token can read is evicted, so memory stays flat.
    LM-Infinite: Simple On-the-Fly Length Generalization for Large Language Models (2308.16137), section 4.
    Within the trained length nothing changes. Defaults as in the official code: 10 first tokens (10 to 100 do
    alike), nearest tokens and cap of the trained length. A chunk of many tokens equals single steps.

    Where we leave the paper: its optional re-reading of the best k tokens in the middle (used for retrieval
    tasks, not for fluency) is left out, since it needs every token held and so gives up the flat memory.
    n_global + n_local - 1 entries are held between forwards.
    """

    papers: ClassVar[tuple[str, ...]] = ("2308.16137",)
    entries: ClassVar[tuple[str, ...]] = ("n_local", "n_global")

    n_global: int = knob(10, low=0, help="first tokens that stay readable (n_global)")
    n_local: int | None = knob(None, low=2, help="nearest tokens, the reading one included; none: the trained length")
    limit_distance: int | None = knob(None, low=1, help="cap on distance (L_pretrain); none: the trained length")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        n_local, limit = self._lengths(view)
        yield Edit(slot=Slot.INDEX, where=view.full_layers, make=lambda _: DistanceLimit(self.n_global, limit))
        yield Edit(slot=Slot.ATTEND, where=view.full_layers, make=lambda _: LambdaMask(self.n_global, n_local))
        yield Edit(
            slot=Slot.KEEP,
            where=view.full_layers,
            make=lambda ctx: LambdaKeep(ctx, first=self.n_global, window=n_local),
            breaks=frozenset({Need.ROLLBACK}),
        )

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        held = self.n_global + self._lengths(view)[0] - 1
        return before.with_layers(view.full_layers, lambda layer: holding(layer, held))

    def _lengths(self, view: ModelView) -> tuple[int, int]:
        """(n_local, limit_distance) with the model's trained length where none is given."""
        n_local = view.trained_length if self.n_local is None else self.n_local
        limit = max(view.trained_length, n_local) if self.limit_distance is None else self.limit_distance
        if limit < n_local:
            raise RecipeError(
                f"lm-infinite: limit_distance={limit} is below n_local={n_local}, so near tokens would need the cap too; "
                "lower n_local or raise limit_distance"
            )
        return n_local, limit
