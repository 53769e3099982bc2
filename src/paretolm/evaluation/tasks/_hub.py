"""Rows of a data set on a hub, or in any form that the `datasets` library reads. Loaded only where it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import TextError

PREFIX = "hub:"


def hub_rows(
    name: str, config: str | None, split: str, options: Mapping[str, Any] | None = None
) -> tuple[list[dict[str, Any]], tuple[Path, ...]]:
    """The rows of a split, and the files they lie in on this machine. Raises TextError."""
    try:
        import datasets
    except ImportError:
        raise TextError(
            f"{name} is read with the datasets library: pip install 'paretolm[hub]' first, or give a file of JSON lines"
        ) from None
    where = f"{name}{f' ({config})' if config else ''}, split {split}"
    try:
        found = datasets.load_dataset(name, config, split=split, **(options or {}))
    except Exception as error:  # what it raises depends on the builder, the hub and the network
        told = " ".join(str(error).split())[:200] or type(error).__name__
        raise TextError(f"{where} cannot be loaded: {told}") from None
    files = tuple(Path(f["filename"]) for f in getattr(found, "cache_files", ()))
    return [dict(row) for row in found], files
