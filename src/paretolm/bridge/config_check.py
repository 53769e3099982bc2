"""What a config.json must not do, checked before transformers acts on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from ..errors import ModelError, nearest
from .content import CONFIG, read_json

_OTHER_HEADS = re.compile(r"For(?!CausalLM|ConditionalGeneration)[A-Z]\w+")
_KERNEL_KEYS = ("attn_implementation", "experts_implementation")


def check_config(directory: Path, trust_remote_code: bool = False) -> dict[str, Any]:
    """The config of a causal language model that transformers can build with its own code (or with consent)."""
    _refuse_adapter(directory)
    config = read_json(directory / CONFIG)
    if trust_remote_code:
        return config
    _refuse_kernels(directory, config)
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise ModelError(f"{directory / CONFIG} has no model_type, so what it describes is unknown")
    if model_type not in CONFIG_MAPPING_NAMES:
        if "auto_map" in config:
            raise ModelError(
                f"{directory} brings its own model code, which would run on this machine; "
                "pass trust_remote_code=True to paretolm.load if you have read it and trust it"
            )
        hint = nearest(model_type, CONFIG_MAPPING_NAMES)
        hint = hint if hint.startswith("; did") else "; a newer transformers may"
        raise ModelError(f"{directory / CONFIG}: transformers here knows no model_type {model_type!r}{hint}")
    _refuse_other_tasks(directory, config, model_type)
    return config


def _refuse_adapter(directory: Path) -> None:
    if (directory / "adapter_config.json").exists():
        what = "an adapter beside a model" if (directory / CONFIG).exists() else "an adapter without its base model"
        raise ModelError(
            f"{directory} holds {what}; merge it into the base model (peft: merge_and_unload) and load that"
        )


def _refuse_other_tasks(directory: Path, config: dict[str, Any], model_type: str) -> None:
    architectures = config.get("architectures") or []
    names = [str(a) for a in architectures] if isinstance(architectures, list) else []
    other = [a for a in names if _OTHER_HEADS.search(a)]
    if model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or config.get("is_encoder_decoder") is True or other:
        what = other[0] if other else f"a model of type {model_type!r}"
        raise ModelError(f"{directory} holds {what}, not a causal language model")


def _refuse_kernels(directory: Path, config: dict[str, Any]) -> None:
    for key, value in _kernel_names(config):
        if re.search(r"[/:|@]", value):
            raise ModelError(
                f"{directory / CONFIG}: {key} asks for {value!r}, code from elsewhere that would be fetched and run; "
                "remove the key, or pass trust_remote_code=True to paretolm.load if you trust it"
            )


def _kernel_names(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every string under a key that chooses an implementation, in nested configs too."""
    if isinstance(value, dict):
        for name, inner in value.items():
            inside = key or (name if any(k in name for k in _KERNEL_KEYS) else "")
            yield from _kernel_names(inner, inside)
    elif isinstance(value, list):
        for inner in value:
            yield from _kernel_names(inner, key)
    elif key and isinstance(value, str):
        yield key, value
