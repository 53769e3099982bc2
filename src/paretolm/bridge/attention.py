"""Our attention function: what the model's modules call in place of the attention in force, and how it calls that."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ..contracts import AttendByBlock, AttendChoose, AttendCompute, AttendSelect, Attention, Held, LayerInputs, Step
from ..contracts.step import current_step
from . import reading
from .layer import Handle, HeldLayer
from .masking import beyond_causality
from .parts import HeldUpTo
from .reading import InForce
from .view import OWN_ATTENTION


class Stop(Exception):
    """Ends a forward at the layer whose attention inputs were wanted."""


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
        force.stopped.append(LayerInputs(query, key, scale, value))
        raise Stop
    if force is not None and force.instead is not None and module.layer_idx in force.instead_at:
        output = _instead(force.instead, module.layer_idx, (query, key, value), Call(inner, force, scale, kwargs))
        if output is not None:
            return output.transpose(1, 2).contiguous(), None
    if not isinstance(key, Handle) or force is None:
        return inner(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    layer, step = key.layer, current_step()
    layer.view.turn = force.turn
    attended = _attend(layer, module, query, Call(inner, force, scale, kwargs), step)
    layer.observe(query, step.positions, scale, step)
    layer.settle(step)
    return attended


@dataclass(frozen=True)
class Call:
    """The attention in force and what this call hands to it."""

    inner: Callable[..., Any]
    force: InForce
    scaling: float
    kwargs: dict[str, Any]

    @property
    def plain(self) -> bool:
        """Softmax of scaled products, and nothing else."""
        return self.kwargs.get("softcap") is None and self.kwargs.get("s_aux") is None


def inner_function(module: nn.Module, name: str) -> Callable[..., Any]:
    """The attention implementation `name` as this module's model file resolves it."""
    own = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    return ALL_ATTENTION_FUNCTIONS.get_interface(name, own)


def _instead(instead: Attention, layer: Any, given: tuple[Tensor, Tensor, Tensor], call: Call) -> Tensor | None:
    return instead(layer, *given, call.scaling) if call.plain else None


def _attend(layer: HeldLayer, module: nn.Module, query: Tensor, call: Call, step: Step) -> tuple[Tensor, Any]:
    """[B, Q, Hq, D] and what the attention in force gives beside it."""
    readings: list[Iterable[reading.Reading]] = []
    for own, view, part in _blocks(layer, query, step):
        found = _chosen(layer, own, view, call, part)
        if found.output is not None:
            return found.output.transpose(1, 2).contiguous(), None
        readings.append(reading.plan(layer, own, found.index, found.mask, call.force, part))
    every: Iterable[reading.Reading] = chain.from_iterable(readings)
    if layer.parts.observe.received:
        every = all_readings = list(every)
        layer.receive(reading.received(all_readings, layer.length, call.scaling, call.kwargs))
    outputs = [
        call.inner(
            module,
            r.queries,
            r.keys,
            r.values,
            reading.mask(r, call.force.inner),
            scaling=call.scaling,
            **call.kwargs,
        )
        for r in every
    ]
    if len(outputs) == 1:
        return outputs[0]
    return torch.cat([output for output, _ in outputs], dim=1), None


def _blocks(layer: HeldLayer, query: Tensor, step: Step) -> Iterator[tuple[Tensor, Held, Step]]:
    """Queries that share one selection, what is held up to the last of them, and their part of the step."""
    num = step.num_queries
    size = min((p.block for p in layer.parts.attend if isinstance(p, AttendByBlock)), default=num)
    if size >= num:
        yield query, layer.view, step
        return
    for start in range(0, num, size):
        rows = slice(start, min(start + size, num))
        ids = None if step.ids is None else step.ids[:, rows]
        part = replace(step, ids=ids, positions=step.positions[:, rows], seen=step.seen + start)
        yield query[:, :, rows], HeldUpTo(layer.view, layer.length - num + rows.stop, part.seen), part


@dataclass(frozen=True)
class Chosen:
    """What ATTEND parts answer: the result itself, indices [B|1, H|1, m], or a mask [B|1, H|1, Q, n]."""

    output: Tensor | None = None
    index: Tensor | None = None
    mask: Tensor | None = None


def _chosen(layer: HeldLayer, query: Tensor, held: Held, call: Call, step: Step) -> Chosen:
    index = mask = None
    for part in layer.parts.attend:
        if isinstance(part, AttendCompute) and layer.parts.index is None and call.plain:
            allowed = partial(beyond_causality, layer, step, held.positions, part)
            output = part.compute(query, held, allowed, call.scaling, step)
            if output is not None:
                return Chosen(output)
        if isinstance(part, AttendSelect) and not (isinstance(part, AttendChoose) and step.num_queries > 1):
            index = part.select(query, held, step)
        elif isinstance(part, AttendChoose):
            mask = part.choose(query, held, step)
    if index is None and held.length < layer.length:
        index = torch.arange(held.length, device=query.device)[None, None]
    return Chosen(index=index, mask=mask)
