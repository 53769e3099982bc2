"""Whether the tensors of a checkpoint are those of its config: what a loader would convert or leave out in silence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .content import CONFIG, EXPORTED, index_file, read_json, weight_files
from .safetensors_check import Entry, read_header

_WHOLE_NUMBERS = ("U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64")
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")
_DEPTHS = ("num_hidden_layers", "n_layer", "num_layers")
_AHEAD = "num_nextn_predict_layers"  # layers that only guess further tokens stand behind the last one


def check_weights(directory: Path) -> None:
    """Headers of all files, that together they hold what an index promises, and that they are numbers of the model.
    Raises ModelError."""
    headers = {path.name: read_header(path) for path in weight_files(directory)}
    index = index_file(directory)
    for tensor, file in read_json(index)["weight_map"].items() if index else ():
        if tensor not in headers[file]:
            raise ModelError(f"{index} promises {tensor} in {file}, which does not hold it; download it again")
    if not (directory / EXPORTED).exists():  # there a method rebuilds what it packed
        _refuse_packed(directory, [entry for header in headers.values() for entry in header.values()])


def _refuse_packed(directory: Path, entries: Iterable[Entry]) -> None:
    """Matrices of whole numbers mean something only by the scales that a quantization config tells of."""
    packed = next((e for e in entries if e.dtype in _WHOLE_NUMBERS and e.name.endswith(".weight")), None)
    if packed is not None and "quantization_config" not in read_json(directory / CONFIG):
        raise ModelError(
            f"{directory} holds {packed.name} as whole numbers ({packed.dtype}), and {CONFIG} has no "
            "quantization_config that says what they stand for; take the checkpoint before it was packed"
        )


def check_loaded(directory: Path, config: Any, info: Mapping[str, Any]) -> None:
    """What transformers reports of loading: nothing is left to chance, of another shape, or left out in silence."""
    missing = sorted(info["missing_keys"])
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelError(f"{directory} lacks the weights {missing[0]}{more}, which would be left to chance")
    for name, found, wanted in sorted(info["mismatched_keys"]):
        raise ModelError(
            f"{directory} cannot be loaded: {name} has the shape {list(found)} in its file, and {CONFIG} makes it "
            f"{list(wanted)}; they do not belong together"
        )
    _refuse_left_out(directory, config, sorted(info["unexpected_keys"]))


def _refuse_left_out(directory: Path, config: Any, names: Iterable[str]) -> None:
    text = config.get_text_config()
    depth = next((n for key in _DEPTHS if isinstance(n := getattr(text, key, None), int)), None)
    ahead = int(getattr(text, _AHEAD, 0) or 0)
    for name in names:
        if ".lora_" in name:
            raise ModelError(
                f"{directory} holds an adapter among its weights ({name}), which would be left out; merge it into the "
                "base model (peft: merge_and_unload) and load that"
            )
        layer = _LAYER.search(name)
        if depth is not None and layer and int(layer[1]) >= depth + ahead:
            raise ModelError(
                f"{directory} holds {name}, and {CONFIG} has {depth} layers, so it would be left out; "
                f"mend {CONFIG} or take the weights that belong to it"
            )
