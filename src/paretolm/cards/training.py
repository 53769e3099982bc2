"""How a model was trained, from the directory of its run: settings, and curves thinned to what a picture shows."""

from __future__ import annotations

import statistics
import tomllib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..training.log import read_log

LOG, SETTINGS = "log.jsonl", "run.toml"
POINTS = 200  # of a curve


def training(run: Path) -> dict[str, Any]:
    """Settings (of a path its last part only), the loss as means of neighbouring steps, and bits per byte of held-out
    text. Raises UserError where the directory holds no run."""
    records = read_log(run / LOG)
    steps = [r for r in records if "loss" in r]
    valid = [r for r in records if "valid" in r]
    if not steps:
        raise UserError(f"{run / LOG} has no record with a loss; give the directory that `paretolm train` wrote")
    return {
        "settings": _settings(run / SETTINGS),
        "steps": steps[-1]["step"],
        "tokens": steps[-1].get("tokens"),
        "loss": [[statistics.fmean(r[key] for r in part) for key in ("step", "loss")] for part in _thinned(steps)],
        "valid": [[r["step"], r["valid"]["all"]] for r in valid if "all" in r["valid"]],
        "valid_last": valid[-1]["valid"] if valid else None,
    }


def _settings(path: Path) -> dict[str, Any]:
    """'table.key' -> value."""
    try:
        return _flat(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); give the directory that `paretolm train` wrote") from None


def _flat(table: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = Path(value).name if isinstance(value, str) and "/" in value else value
    return found


def _thinned(records: Sequence[dict[str, Any]]) -> list[Sequence[dict[str, Any]]]:
    """At most POINTS runs of neighbours, as equal in size as can be."""
    count = min(POINTS, len(records))
    borders = [round(i * len(records) / count) for i in range(count + 1)]
    return [records[a:b] for a, b in pairwise(borders)]
