"""What one attention call reads of a layer: which entries, at which positions, under which mask.

Everything here is tensors in, tensors out. Shapes as in contracts.parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..contracts import Attention, Band, IndexSharper, LayerInputs, Step
from ..errors import CallError
from .layer import HeldLayer, gather_positions
from .masking import allowed, dropped
from .rope import rotate

QUERY_BLOCK = 256  # queries of a long forward that are masked and read together
WEIGHTS_AT_ONCE = 2**22  # attention probabilities in memory at once where a method observes them


@dataclass
class InForce:
    """What attention must know of the session whose forward is under way."""

    inner: str  # the implementation that was in force
    all_held: bool
    inv_freq: Callable[[], Tensor] | None
    halves: bool
    stop_at: int | None = None
    stopped: list[LayerInputs] = field(default_factory=list)
    instead: Attention | None = None  # stands in for attention of the layers `instead_at`
    instead_at: frozenset[int] = frozenset()

    def turn(self, x: Tensor, by: Tensor) -> Tensor:
        """x [B, H, m, D] turned by [B|1, H|1, m] positions. Raises CallError where the model has no rotary ones."""
        if self.inv_freq is None:
            raise CallError("positions can only be changed where the model has rotary embeddings")
        return rotate(x, by, self.inv_freq(), self.halves)


@dataclass(frozen=True)
class Reading:
    """queries [B, Hq, Q, D'], keys [B, H, m, D'], values [B, H, m, D]; allowed [B|1, H|1, Q, m] or None (all, or
    plain causality); source: the held entry of each key column, [m] or [B|1, H|1, m]; None: all in order."""

    queries: Tensor
    keys: Tensor
    values: Tensor
    allowed: Tensor | None
    source: Tensor | None


def plan(
    layer: HeldLayer, query: Tensor, index: Tensor | None, chosen: Tensor | None, force: InForce, step: Step
) -> Iterator[Reading]:
    """One reading, or several of QUERY_BLOCK queries each where a long forward sees only some of the keys.

    index [B|1, H|1, m]: the entries read (None: all); chosen [B|1, H|1, Q, n]: which of them each query reads."""
    held = layer.view.positions
    positions = held if index is None else gather_positions(held, index)
    keys, values = layer.view.keys(index), layer.view.values(index)
    if chosen is None and _plain(layer, step, positions, index):
        yield _read(layer, query, Columns(keys, values, positions, None), force, step, masked=False)
        return
    size = step.num_queries
    if size <= QUERY_BLOCK or index is not None or step.tree is not None:
        yield _read(layer, query, Columns(keys, values, positions, index, chosen), force, step)
        return
    for start in range(0, size, QUERY_BLOCK):
        rows = slice(start, start + QUERY_BLOCK)
        part = replace(step, positions=step.positions[:, rows])
        seen = _seen_columns(layer, part, positions)
        picked = None if chosen is None else chosen[:, :, rows][..., seen]
        columns = Columns(keys[:, :, seen], values[:, :, seen], positions[..., seen], _numbers(seen, positions), picked)
        yield _read(layer, query[:, :, rows], columns, force, part)


@dataclass(frozen=True)
class Columns:
    """Keys and values that may be read, with their positions and the held entries they are (None: all in order);
    chosen [B|1, H|1, Q, m]: which of them each query reads (None: all)."""

    keys: Tensor
    values: Tensor
    positions: Tensor
    source: Tensor | None
    chosen: Tensor | None = None


def _seen_columns(layer: HeldLayer, step: Step, positions: Tensor) -> Tensor | slice:
    """Key columns that any of the step's queries may read; a slice where they stand together."""
    columns = allowed(layer, step, positions).flatten(0, 2).any(0).nonzero()[:, 0]
    first, last = int(columns[0]), int(columns[-1])
    return slice(first, last + 1) if last - first + 1 == len(columns) else columns


def _numbers(seen: Tensor | slice, positions: Tensor) -> Tensor:
    return torch.arange(positions.shape[-1], device=positions.device)[seen]


def _read(
    layer: HeldLayer, query: Tensor, columns: Columns, force: InForce, step: Step, masked: bool = True
) -> Reading:
    positions = columns.positions
    visible = _visible(layer, step, columns) if masked else None
    query = _sharpened(layer, query, step)
    plain = Reading(query, columns.keys, columns.values, _for_eager(visible, step, positions, force), columns.source)
    if layer.parts.index is None:
        return plain
    bands = layer.parts.index.bands(step.positions, positions)
    shifts = [_shift(band, step.positions, positions) for band in bands]
    if not any(bool(q.any()) or bool(k.any()) for q, k in shifts):
        return plain
    if visible is None:
        visible = allowed(layer, step, positions)
    return _placed(query, columns, visible, list(zip(bands, shifts, strict=True)), force, step)


def _sharpened(layer: HeldLayer, query: Tensor, step: Step) -> Tensor:
    index = layer.parts.index
    by = index.sharper(step.positions) if index is not None and isinstance(index, IndexSharper) else None
    return query if by is None else query * by[:, None, :, None].to(query.dtype)


def _plain(layer: HeldLayer, step: Step, positions: Tensor, index: Tensor | None) -> bool:
    """True where causality alone decides and the attention in force knows it without a mask."""
    if step.padding is not None or step.tree is not None or index is not None:
        return False
    if step.num_queries not in (1, positions.shape[-1]):
        return False
    last = step.positions[:, -1:]  # what it may not see settles the matter without a large mask
    return all(
        part.visible(last, positions) is None and part.visible(step.positions, positions) is None
        for part in layer.parts.masks
    )


