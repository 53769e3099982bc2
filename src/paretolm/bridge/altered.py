"""A forward of the frozen model with gradients, with something else in some places, for methods that learn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..contracts import Altered
from ..errors import CallError
from . import attention, modules
from .lm import LM
from .reading import InForce
from .view import OWN_ATTENTION, decoder


def altered_forward(lm: LM, ids: Tensor, change: Altered) -> tuple[Tensor, Tensor]:
    """(logits [1, T, V], hidden [1, T, d] after the last norm) of ids [1, T], as part of autograd's graph; nothing of
    the model itself changes or gathers gradients.

    Raises CallError for positions where the model has no rotary embeddings, and for a path that is no matrix."""
    if change.positions is not None and lm.view.rope is None:
        raise CallError(f"{lm.name} has no rotary embeddings, so its positions cannot be other than they are")
    seen: list[Tensor] = []
    given: dict[str, Any] = {"input_ids": ids, "use_cache": False}
    if change.positions is not None:
        given["position_ids"] = change.positions
        given["attention_mask"] = torch.ones_like(ids)  # without it steps other than 1 are taken for a new text each
    handle = decoder(lm.model).register_forward_hook(lambda _module, _args, out: seen.append(out[0]))
    with torch.inference_mode(False), torch.enable_grad(), _in_force(lm, change):
        try:
            logits: Tensor = functional_call(lm.model, _parameters(lm.model, change), kwargs=given).logits
        finally:
            handle.remove()
    return logits, seen[-1]


def _parameters(model: nn.Module, change: Altered) -> dict[str, Tensor]:
    matrices = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    unknown = sorted(set(change.weights) - matrices)
    if unknown:
        raise CallError(f"{unknown[0]} is no matrix of this model")
    frozen = {name: parameter.detach() for name, parameter in model.named_parameters()}
    return frozen | {f"{path}.weight": weight for path, weight in change.weights.items()}


@contextmanager
def _in_force(lm: LM, change: Altered) -> Iterator[None]:
    if change.attention is None:
        yield
        return
    full = frozenset(lm.view.full_layers)
    force = InForce(lm.view.attention, False, None, True, instead=change.attention, instead_at=full)
    with ExitStack() as stack:
        attention.register()
        stack.callback(modules.set_attention(lm.model, OWN_ATTENTION))
        token = attention.enter_attention(force)
        stack.callback(attention.leave_attention, token)
        yield
