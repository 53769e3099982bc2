"""Putting parts into a model's modules, and putting back the very objects they displaced."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from ..contracts import BlockPart, FrequencyPart, TokensPart
from .rope import buffer_name, scaling_name

Undo = Callable[[], None]
_MISSING = object()
_POSITIONS = re.compile(r"(?:^|\.)(?:wpe|\w*position\w*)$")


def swap_module(model: nn.Module, path: str, new: nn.Module) -> Undo:
    """`new` stands at `path`; every parent that holds the old object under another name keeps it."""
    parent_path, _, name = path.rpartition(".")
    parent = model.get_submodule(parent_path)
    old = parent._modules[name]
    parent._modules[name] = new

    def undo() -> None:
        parent._modules[name] = old

    return undo


def wrap_forward(model: nn.Module, path: str, part: BlockPart) -> Undo:
    """`part` runs in place of the module's forward; wrapped again, the later part is the outer one."""
    module = model.get_submodule(path)
    before = module.__dict__.get("forward", _MISSING)
    inner = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        return part.forward(inner, *args, **kwargs)

    module.__dict__["forward"] = forward

    def undo() -> None:
        if before is _MISSING:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = before

    return undo


def set_frequency(model: nn.Module, path: str, part: FrequencyPart) -> Undo:
    """Other radians per position for the full-attention layers, until undone."""
    module = model.get_submodule(path)
    buffer = buffer_name(module)
    assert buffer is not None, f"no rotary frequencies at {path}"
    scaling = scaling_name(buffer)
    old, old_scaling = module._buffers[buffer], getattr(module, scaling, 1.0)
    new = part.inv_freq(old.detach().clone())  # type: ignore[union-attr]
    new_scaling = part.attention_factor(float(old_scaling))
    module._buffers[buffer] = new
    had_scaling = hasattr(module, scaling)
    setattr(module, scaling, new_scaling)

    def undo() -> None:
        module._buffers[buffer] = old
        if had_scaling:
            setattr(module, scaling, old_scaling)
        else:
            delattr(module, scaling)

    return undo


def set_attention(model: nn.Module, name: str) -> Undo:
    """The attention implementation of every config in the model; modules read it at each forward."""
    configs = {id(c): c for c in (getattr(m, "config", None) for m in model.modules()) if c is not None}
    old = {key: config._attn_implementation_internal for key, config in configs.items()}
    for config in configs.values():
        config._attn_implementation_internal = name

    def undo() -> None:
        for key, config in configs.items():
            config._attn_implementation_internal = old[key]

    return undo


def set_embeddings(model: PreTrainedModel, part: TokensPart) -> Undo:
    """Embedding rows for another vocabulary; a tied output embedding follows its input."""
    inputs, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = head is not None and head.weight is inputs.weight
    weight = nn.Parameter(part.embedding(inputs.weight.detach()), requires_grad=False)
    config = model.config.get_text_config()
    old_size, old = config.vocab_size, [(m, m._parameters["weight"]) for m in (inputs, head) if m is not None]
    inputs._parameters["weight"] = weight
    if head is not None:
        new = weight if tied else nn.Parameter(part.embedding(head.weight.detach()), requires_grad=False)
        head._parameters["weight"] = new
    config.vocab_size = weight.shape[0]

    def undo() -> None:
        for module, parameter in old:
            module._parameters["weight"] = parameter
        config.vocab_size = old_size

    return undo


def num_positions(base: nn.Module, config: Any) -> int | None:
    """How many positions a model has learnt vectors for; None where positions are computed."""
    learnt = any(isinstance(m, nn.Embedding) and _POSITIONS.search(name) for name, m in base.named_modules())
    return int(config.max_position_embeddings) if learnt and hasattr(config, "max_position_embeddings") else None