def _for_eager(visible: Tensor | None, step: Step, positions: Tensor, force: InForce) -> Tensor | None:
    """Eager attention masks nothing by itself, so plain causality must be spelled out for it."""
    if visible is not None or force.inner != "eager" or step.num_queries == 1:
        return visible
    return positions[:, :, None, :] <= step.positions[:, None, :, None]


def _visible(layer: HeldLayer, step: Step, columns: Columns) -> Tensor:
    """`allowed`, and what each query chose."""
    visible = allowed(layer, step, columns.positions)
    if columns.chosen is None:
        return visible
    visible = visible & columns.chosen
    return visible if step.padding is None else visible | dropped(step)


def _shift(band: Band, queries: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """How far a band moves queries [B|1, 1, Q] and keys [B|1, H|1, m] from their original positions."""
    own = positions if band.keys is None else positions[..., band.keys]
    return (band.query_positions - queries)[:, None], band.key_positions - own


def _placed(
    query: Tensor,
    columns: Columns,
    visible: Tensor,
    bands: Sequence[tuple[Band, tuple[Tensor, Tensor]]],
    force: InForce,
    step: Step,
) -> Reading:
    """Each band at its positions. One query: its turn goes onto the keys. Several queries and bands: the head is
    widened by a copy a band, zero where a key is not of that band, so that one attention call serves all."""
    single = query.shape[2] == 1
    keys, masks, values, sources, queries = [], [], [], [], []
    numbers = torch.arange(columns.keys.shape[2], device=query.device)
    for band, (by_query, by_key) in bands:
        cut = band.keys if band.keys is not None else slice(None)
        by = by_key - by_query if single else by_key
        own = columns.keys[:, :, cut]
        keys.append(force.turn(own, by) if bool(by.any()) else own)
        turned = not single and bool(by_query.any())
        queries.append(force.turn(query, by_query) if turned else query)
        mask = visible[..., cut] if band.allowed is None else visible[..., cut] & band.allowed
        masks.append(mask if step.padding is None else mask | dropped(step))
        values.append(columns.values[:, :, cut])
        sources.append(numbers[cut])
    if not single and len(bands) > 1:
        keys = _widened(keys, query.shape[-1])
        queries = [torch.cat(queries, dim=-1)]
    shape = torch.broadcast_shapes(*(m.shape[:3] for m in masks))
    source = torch.cat(sources)
    return Reading(
        queries[0],
        torch.cat(keys, dim=2),
        torch.cat(values, dim=2),
        torch.cat([m.expand(*shape, -1) for m in masks], dim=-1),
        source if columns.source is None else columns.source[..., source],
    )


def _widened(keys: Sequence[Tensor], width: int) -> list[Tensor]:
    """Band i's keys in the i-th of as many copies of the head, zero in the others."""
    last = len(keys) - 1
    return [nn.functional.pad(k, (i * width, (last - i) * width)) for i, k in enumerate(keys)]


def mask(reading: Reading, inner: str) -> Tensor | None:
    """The form the attention in force reads: bool for sdpa, an additive mask for eager."""
    visible, query = reading.allowed, reading.queries
    if visible is None or (query.shape[2] == 1 and bool(visible.all())):
        return None
    if visible.shape[1] > 1:
        visible = visible.repeat_interleave(query.shape[1] // visible.shape[1], dim=1)
    if inner != "eager":
        return visible
    lowest = torch.finfo(query.dtype).min
    return torch.zeros(visible.shape, dtype=query.dtype, device=query.device).masked_fill_(~visible, lowest)


def attention_weights(
    queries: Tensor, keys: Tensor, visible: Tensor | None, scaling: float, softcap: float | None = None
) -> Tensor:
    """[B, Hq, Q, m] float32 probabilities; visible [B|1, Hq|H|1, Q, m]."""
    groups = queries.shape[1] // keys.shape[1]
    scores = torch.matmul(queries, keys.repeat_interleave(groups, dim=1).transpose(2, 3)).float() * scaling
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if visible is not None:
        if visible.shape[1] > 1:
            visible = visible.repeat_interleave(queries.shape[1] // visible.shape[1], dim=1)
        scores = scores.masked_fill(~visible, float("-inf"))
    return scores.softmax(dim=-1).nan_to_num()


def received(readings: Sequence[Reading], length: int, scaling: float, kwargs: dict[str, Any]) -> Tensor:
    """[B, Hq, n] probability summed over this forward's queries, put back to the held entries."""
    if kwargs.get("s_aux") is not None:
        raise CallError("attention with learned sinks does not show the probabilities this recipe needs")
    queries = readings[0].queries
    total = torch.zeros(*queries.shape[:2], length, device=queries.device)
    for reading in readings:
        part = _summed(reading, scaling, kwargs.get("softcap"))
        if reading.source is None:
            total += part
            continue
        source = reading.source
        if source.dim() == 3 and source.shape[1] > 1:
            source = source.repeat_interleave(part.shape[1] // source.shape[1], dim=1)
        total.scatter_add_(-1, source.expand_as(part), part)
    return total


def _summed(reading: Reading, scaling: float, softcap: float | None) -> Tensor:
    """[B, Hq, m] probabilities of one reading, summed over its queries a few at a time."""
    batch, heads, size, _ = reading.queries.shape
    visible = reading.allowed
    if visible is None and size > 1:
        visible = torch.ones(size, size, dtype=torch.bool, device=reading.keys.device).tril()[None, None]
    total = torch.zeros(batch, heads, reading.keys.shape[2], device=reading.keys.device)
    block = max(1, WEIGHTS_AT_ONCE // total.numel())
    for start in range(0, size, block):
        rows = slice(start, start + block)
        some = None if visible is None else visible[:, :, rows]
        total += attention_weights(reading.queries[:, :, rows], reading.keys, some, scaling, softcap).sum(dim=2)
    return total
