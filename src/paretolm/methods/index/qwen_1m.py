"""Dual chunk attention with a temperature that follows the length, as Qwen2.5-1M reads beyond its trained length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import Band, Edit, IndexSharper, Method, ModelView, OpenContext, Slot, knob
from paretolm.errors import RecipeError

from ._bands import beyond, cut, distances


def dual_chunk_bands(query_positions: Tensor, key_positions: Tensor, chunk: int, local: int) -> list[Band]:
    """Keys of a query's own chunk and the nearest `local` of the chunk before as they stand; the others of that chunk
    and all of earlier ones at distances below `chunk`.

    Chunks are `chunk` - `local` tokens long. query_positions [B|1, Q], key_positions [B|1, H|1, n]."""
    length = chunk - local
    back = distances(query_positions // length, key_positions // length)
    inside, within = key_positions % length, query_positions % length
    before = (within + length).clamp(max=chunk)
    last = torch.full_like(query_positions, min(2 * length - 1, chunk))
    return cut([(query_positions, key_positions, back <= 0), (before, inside, back == 1), (last, inside, back > 1)])


def sharpness(query_positions: Tensor, length: int) -> Tensor | None:
    """0.1 ln(s) + 1 for a query whose text is s times the trained `length`, at least 1. [B|1, Q]; None: all one."""
    if int(query_positions.max()) < length:
        return None
    return 1 + 0.1 * ((query_positions + 1) / length).clamp(min=1).log()


@dataclass(frozen=True)
class DualChunks(IndexSharper):
    """The INDEX part."""

    chunk: int
    local: int
    length: int
    temperature: bool
    ctx: OpenContext

    def bands(self, query_positions: Tensor, key_positions: Tensor) -> Sequence[Band]:
        self.ctx.count("queries_rechunked", beyond(query_positions, key_positions, self.chunk))
        return dual_chunk_bands(query_positions, key_positions, self.chunk, self.local)

    def sharper(self, query_positions: Tensor) -> Tensor | None:
        return sharpness(query_positions, self.length) if self.temperature else None


@dataclass(frozen=True, kw_only=True)
class Qwen1M(Method):
    """Distances never leave the trained length, however long the text: it is cut into chunks, and attention grows
    sharper with it.

    Qwen2.5-1M Technical Report (2501.15383), section on length extrapolation: dual chunk attention (2402.17463) with
    attention scaled as in YaRN (2309.00071). Within a chunk distances are true ones. A key of the chunk before is at
    most `chunk_size` away, and true while it is nearer than `local_size`; farther keys all stand as if the query were
    at the end of the chunk after theirs. Nothing is evicted, and a chunk of many tokens equals single steps, so that
    a prompt may be read in pieces. Acts on layers with full attention.

    Where we leave the paper: a text's length is that up to the query, where the released code takes all of the
    prompt, so that reading ahead changes nothing. Queries alone are multiplied by 0.1 ln(s) + 1, as in that code; by
    the report's formula the scores would be, by its square. Within the trained length positions change from
    chunk_size - local_size on, as in that code. Sizes not given are three quarters and a sixteenth of the trained
    length, as in the code of dual chunk attention. Sparse prefill (2407.02490) and its scheduling are methods of
    their own and stand beside this one in a recipe.
    """

    papers: ClassVar[tuple[str, ...]] = ("2501.15383", "2402.17463")

    length: int | None = knob(None, low=4, help="tokens the model was trained on; none: what its config says")
    chunk_size: int | None = knob(None, low=2, help="s: no distance is larger; none: 3/4 of the length")
    local_size: int | None = knob(None, low=1, help="w: true distances across a border; none: 1/16 of the length")
    temperature: bool = knob(True, help="attention grows sharper beyond the trained length")

    def validate(self) -> None:
        if self.chunk_size is not None and self.local_size is not None and 2 * self.local_size > self.chunk_size:
            raise RecipeError(f"qwen-1m: local_size={self.local_size} is over half of chunk_size={self.chunk_size}")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        chunk, local, length = self.sizes(view)
        yield Edit(Slot.INDEX, view.full_layers, lambda ctx: DualChunks(chunk, local, length, self.temperature, ctx))

    def sizes(self, view: ModelView) -> tuple[int, int, int]:
        """(chunk_size, local_size, trained length). Raises RecipeError where they do not fit each other."""
        length = self.length or view.trained_length
        chunk = self.chunk_size or length * 3 // 4
        local = self.local_size or max(1, length // 16)
        if not 2 * local <= chunk <= length:
            raise RecipeError(
                f"qwen-1m: local_size={local}, chunk_size={chunk} and a length of {length} do not fit; "
                "the first is at most half of the second, which is at most the third"
            )
        return chunk, local, length
