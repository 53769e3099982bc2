"""Which files a model directory consists of, and the hash of their contents. Needs neither torch nor transformers."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelError

CONFIG = "config.json"
EXPORTED = "paretolm.json"  # what `export` adds beside a config
VARIANT = "paretolm"  # in the names of weights only we can rebuild, so that no other loader fills the gaps at random
_NAMES = ("model.{}safetensors", "model.safetensors.index.{}json")
WEIGHTS, INDEX = (name.format("") for name in _NAMES)
OWN_WEIGHTS, OWN_INDEX = (name.format(VARIANT + ".") for name in _NAMES)
SMALL_FILES = (
    CONFIG,
    EXPORTED,
    "generation_config.json",
    INDEX,
    OWN_INDEX,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "chat_template.jinja",
    "adapter_config.json",
)
_TOKENIZER = (
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
)
_TOKENIZER_CONFIG = "tokenizer_config.json"
_TEMPLATES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates/*.jinja")
_TICK_NS = 20_000_000  # two writes this near to one another may leave the same times behind
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a model directory; ModelError where there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ModelError(f"{path.parent} holds no {path.name}; a model directory has one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    if not text.strip():
        raise ModelError(f"{path} is empty; copy or download the model again")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON ({error}); copy or download the model again") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path} must hold a JSON object, not a {type(value).__name__}")
    return value


def index_file(directory: Path) -> Path | None:
    """The index of a checkpoint in several files."""
    return next((p for p in (directory / OWN_INDEX, directory / INDEX) if p.exists()), None)


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a checkpoint: those of its index, or the one file."""
    index = index_file(directory)
    if index is None:
        single = next((p for p in (directory / OWN_WEIGHTS, directory / WEIGHTS) if p.is_file()), None)
        if single is None:
            raise ModelError(_no_weights(directory))
        return [single]
    names = shard_names(index)
    missing = [name for name in names if not (directory / name).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelError(f"{directory} lacks the file {missing[0]}{more} that its index names; download it again")
    return [directory / name for name in names]


def shard_names(index: Path) -> list[str]:
    """The files an index names, all of them beside it."""
    mapping = read_json(index).get("weight_map")
    if not isinstance(mapping, dict) or not mapping or not all(isinstance(v, str) for v in mapping.values()):
        raise ModelError(f"{index} has no weight_map of tensor names to files; copy or download the model again")
    names = sorted(set(mapping.values()))
    for name in names:
        if name != Path(name).name or "\\" in name or not name.endswith(".safetensors"):
            raise ModelError(f"{index} names {name!r}, which is not a safetensors file beside it; not followed")
    return names


def first_line(error: BaseException) -> str:
    """What another library's error says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _no_weights(directory: Path) -> str:
    names = sorted(p.name for p in directory.iterdir())
    pickles = [n for n in names if n.endswith(_PICKLES)]
    if pickles:
        return (
            f"{directory} has its weights only as a pickle ({pickles[0]}), which can run code when opened; "
            "get a safetensors version, or convert it where you trust it (save_pretrained writes safetensors)"
        )
    gguf = [n for n in names if n.endswith(".gguf")]
    if gguf:
        return f"{directory} has its weights as GGUF ({gguf[0]}); a safetensors checkpoint is needed"
    return f"{directory} holds no weights ({WEIGHTS}, or {INDEX} with its files)"


def content_hash(directory: Path) -> str:
    """sha256 over names and contents of config, tokenizer and weights. Large files are hashed once per version."""
    files = [directory / name for name in SMALL_FILES if (directory / name).is_file()]
    return _digest([*files, *weight_files(directory)])


@dataclass(frozen=True)
class Contents:
    """Hashes of what a model directory consists of, each of which can change alone.

    model: weights and configurations; template: how conversations are written, empty where nothing says it."""

    model: str
    tokenizer: str
    template: str


def contents(directory: Path) -> Contents:
    """What a measurement on this directory depends on. A chat template inside the tokenizer's configuration is part
    of the template, not of the tokenizer. Raises ModelError."""
    apart = {*_TOKENIZER, _TOKENIZER_CONFIG, *_TEMPLATES}
    models = [directory / name for name in SMALL_FILES if name not in apart and (directory / name).is_file()]
    tokenizers = [directory / name for name in _TOKENIZER if (directory / name).is_file()]
    templates = sorted(f for pattern in _TEMPLATES for f in directory.glob(pattern))
    config = directory / _TOKENIZER_CONFIG
    settings = read_json(config) if config.is_file() else {}
    template = settings.pop("chat_template", None)
    return Contents(
        _digest([*models, *weight_files(directory)]),
        _digest(tokenizers, settings or None),
        _digest(templates, template) if templates or template else "",
    )


def _digest(files: list[Path], more: Any = None) -> str:
    """sha256 over names and contents, and over a value that JSON can hold."""
    digest = hashlib.sha256(b"" if more is None else json.dumps(more, sort_keys=True).encode())
    for path, file_hash in zip(files, _hashes(files), strict=True):
        digest.update(f"{path.name} {file_hash}\n".encode())
    return digest.hexdigest()


def _hashes(files: list[Path]) -> list[str]:
    known = FileFacts()
    hashes = []
    for path in files:
        value = known.get(path, "sha256")
        if value is None:
            with path.open("rb") as stream:
                value = hashlib.file_digest(stream, "sha256").hexdigest()
            known.set(path, "sha256", value)
        hashes.append(str(value))
    known.save()
    return hashes


def cache_directory() -> Path:
    """$PARETOLM_HOME, else paretolm in the user's cache: what can be computed again."""
    home = os.environ.get("PARETOLM_HOME")
    if home:
        return Path(home)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "paretolm"


class FileFacts:
    """What was found out about files, good until their size or times change; kept in hashes.json.

    Several processes may write at once: the last one wins, and what is lost is computed again.
    """

    def __init__(self) -> None:
        self.path = cache_directory() / "hashes.json"
        self._changed: dict[str, dict[str, object]] = {}
        self._known = self._read()

    def get(self, path: Path, fact: str) -> object:
        return self._known.get(_key(path), {}).get(fact)

    def set(self, path: Path, fact: str, value: object) -> None:
        """Not of a file written this moment: what is written next might not show in its times."""
        status = path.stat()
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < _TICK_NS:
            return
        key = _key(path)
        self._known.setdefault(key, {})[fact] = value
        self._changed[key] = self._known[key]

    def save(self) -> None:
        """Atomic; a cache that cannot be written costs time, not the run."""
        if not self._changed:
            return
        known = self._read()
        for key, facts in self._changed.items():
            known[key] = {**known.get(key, {}), **facts}
        with suppress(OSError):
            write_atomic(self.path, json.dumps(known, indent=0, sort_keys=True))
        self._changed = {}

    def _read(self) -> dict[str, dict[str, object]]:
        try:
            value = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) and all(isinstance(v, dict) for v in value.values()) else {}


def _key(path: Path) -> str:
    """ctime too, which no copy or touch can set back."""
    real = path.resolve()
    status = real.stat()
    return f"{real} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def write_atomic(path: Path, text: str) -> None:
    """The whole text or what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
