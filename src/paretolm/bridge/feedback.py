"""What waits for the end of a forward: KEEP parts that decide by its logits, or by what tokens to come would look for."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from ..contracts import Moment, ProbingPart, Step
from .cache import HeldCache

if TYPE_CHECKING:
    from .binding import Binding


def settle_waiting(binding: Binding, cache: HeldCache, step: Step, output: Any) -> None:
    """Settles the layers whose KEEP part waited for the end of the forward `step`; output has its logits."""
    waiting = [layer for layer in cache.held_layers.values() if layer.due is not None]
    asking = [layer.parts.keep for layer in waiting if layer.parts.observe.probe]
    if asking:
        ids = cast(ProbingPart, asking[0]).probe(cache.prompt, step)
        if ids is not None:
            _probe(binding, cache, ids.expand(waiting[0].rows, -1))
    for layer in waiting:
        layer.settle_due(output.logits)


@torch.no_grad()
def _probe(binding: Binding, cache: HeldCache, ids: Tensor) -> None:
    """Reads ids [B, w] as if they came next and takes them back; only what parts observed of them stays."""
    native = {i: copy(layer) for i, layer in enumerate(cache.layers) if i not in cache.held_layers}
    before = binding.hidden, binding.last_step
    with binding.at(Moment.VERIFY):
        binding.base(input_ids=ids.to(binding.model.device), past_key_values=cache, use_cache=True)
    assert binding.last_step is not None
    for layer in cache.held_layers.values():
        layer.commit([], binding.last_step)
    for index, own in native.items():
        cache.layers[index] = own
    binding.hidden, binding.last_step = before
