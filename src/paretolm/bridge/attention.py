"""Our attention function: builds the mask of one layer, reads what is wanted, calls the attention in force."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ..contracts import AttendCompute, AttendMask, AttendSelect, Band, LayerInputs, Step
from ..contracts.step import current_step
from ..errors import CallError
from .cache import Handle, HeldLayer, gather_positions
from .rope import rotate
from .view import OWN_ATTENTION

QUERY_BLOCK = 256  # queries whose probabilities are in memory at once when a method observes them


class Stop(Exception):
    """Ends a forward at the layer whose attention inputs were wanted."""


@dataclass
class InForce:
    """What attention must know of the session whose forward is under way."""

    inner: str  # the implementation that was in force
    all_held: bool
    inv_freq: Callable[[], Tensor] | None
    halves: bool
    stop_at: int | None = None
    stopped: list[LayerInputs] = field(default_factory=list)


_IN_FORCE: ContextVar[InForce | None] = ContextVar("paretolm_attention", default=None)
enter_attention = _IN_FORCE.set
leave_attention = _IN_FORCE.reset


def register() -> None:
    """Adds our two names to the registries of transformers; inert without a session."""
    if OWN_ATTENTION not in ALL_ATTENTION_FUNCTIONS.valid_keys():
        AttentionInterface.register(OWN_ATTENTION, own_attention)
        AttentionMaskInterface.register(OWN_ATTENTION, own_mask)


def own_mask(**kwargs: Any) -> Any:
    """The mask in force, for native layers; our own layers build theirs and need none."""
    force = _IN_FORCE.get()
    if force is not None and force.all_held and force.stop_at is None:
        return None
    return ALL_MASK_ATTENTION_FUNCTIONS[force.inner if force else "sdpa"](**kwargs)


def own_attention(
    module: nn.Module,
    query: Tensor,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Any]:
    """Attention of transformers' interface. Native layers pass through; ours arrive as handles."""
    force = _IN_FORCE.get()
    inner = inner_function(module, force.inner if force else "sdpa")
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    if force is not None and force.stop_at == getattr(module, "layer_idx", None) is not None:
        force.stopped.append(LayerInputs(query, key, scale))
        raise Stop
    if not isinstance(key, Handle) or force is None:
        return inner(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    layer, step = key.layer, current_step()
    output = _attend(layer, module, query, scale, inner, force, step, kwargs)
    layer.observe(query, step.positions, scale, step)
    layer.settle(step)
    return output


def inner_function(module: nn.Module, name: str) -> Callable[..., Any]:
    """The attention implementation `name` as this module's model file resolves it."""
    own = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    return ALL_ATTENTION_FUNCTIONS.get_interface(name, own)


@dataclass(frozen=True)
class Reading:
    """What one attention call reads: queries, keys, values, who may read what (None: causal or all), and which
    held entry each key column is ([m] or [B|1, H|1, m]; None: all in order)."""

    queries: Tensor
    keys: Tensor
    values: Tensor
    allowed: Tensor | None
    source: Tensor | None


def _attend(
    layer: HeldLayer,
    module: nn.Module,
    query: Tensor,
    scaling: float,
    inner: Callable[..., Any],
    force: InForce,
    step: Step,
    kwargs: dict[str, Any],
) -> tuple[Tensor, Any]:
    held, index = layer.view, None
    for part in layer.parts.attend:
        if isinstance(part, AttendSelect):
            index = part.select(query, held, step)
    positions = held.positions if index is None else gather_positions(held.positions, index)
    for part in layer.parts.attend:
        if isinstance(part, AttendCompute):
            output = part.compute(query, held, _allowed(layer, step, held.positions), scaling, step)
            if output is not None:
                return output.transpose(1, 2).contiguous(), None
    reading = _read(layer, query, positions, index, force, step)
    if layer.parts.observe.received:
        layer.receive(_received(reading, held.length, scaling, kwargs))
    mask = _mask(reading.allowed, query, reading.keys.shape[1], force.inner)
    return inner(module, reading.queries, reading.keys, reading.values, mask, scaling=scaling, **kwargs)


def _read(
    layer: HeldLayer, query: Tensor, positions: Tensor, index: Tensor | None, force: InForce, step: Step
) -> Reading:
    keys, values = layer.view.keys(index), layer.view.values(index)
    allowed = None if _plain(layer, step, positions, index) else _allowed(layer, step, positions)
    if layer.parts.index is None:
        return Reading(query, keys, values, _eager_causal(allowed, step, positions, force), index)
    bands = layer.parts.index.bands(step.positions, positions)
    shifts = [_shift(band, step.positions, positions) for band in bands]
    if not any(bool(q.any()) or bool(k.any()) for q, k in shifts):
        return Reading(query, keys, values, _eager_causal(allowed, step, positions, force), index)
    if force.inv_freq is None:
        raise CallError("positions can only be changed where the model has rotary embeddings")
    if allowed is None:
        allowed = _allowed(layer, step, positions)
    dropped = None if step.padding is None else (step.positions < 0)[:, None, :, None]
    return _placed(query, keys, values, allowed, bands, shifts, force, index, dropped)


def _plain(layer: HeldLayer, step: Step, positions: Tensor, index: Tensor | None) -> bool:
    """True where causality alone decides and the attention in force knows it without a mask."""
    if step.padding is not None or step.tree is not None or layer.parts.keep is not None:
        return False
    if index is not None or any(isinstance(p, AttendMask) for p in layer.parts.attend):
        return False
    return step.num_queries in (1, positions.shape[-1])


def _eager_causal(allowed: Tensor | None, step: Step, positions: Tensor, force: InForce) -> Tensor | None:
    """Eager attention masks nothing by itself, so plain causality must be spelled out for it."""
    if allowed is not None or force.inner != "eager" or step.num_queries == 1:
        return allowed
    return positions[:, :, None, :] <= step.positions[:, None, :, None]


def _allowed(layer: HeldLayer, step: Step, positions: Tensor) -> Tensor:
    """[B|1, H|1, Q, n] bool: causality, padding, draft tree, and what KEEP and ATTEND leave visible."""
    queries = step.positions
    allowed = (positions[:, :, None, :] <= queries[:, None, :, None]) & (positions >= 0)[:, :, None, :]
    if step.tree is not None:
        allowed = allowed.clone()
        allowed[..., -step.num_queries :] = step.tree.to(allowed.device)
    masks = [p for p in (layer.parts.keep, *layer.parts.attend) if isinstance(p, AttendMask)]
    for part in masks:
        visible = part.visible(queries, positions)
        if visible is not None:
            allowed = allowed & visible
    if step.padding is not None:
        allowed = allowed | (queries < 0)[:, None, :, None]  # a padding query reads anything: its result is dropped
    return allowed


def _shift(band: Band, queries: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """How far a band moves queries [B|1, 1, Q] and keys [B|1, H|1, m] from their original positions."""
    own = positions if band.keys is None else positions[..., band.keys]
    return (band.query_positions - queries)[:, None], band.key_positions - own


def _placed(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    allowed: Tensor,
    bands: Sequence[Band],
    shifts: Sequence[tuple[Tensor, Tensor]],
    force: InForce,
    index: Tensor | None,
    dropped: Tensor | None,
) -> Reading:
    """Each band at its positions. One query: its turn goes onto the keys. Several queries and bands: the head is
    widened by a copy a band, zero where a key is not of that band, so that one attention call serves all. dropped: padding queries, which
    must read something lest they turn into NaN."""
    assert force.inv_freq is not None
    inv_freq, single = force.inv_freq(), query.shape[2] == 1
    parts, masks, taken, sources, turned_queries = [], [], [], [], []
    columns = torch.arange(keys.shape[2], device=keys.device)
    for band, (by_query, by_key) in zip(bands, shifts, strict=True):
        cut = band.keys if band.keys is not None else slice(None)
        own = keys[:, :, cut]
        by = by_key - by_query if single else by_key
        parts.append(rotate(own, by, inv_freq, force.halves) if bool(by.any()) else own)
        turned_queries.append(query if single else rotate(query, by_query, inv_freq, force.halves))
        mask = allowed[..., cut] if band.allowed is None else allowed[..., cut] & band.allowed
        masks.append(mask if dropped is None else mask | dropped)
        taken.append(values[:, :, cut])
        sources.append(columns[cut])
    masks = [m.expand(*torch.broadcast_shapes(*(x.shape[:3] for x in masks)), -1) for m in masks]
    if not single and len(bands) > 1:
        width = query.shape[-1]
        parts = [nn.functional.pad(k, (i * width, (len(parts) - 1 - i) * width)) for i, k in enumerate(parts)]
        turned_queries = [torch.cat(turned_queries, dim=-1)]
    source = torch.cat(sources)
    return Reading(
        turned_queries[0],
        torch.cat(parts, dim=2),
        torch.cat(taken, dim=2),
        torch.cat(masks, dim=-1),
        source if index is None else index[..., source],
    )


def _mask(allowed: Tensor | None, query: Tensor, num_kv_heads: int, inner: str) -> Tensor | None:
    """The form the attention in force reads: bool for sdpa, an additive mask for eager."""
    if allowed is None:
        return None
    if query.shape[2] == 1 and bool(allowed.all()):
        return None
    if allowed.shape[1] > 1:
        allowed = allowed.repeat_interleave(query.shape[1] // num_kv_heads, dim=1)
    if inner != "eager":
        return allowed
    return torch.zeros(allowed.shape, dtype=query.dtype, device=query.device).masked_fill_(
        ~allowed, torch.finfo(query.dtype).min
    )


def attention_weights(
    queries: Tensor, keys: Tensor, allowed: Tensor | None, scaling: float, softcap: float | None = None
) -> Tensor:
    """[B, Hq, Q, m] float32 probabilities; allowed [B|1, Hq|H|1, Q, m]."""
    groups = queries.shape[1] // keys.shape[1]
    scores = torch.matmul(queries, keys.repeat_interleave(groups, dim=1).transpose(2, 3)).float() * scaling
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if allowed is not None:
        if allowed.shape[1] > 1:
            allowed = allowed.repeat_interleave(queries.shape[1] // allowed.shape[1], dim=1)
        scores = scores.masked_fill(~allowed, float("-inf"))
    return scores.softmax(dim=-1).nan_to_num()


def _received(reading: Reading, length: int, scaling: float, kwargs: dict[str, Any]) -> Tensor:
    """[B, Hq, n] probability summed over this forward's queries, put back to the held entries."""
    if kwargs.get("s_aux") is not None:
        raise CallError("attention with learned sinks does not show the probabilities this recipe needs")
    num_queries = reading.queries.shape[2]
    allowed = reading.allowed
    if allowed is None and num_queries > 1:
        allowed = torch.ones(num_queries, num_queries, dtype=torch.bool, device=reading.keys.device).tril()[None, None]
    total = torch.zeros(*reading.queries.shape[:2], reading.keys.shape[2], device=reading.keys.device)
    for start in range(0, num_queries, QUERY_BLOCK):
        rows = slice(start, start + QUERY_BLOCK)
        part = None if allowed is None else allowed[:, :, rows]
        weights = attention_weights(reading.queries[:, :, rows], reading.keys, part, scaling, kwargs.get("softcap"))
        total += weights.sum(dim=2)
    if reading.source is None:
        return total
    source = reading.source
    if source.dim() == 3 and source.shape[1] > 1:
        source = source.repeat_interleave(total.shape[1] // source.shape[1], dim=1)
    return torch.zeros(*total.shape[:2], length, device=total.device).scatter_add_(-1, source.expand_as(total), total)
