"""A run so small that it ends within a second, a text for it, and what is asked of both."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from paretolm.bridge.fresh import Model, new_model
from paretolm.training.contracts import Source
from paretolm.training.planted import NUMBERS, PEOPLE, THINGS, WORDS
from paretolm.training.settings import RunSettings, settings_of
from paretolm.training.tokenizer import special_ids, train_tokenizer
from paretolm.training.tokens import TokenFile
from tests.evaluation.judging import document

TABLE: dict[str, Any] = {
    "name": "tiny",
    "steps": 12,
    "sequence_length": 32,
    "batch_size": 4,
    "micro_batch_size": 2,
    "tokenizer": {"vocab_size": 300},
    "architecture": {
        "name": "llama",
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "intermediate_size": 16,
    },
    "data": {"name": "packed"},
    "objective": {"name": "next-token"},
    "optimizer": {"name": "muon"},
    "schedule": {"name": "warmup-stable-decay"},
    "checkpoints": {"every": 4},
    "validation": {"every": 4, "sequences": 2},
}


def settings(**changes: Any) -> RunSettings:
    """The tiny run; a table given is laid over the one it replaces."""
    laid = {k: {**TABLE.get(k, {}), **v} if isinstance(v, dict) else v for k, v in changes.items()}
    return settings_of({**TABLE, **laid}, "tiny")


def lines(path: Path, documents: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(d) + "\n" for d in documents))
    return path


def text(place: Path, documents: int = 10, first: int = 0) -> Path:
    """A directory with text to train on and to hold out."""
    lines(place / "train.jsonl", [{"text": document(first + i)} for i in range(documents)])
    lines(place / "valid.jsonl", [{"text": document(first + 100 + i)} for i in range(2)])
    return place


def files(place: Path) -> dict[str, bytes]:
    """Everything below a directory."""
    return {str(p.relative_to(place)): p.read_bytes() for p in sorted(place.rglob("*")) if p.is_file()}


def weights(directory: Path) -> dict[str, Tensor]:
    return load_file(directory / "model.safetensors")


@cache
def tokenizer() -> Tokenizer:
    """Learned from sentences like those that are planted, too."""
    said = [sentence for pair in (*NUMBERS, *WORDS) for sentence in pair]
    return train_tokenizer([*(document(i) for i in range(4)), *said, " ".join((*PEOPLE, *THINGS))], 600)


def source(ids: np.ndarray, length: int = 32, seed: int = 0) -> Source:
    """Data orders draw from these ids."""
    file = TokenFile(ids, np.array([len(ids)]), np.array([0]), ("text",))
    special = special_ids(tokenizer())

    def encode(words: str) -> list[int]:
        return list(tokenizer().encode(words, add_special_tokens=False).ids)

    return Source(file, encode, special["bos"], special["eos"], length, seed)


def model(vocab_size: int, length: int = 64, std: float = 0.02, tied: bool = True) -> Model:
    architecture = settings(
        architecture={"initializer_range": std, "tie_word_embeddings": tied, "num_hidden_layers": 2}
    ).architecture
    return new_model("llama", architecture.config(vocab_size, length, {"bos": 0, "eos": 1, "pad": 2}), seed=0).eval()
