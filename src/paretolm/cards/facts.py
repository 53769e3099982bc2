"""What a model is, before anything is measured."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bench.workers.facts import model_facts
from ..bridge.content import weight_files
from ..evaluation.streams import separator

if TYPE_CHECKING:
    from ..bridge.lm import LM

RUN_MODEL = "model"  # what `paretolm train` calls the directory of the weights


def facts(lm: LM) -> dict[str, Any]:
    """Shape, precision and hashes; nothing of the machine it was read on."""
    known = model_facts(lm)
    kept = ("content", "architecture", "parameters", "layers", "trained_length", "rope", "dtype")
    first, config = lm.view.layers[0], lm.model.config.get_text_config()
    return {
        "name": short_name(lm.name),
        **{key: known[key] for key in kept},
        "width": lm.view.hidden_size,
        "heads": first.num_heads,
        "kv_heads": first.num_kv_heads,
        "head_width": first.key_dim,
        "feed_forward": getattr(config, "intermediate_size", None),
        "vocabulary": lm.view.vocab_size,
        "tied": bool(getattr(config, "tie_word_embeddings", False)),
        "file_bytes": None if lm.path is None else sum(f.stat().st_size for f in weight_files(Path(lm.path))),
        "tokenizer": tokenizer_hash(lm.tokenizer),
        "first_token": _first_token(lm.tokenizer),
    }


def short_name(name: str) -> str:
    """A directory's own name, of the model of a training run that of the run; a hub id as it is."""
    if not Path(name).is_dir():
        return name
    place = Path(name).resolve()
    return place.parent.name if place.name == RUN_MODEL else place.name


def _first_token(tokenizer: Any) -> str | None:
    """The word of what begins a text."""
    ids = [] if tokenizer is None else separator(tokenizer, first=True)
    return tokenizer.convert_ids_to_tokens(ids[0]) if ids else None


def tokenizer_hash(tokenizer: Any) -> str | None:
    """sha256 over all entries with their numbers: equal where two models read the same tokens."""
    if tokenizer is None:
        return None
    return hashlib.sha256(json.dumps(tokenizer.get_vocab(), sort_keys=True).encode()).hexdigest()
