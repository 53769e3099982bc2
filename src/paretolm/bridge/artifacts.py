"""Fitted artifacts on disk: one safetensors file each, found again by model, method and text."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..contracts import Artifact
from ..errors import FitError

IDENTITY = ("model", "method", "data")


def artifacts_directory() -> Path:
    """$PARETOLM_HOME/artifacts, else paretolm/artifacts in the user's cache."""
    home = os.environ.get("PARETOLM_HOME")
    if home:
        return Path(home) / "artifacts"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "paretolm" / "artifacts"


def artifact_key(model_hash: str, method: str, data_hash: str) -> str:
    """The file's name. method is the canonical line of the method, all knobs spelled out."""
    return hashlib.sha256("\n".join((model_hash, method, data_hash)).encode()).hexdigest()


def save_artifact(artifact: Artifact, model_hash: str, method: str, data_hash: str) -> Path:
    """Writes the artifact whole or not at all, and replaces an earlier one of the same key."""
    directory = artifacts_directory()
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / f"{artifact_key(model_hash, method, data_hash)}.safetensors"
    identity = dict(zip(IDENTITY, (model_hash, method, data_hash), strict=True))
    metadata = {**identity, "facts": json.dumps(dict(artifact.facts), sort_keys=True)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in artifact.tensors.items()}
    descriptor, partial = tempfile.mkstemp(dir=directory, suffix=".partial")
    os.close(descriptor)
    try:
        save_file(tensors, partial, metadata)
        os.replace(partial, target)
    except BaseException:
        os.unlink(partial)
        raise
    return target


def load_artifact(model_hash: str, method: str, data_hash: str | None = None) -> Artifact:
    """The artifact fitted for this model and method, on this text or, without data_hash, on whichever came last.

    Raises FitError where there is none, or where a file is not what its name says."""
    if data_hash is None:
        path = _newest(model_hash, method)
    else:
        path = artifacts_directory() / f"{artifact_key(model_hash, method, data_hash)}.safetensors"
    if path is None or not path.exists():
        raise FitError(
            f"{method} needs something fitted on text first{_nearest_miss(model_hash, method)}; {_cure(method)}"
        )
    return _read(path, model_hash, method)


def _cure(method: str) -> str:
    return f"run `paretolm fit MODEL -m '{method}' --text PATH`"


def _read(path: Path, model_hash: str, method: str) -> Artifact:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = json.loads(metadata["facts"])
        key = artifact_key(*(metadata[part] for part in IDENTITY))
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise FitError(f"the artifact {path} cannot be read ({error}); delete it and {_cure(method)} again") from error
    if key != path.stem or (metadata["model"], metadata["method"]) != (model_hash, method):
        raise FitError(
            f"the artifact {path} was fitted for {metadata['method']} on another model or text; "
            f"delete it and {_cure(method)} again"
        )
    return Artifact(tensors, facts)


def _identities() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every readable artifact with its metadata."""
    for path in sorted(artifacts_directory().glob("*.safetensors")):
        with suppress(SafetensorError, OSError), safe_open(path, framework="pt") as file:
            yield path, file.metadata() or {}


def _newest(model_hash: str, method: str) -> Path | None:
    wanted = (model_hash, method)
    found = [path for path, facts in _identities() if (facts.get("model"), facts.get("method")) == wanted]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def _nearest_miss(model_hash: str, method: str) -> str:
    """What was fitted instead, for the message."""
    name = method.partition("(")[0]
    others = [facts for _, facts in _identities() if facts.get("method", "").partition("(")[0] == name]
    here = sorted(facts["method"] for facts in others if facts.get("model") == model_hash)
    if here:
        return f" (fitted for this model: {', '.join(dict.fromkeys(here))})"
    return f" ({name} was fitted only for another model)" if others else ""
