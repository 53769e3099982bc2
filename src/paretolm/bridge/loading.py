"""Loading a causal language model from a directory, the hub or the package; every refusal is one sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as hf_logging

from .. import reference
from ..errors import ModelError, nearest
from .config_check import check_config
from .content import EXPORTED, VARIANT, content_hash, first_line, read_json
from .lm import LM
from .locate import locate
from .weight_check import check_loaded, check_weights

Rebuild = Callable[[Mapping[str, Any]], nn.Module]
"""From the record of a module that a method put in for good to an empty module of that kind."""

EXPORT_FORMAT = 1
_DTYPES = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "float16": torch.float16,
    "fp16": torch.float16,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


def load_lm(
    name: str,
    *,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    attn_implementation: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    mapped: bool = False,
    rebuild: Rebuild | None = None,
) -> LM:
    """The model `name`: 'reference' (embedded), a directory, or a hub id.

    dtype: as the config says unless given. mapped: leave the weights as pages of the file (they then count as
    file cache, not as memory of this process); else they are copied, one tensor at a time. rebuild: how to make
    the modules of an exported model; `paretolm.load` passes it.
    """
    directory = locate(name, revision=revision, code=trust_remote_code)
    check_config(directory, trust_remote_code)
    check_weights(directory)
    exported = _read_export(directory, rebuild)
    options = {
        "dtype": as_dtype(dtype),
        "attn_implementation": _attention(attn_implementation, trust_remote_code),
        "trust_remote_code": trust_remote_code,
        "local_files_only": True,
    }
    with quiet():
        tokenizer = _load_tokenizer(directory, trust_remote_code)
        model = _load_model(directory, options, exported.get("modules", {}), rebuild)
    _check_vocabulary(model, tokenizer, directory)
    _check_finite(model, directory)
    if not mapped:
        own_memory(model)
    return LM(
        model=model if device is None else to_device(model, device),
        tokenizer=tokenizer,
        name=name,
        path=str(directory),
        content_hash=content_hash(directory),
        text=reference.text_path() if name in reference.names() else None,
        **_carried(exported),
    )


def _carried(exported: Mapping[str, Any]) -> dict[str, Any]:
    """What an exported directory says of itself, as fields of LM."""
    facts = {"notes": "notes", "counters": "counters", "replaced": "modules"}
    lines = {"recipe_in_force": "in_force", "recipe_left": "left"}
    return {name: dict(exported.get(key, {})) for name, key in facts.items()} | {
        name: str(exported.get(key, "")) for name, key in lines.items()
    }


def as_dtype(dtype: str | torch.dtype | None) -> str | torch.dtype:
    if dtype is None or dtype == "auto":
        return "auto"
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in _DTYPES:
        raise ModelError(f"unknown dtype {dtype!r}{nearest(dtype, ['auto', *_DTYPES])}")
    return _DTYPES[dtype]


def _attention(name: str | None, trust_remote_code: bool) -> str | None:
    if name is not None and "/" in name and not trust_remote_code:
        raise ModelError(
            f"attention {name!r} is code from a hub; pass trust_remote_code=True to paretolm.load if you trust it"
        )
    return name


def _read_export(directory: Path, rebuild: Rebuild | None) -> dict[str, Any]:
    """What `export` wrote beside the config; empty for an ordinary model."""
    if not (directory / EXPORTED).exists():
        return {}
    record = read_json(directory / EXPORTED)
    if record.get("format") != EXPORT_FORMAT:
        raise ModelError(
            f"{directory / EXPORTED} has format {record.get('format')!r}, not {EXPORT_FORMAT}; export it again"
        )
    modules = record.get("modules", {})
    if not isinstance(modules, dict) or not all(isinstance(m, dict) for m in modules.values()):
        raise ModelError(f"{directory / EXPORTED} does not say which modules were replaced; export it again")
    if modules and rebuild is None:
        raise ModelError(f"{directory} was exported with a recipe in its weights; open it with paretolm.load")
    return record


def _load_tokenizer(directory: Path, trust_remote_code: bool) -> PreTrainedTokenizerBase | None:
    if not any((directory / name).exists() for name in _TOKENIZER_FILES):
        return None
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(directory), local_files_only=True, trust_remote_code=trust_remote_code
        )
    except Exception as error:  # whatever it raises is about these files
        raise ModelError(f"the tokenizer in {directory} cannot be loaded: {first_line(error)}") from error
    return tokenizer


def _load_model(
    directory: Path, options: dict[str, Any], modules: dict[str, dict[str, Any]], rebuild: Rebuild | None
) -> PreTrainedModel:
    try:
        config = AutoConfig.from_pretrained(
            str(directory), local_files_only=True, trust_remote_code=options["trust_remote_code"]
        )
        loader = AutoModelForCausalLM
        if modules and rebuild:
            loader, options = _with_modules(config, modules, rebuild), {**options, "variant": VARIANT}
        model, info = loader.from_pretrained(
            str(directory),
            config=config,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are named, in `check_loaded`
            **options,
        )
    except ModelError:
        raise
    except Exception as error:  # whatever it raises is about these files
        raise ModelError(f"{directory} cannot be loaded: {first_line(error)}") from error
    check_loaded(directory, config, info)
    if modules:
        model.__class__ = loader.__bases__[0]
    return model


def _with_modules(config: Any, modules: dict[str, dict[str, Any]], rebuild: Rebuild) -> type[PreTrainedModel]:
    """The model's class, built with the modules of an export in place, so that its tensors find their home."""
    base: type[PreTrainedModel] = AutoModelForCausalLM._model_mapping[type(config)]

    def init(self: PreTrainedModel, *args: Any, **kwargs: Any) -> None:
        base.__init__(self, *args, **kwargs)
        for path, record in modules.items():
            try:
                self.get_submodule(path)
            except AttributeError:
                raise ModelError(f"{EXPORTED} replaces {path}, which {base.__name__} does not have") from None
            self.set_submodule(path, rebuild(record))

    return type(base.__name__, (base,), {"__init__": init, "__module__": base.__module__})


def _check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, directory: Path) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if tokenizer is not None and len(tokenizer) > rows:
        raise ModelError(
            f"the tokenizer in {directory} has {len(tokenizer)} tokens, the model embeds {rows}; "
            "they do not belong together"
        )


@torch.no_grad()
def _check_finite(model: PreTrainedModel, directory: Path) -> None:
    for name, tensor in model.state_dict().items():
        if tensor.dtype not in _DTYPES.values() or not tensor.numel():
            continue
        low, high = tensor.aminmax()  # NaN goes through both
        if not (torch.isfinite(low) and torch.isfinite(high)):
            raise ModelError(
                f"{directory}: {name} holds NaN or infinite values in {tensor.dtype}; the weights are damaged"
            )


@torch.no_grad()
def own_memory(model: nn.Module) -> None:
    """Copies every tensor out of the file it is a page of, one at a time; shared tensors stay shared."""
    moved: set[int] = set()
    for module in model.modules():
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None and id(tensor) not in moved:
                moved.add(id(tensor))
                tensor.data = tensor.data.clone()


def to_device(model: PreTrainedModel, device: str | torch.device) -> PreTrainedModel:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise ModelError(f"the model cannot be moved to {device}: {first_line(error)}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bar into a pipe, and no load report beside our own sentence; both as before afterwards."""
    level = hf_logging.get_verbosity()
    bar = hf_logging.is_progress_bar_enabled() and not sys.stderr.isatty()
    hf_logging.set_verbosity_error()
    if bar:
        hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bar:
            hf_logging.enable_progress_bar()
