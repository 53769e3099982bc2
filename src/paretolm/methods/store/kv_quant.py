"""KIVI: keys rounded per channel, values per token, the newest tokens exact."""

from __future__ import annotations

import math
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
    StorePart,
    knob,
)
from paretolm.errors import ConflictError

from ._coded import CodedStore
from ._codes import ChannelCodes, TokenCodes
from ._packing import packed_width


@dataclass(frozen=True, kw_only=True)
class KVQuant(Method):
    """Keys in few bits per channel, values in few bits per token, the newest tokens exact.

    KIVI: A Tuning-Free Asymmetric 2bit Quantization for KV Cache (2402.02750), sections 3.2 and 3.3. Keys have
    a few channels far larger than the rest, so each channel gets its own scale and zero, shared by a group of
    tokens; values do not, so each token gets its own, shared by a group of channels. The newest tokens, to
    which most attention goes, stay exact. A prompt is read exactly and encoded at its end. tokens_quantized
    counts tokens in every layer, for keys and for values.

    Where we leave the paper:
    - Both sides encode whole groups of tokens, so `residual` to `residual + group_size - 1` tokens stay exact;
      the paper empties the keys' part whenever it reaches R, and moves values out one by one.
    - Codes are packed in bytes along the channels, not in words along the tokens, so that single tokens can be
      read and evicted; a code is moved then, never rounded again. A group without a token is dropped.
    - Rounding is done against scale and zero as stored in 16 bits.
    - Attention reads decoded keys and values; there is no fused kernel: this saves memory and costs time.
    - Padded batches are refused: a padding token would widen the range of its group's channels.
    """

    papers: ClassVar[tuple[str, ...]] = ("2402.02750",)

    bits: int = knob(2, choices=(8, 4, 2), help="bits a code of keys and of values")
    group_size: int = knob(32, low=2, high=4096, help="G: tokens (keys) or channels (values) that share a scale")
    residual: int = knob(128, low=0, help="R: newest tokens that stay exact, at least")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        if not view.full_layers:
            raise ConflictError("kv-quant needs a layer with full attention, and this model has none")
        yield Edit(
            Slot.STORE,
            view.full_layers,
            self._part,
            phase=Phase.AFTER,
            breaks=frozenset({Need.PADDING, Need.CHUNK_INVARIANT}),
        )

    def _part(self, ctx: OpenContext) -> StorePart:
        return QuantPart(self, ctx)

    def chunk(self, tokens: int) -> int | None:
        """A divisor of the group and of an eighth of the exact tokens: from an even start, groups are then
        encoded after the same tokens as step by step."""
        if tokens < self.residual + self.group_size:
            return None
        return math.gcd(self.residual // 8, self.group_size) if self.residual >= 8 else 1

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        return before.with_layers(view.full_layers, partial(self._layer_cost, tokens, view.dtype_bytes))

    def _layer_cost(self, tokens: int, dtype_bytes: int, layer: LayerCost) -> LayerCost:
        """Every entry as a code; `fixed` has what exact tokens, scales, zeros and group numbers take on top.

        Exact where nothing is evicted; otherwise from bare codes to as many groups as so many tokens can make."""
        if layer.entries.high < self.residual + self.group_size:
            return layer
        key, value = (self._packed(side, dtype_bytes) for side in (layer.key_bytes, layer.value_bytes))
        if layer.entries == Interval.exact(tokens) and key.low == key.high and value.low == value.high:
            coded = self.num_coded(tokens)
            groups, exact, saved = coded // self.group_size, tokens - coded, int(key.high + value.high)
            extra = Interval.exact(layer.heads * self._extra(layer, dtype_bytes, coded, groups, exact, saved))
        else:
            coded = int(layer.entries.high)
            groups, exact = min(tokens // self.group_size, coded), self.residual + self.group_size - 1
            top = self._extra(layer, dtype_bytes, coded, groups, exact, saved=0)
            extra = Interval(0, layer.heads * (top + coded * _NUMBER_BYTES + 2 * _SPLIT_BYTES))
        return replace(layer, key_bytes=key, value_bytes=value, fixed=layer.fixed + extra)

    def _packed(self, side: Interval, dtype_bytes: int) -> Interval:
        """Bytes of an entry's codes."""
        low, high = (packed_width(int(end / dtype_bytes), self.bits) for end in (side.low, side.high))
        return Interval(low, high)

    def _extra(self, layer: LayerCost, dtype_bytes: int, coded: int, groups: int, exact: int, saved: int) -> int:
        """Bytes a head: exact tokens (less `saved`, their codes, which do not exist) and 16-bit scales and zeros."""
        width, value_width = (int(side.high / dtype_bytes) for side in (layer.key_bytes, layer.value_bytes))
        full = int(layer.key_bytes.high + layer.value_bytes.high)
        value_groups = -(-value_width // min(self.group_size, value_width))
        return exact * (full - saved) + 4 * (groups * width + coded * value_groups)

    def num_coded(self, tokens: int) -> int:
        """Tokens encoded once `tokens` have settled and none was evicted."""
        return max(0, (tokens - self.residual) // self.group_size) * self.group_size


_NUMBER_BYTES = 4  # of a key's group, at most; held once groups are no longer whole
_SPLIT_BYTES = 8  # where a head's codes end, for keys and for values, once heads differ


@dataclass(frozen=True)
class QuantPart:
    method: KVQuant
    ctx: OpenContext

    def store(self, side: Side, inner: Callable[[], Store]) -> Store:
        kind: type[ChannelCodes] | type[TokenCodes] = ChannelCodes if side == "key" else TokenCodes
        return CodedStore(
            partial(kind.encode, bits=self.method.bits, group_size=self.method.group_size),
            self.method.group_size,
            self.method.residual,
            inner(),
            partial(self.ctx.count, "tokens_quantized"),
        )
