"""From the name a user typed to a directory. The network is touched for a hub id only, and torch is not needed."""

from __future__ import annotations

import re
from pathlib import Path

from .. import reference
from ..errors import ModelError, nearest
from .content import OWN_WEIGHTS, SMALL_FILES, WEIGHTS, first_line, index_file, shard_names

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def locate(name: str, *, revision: str | None = None, code: bool = False) -> Path:
    """The directory of a model: embedded ('reference'), a path, or a hub id, which is then downloaded.

    code: also fetch the Python files of a hub repository (for trust_remote_code).
    """
    if name in reference.names():
        return reference.model_path(name)
    if not name.strip():
        raise ModelError("no model is named; give a directory, a hub id (org/name) or 'reference'")
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise ModelError(f"{name} is a file; give the directory that holds config.json and the weights")
    if _HUB_ID.fullmatch(name) and not path.parent.is_dir():
        return _download(name, revision, code)
    if "/" in name or "\\" in name:
        raise ModelError(f"there is no directory {name}")
    hint = nearest(name, reference.names())
    raise ModelError(f"{name!r} is neither a directory nor a hub id (org/name){hint}")


def _download(name: str, revision: str | None, code: bool) -> Path:
    """Small files first: they say which weight files there are, so that nothing is fetched twice."""
    small = [*SMALL_FILES, *(["*.py"] if code else [])]
    directory = _snapshot(name, revision, small)
    index = index_file(directory)
    weights = shard_names(index) if index else [WEIGHTS, OWN_WEIGHTS]
    return _snapshot(name, revision, [*small, *weights])


def _snapshot(name: str, revision: str | None, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except RepositoryNotFoundError:
        raise ModelError(f"{name!r} is no directory here, and the hub has no such public model") from None
    except LocalEntryNotFoundError:
        raise ModelError(
            f"{name!r} is no directory here nor in the hub's cache, and the hub cannot be reached "
            "(or HF_HUB_OFFLINE is set)"
        ) from None
    except Exception as error:  # the client's errors share no base; all of them are about this name
        raise ModelError(f"{name!r} could not be fetched from the hub: {first_line(error)}") from error
