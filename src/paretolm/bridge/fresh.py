"""Models made, written and read back by the trainer: fresh weights from a config, directories that load like any."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from ..errors import ModelError
from .content import first_line
from .loading import quiet

Model = PreTrainedModel
"""What the trainer calls a model, so that it need not know transformers."""


def new_model(model_type: str, config: Mapping[str, Any], seed: int) -> PreTrainedModel:
    """A causal language model with random float32 weights drawn from `seed`; no global generator is moved.

    Raises ModelError where transformers does not know the type or refuses the config."""
    try:
        with torch.random.fork_rng(devices=[]), quiet():
            torch.manual_seed(seed)
            made = AutoConfig.for_model(model_type, **config)
            return AutoModelForCausalLM.from_config(made, dtype=torch.float32, attn_implementation="sdpa")
    except Exception as error:  # configs are checked by many hands in transformers, each with its own error
        raise ModelError(f"no model of type {model_type!r} can be made of this config: {first_line(error)}") from error


def write_model(model: PreTrainedModel, directory: Path, stored: torch.dtype | None = None) -> None:
    """config.json and model.safetensors in `directory`.

    stored: dtype of the numbers in the file, by default the model's own; the model loads in its own either way."""
    tied = set(model.all_tied_weights_keys)
    tensors = {name: t for name, t in model.state_dict().items() if name not in tied}
    if stored is not None:
        tensors = {name: t.to(stored) if t.is_floating_point() else t for name, t in tensors.items()}
    with quiet():
        model.save_pretrained(directory, state_dict=tensors)
    shutil.copymode(directory / "config.json", directory / "model.safetensors")  # safetensors lets nobody else read


def read_weights(model: PreTrainedModel, directory: Path) -> None:
    """Weights written by `write_model` into a model of the same config, tied ones included."""
    tensors: dict[str, Tensor] = load_file(directory / "model.safetensors")
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    tied = set(model.all_tied_weights_keys)
    if unexpected or set(missing) - tied:
        raise ModelError(f"{directory} does not hold the weights of this architecture: begin a new run elsewhere")
