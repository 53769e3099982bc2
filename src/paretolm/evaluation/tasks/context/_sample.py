"""Where these tasks find their sets: a path of the user's, or the small sample in the package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ....errors import TextError
from .._data import Record, data_file, records

if TYPE_CHECKING:
    from ....bridge.lm import LM

SAMPLE = Path(__file__).parent / "sample"
MOST_TRAINED = 4096  # trained lengths are counted as at most this, so that a default run stays short
MOST_SAMPLED = 1536  # with the sample, which has no more text than that
_STEMS = ("test", "train", "corpus")


def place(path: str | None, within: str = "") -> Path:
    return Path(path).expanduser() if path else SAMPLE / within


def unit(lm: LM, path: str | None) -> int:
    """Tokens that a length of 1 means."""
    return min(lm.view.trained_length, MOST_TRAINED if path else MOST_SAMPLED)


def sets_in(folder: Path, wanted: Sequence[str] = ()) -> dict[str, Path]:
    """Sets of a folder by name: files of JSON lines, and folders that hold some. Raises TextError."""
    if not folder.is_dir():
        raise TextError(f"there is no folder {folder}")
    found = {f.name.partition(".")[0]: f for f in sorted(folder.iterdir()) if _is_set(f)}
    if missing := [name for name in wanted if name not in found]:
        raise TextError(f"{folder} has no set {missing[0]}, only {', '.join(found) or 'none'}")
    return {name: found[name] for name in (wanted or found)}


def _is_set(place: Path) -> bool:
    if place.is_dir():
        return any(data_file(place, stem).is_file() for stem in _STEMS)
    return place.name.endswith((".jsonl", ".jsonl.zst"))


def files_of(place: Path) -> tuple[Path, ...]:
    """Every file of JSON lines at or below a place."""
    found = sorted(place.rglob("*.jsonl*")) if place.is_dir() else [place]
    return tuple(f for f in found if not place.is_dir() or f.is_file())


def both(folder: Path, help: str) -> tuple[list[Record], list[Record]]:  # noqa: A002
    """Records to show (train.jsonl) and to ask about (test.jsonl). Raises TextError, which ends with `help`."""
    return records(data_file(folder, "train"), help), records(data_file(folder, "test"), help)
