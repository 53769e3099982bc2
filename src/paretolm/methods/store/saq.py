"""SAQ: a staircase of bits, fewer the older a token is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from paretolm.contracts import (
    Cost,
    Edit,
    Interval,
    LayerCost,
    Method,
    ModelView,
    Need,
    OpenContext,
    Phase,
    Side,
    Slot,
    Store,
    knob,
)
from paretolm.errors import ConflictError

from ._coded import CodedStore
from ._codes import ChannelCodes, TokenCodes
from ._packing import packed_width

STEPS = (8, 4, 2)  # bits, from the newest step to the oldest
NUMBER_BYTES = 4  # of a key's group, at most, once eviction has thinned groups
SPLIT_BYTES = 8  # where a head's codes end, once heads differ


@dataclass(frozen=True)
class StairsPart:
    method: SAQ
    ctx: OpenContext

    def store(self, side: Side, inner: Callable[[], Store]) -> Store:
        """A chain: each step takes the oldest entries of the one before, as they read there, and rounds them anew."""
        kind: type[ChannelCodes] | type[TokenCodes] = ChannelCodes if side == "key" else TokenCodes
        store, size = inner(), self.method.group_size
        for bits, exact in zip(self.method.steps, self.method.newer, strict=True):
            encode = partial(kind.encode, bits=bits, group_size=size)
            store = CodedStore(encode, size, exact, store, partial(self.ctx.count, f"tokens_at_{bits}_bits"))
        return store


@dataclass(frozen=True, kw_only=True)
class SAQ(Method):
    """Keys and values in fewer bits the older they are: exact, then 8, 4 and 2 bits.

    The Nature of Mathematical Modeling and Probabilistic Optimization Engineering in Generative AI (2410.18441), the
    section on staircase adaptive quantization, in the frame of KIVI (2402.02750): keys are rounded per channel, values
    per token, in groups. The newest `residual` tokens are exact, the `stair` before them have 8 bits, the `stair`
    before those 4, and all that is older 2, or `lowest`. tokens_at_N_bits counts tokens as they come to a step, in
    every layer, for keys and for values.

    Where we leave the paper: it leaves the widths of the steps open; here they are equal, and only whole groups move
    down, so that up to a group more stays on each step. Padded batches are refused: a padding token would widen the
    range of its group's channels.
    """

    papers: ClassVar[tuple[str, ...]] = ("2410.18441",)

    stair: int = knob(128, low=1, help="tokens of each step between the exact and the lowest")
    residual: int = knob(128, low=0, help="newest tokens that stay exact, at least")
    group_size: int = knob(32, low=2, high=4096, help="tokens (keys) or channels (values) that share a scale")
    lowest: int = knob(2, choices=(2, 4), help="bits of the oldest tokens")

    @property
    def steps(self) -> tuple[int, ...]:
        return tuple(bits for bits in STEPS if bits >= self.lowest)

    @property
    def newer(self) -> tuple[int, ...]:
        """Tokens that are newer than each step, at least."""
        return tuple(self.residual + i * self.stair for i in range(len(self.steps)))

    def plan(self, view: ModelView) -> Iterable[Edit]:
        if not view.full_layers:
            raise ConflictError("saq needs a layer with full attention, and this model has none")
        breaks = frozenset({Need.PADDING, Need.CHUNK_INVARIANT})
        yield Edit(Slot.STORE, view.full_layers, lambda ctx: StairsPart(self, ctx), phase=Phase.AFTER, breaks=breaks)

    def chunk(self, tokens: int) -> int | None:
        """Groups are due after other tokens than step by step, by fewer than a chunk."""
        return None if tokens < self.residual + self.group_size else max(1, self.residual // 8)

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        return before.with_layers(view.full_layers, partial(self._layer_cost, tokens, view.dtype_bytes))

    def _layer_cost(self, tokens: int, dtype_bytes: int, layer: LayerCost) -> LayerCost:
        """From every entry in the lowest bits to as many on each step as it holds at most, with all scales."""
        entries = int(layer.entries.high)
        if entries < self.residual + self.group_size:
            return layer
        key, value = (int(side.high / dtype_bytes) for side in (layer.key_bytes, layer.value_bytes))
        bare = [packed_width(width, self.lowest) for width in (key, value)]
        most = self._steps_bytes(entries, key, value, dtype_bytes)
        groups = min(entries, tokens // self.group_size)
        most += 4 * (groups * key + entries * -(-value // min(self.group_size, value)))  # 16-bit scales and zeros
        most += (NUMBER_BYTES * entries + 2 * SPLIT_BYTES) * len(self.steps)
        extra = Interval(0, layer.heads * (most - sum(bare) * layer.entries.low))
        ends = (Interval.exact(width) for width in bare)
        return replace(layer, key_bytes=next(ends), value_bytes=next(ends), fixed=layer.fixed + extra)

    def _steps_bytes(self, entries: int, key: int, value: int, dtype_bytes: int) -> int:
        """Bytes a head of entries and codes alone, each step as full as it can be."""
        codes = [packed_width(key, bits) + packed_width(value, bits) for bits in self.steps]
        room = [self.residual + self.group_size - 1, *[self.stair + self.group_size - 1] * (len(codes) - 1), entries]
        total, left = 0, entries
        for size, bytes_ in zip(room, [(key + value) * dtype_bytes, *codes], strict=True):
            total, left = total + min(left, size) * bytes_, left - min(left, size)
        return total
