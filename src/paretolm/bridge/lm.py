"""LM: a causal language model with its tokenizer, its name and what identifies its contents."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..contracts import ModelView
from .view import model_view


@dataclass(eq=False)
class LM:
    """name is what the user typed; content_hash changes when any weight, the config or the tokenizer does.

    text: evaluation text shipped with an embedded model. recipe_in_force: the recipe line whose methods are
    already in the weights, for good, with what they counted and noted. recipe_left: the line a session of this
    model is to be opened with unless another is asked for (what could not go into the weights).
    replaced: the modules put in for good, by path: which method made each, and its spec.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    name: str
    path: str | None
    content_hash: str
    text: Path | None = None
    recipe_in_force: str = ""
    recipe_left: str = ""
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    replaced: dict[str, dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def view(self) -> ModelView:
        """The untouched model, as methods plan on it."""
        return model_view(self.model, has_tokenizer=self.tokenizer is not None)

    @classmethod
    def from_model(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None, name: str = "") -> LM:
        """A model already in memory."""
        return cls(model, tokenizer, name or type(model).__name__, None, memory_hash(model))


def memory_hash(model: PreTrainedModel) -> str:
    """sha256 over the config and every saved tensor: names, shapes, dtypes, bytes (a meta tensor has no bytes)."""
    digest = hashlib.sha256(json.dumps(model.config.to_dict(), sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if not tensor.is_meta:
            digest.update(raw_bytes(tensor))
    return digest.hexdigest()


def raw_bytes(tensor: Tensor) -> memoryview:
    """The bytes of a tensor in C order, whatever its dtype."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data
