"""The embedded models, each with its card, and the text used when none is given. Needs neither torch nor transformers."""

from __future__ import annotations

from pathlib import Path

from ..errors import ModelError, nearest

_HERE = Path(__file__).parent
MODELS = _HERE / "models"


def names() -> tuple[str, ...]:
    """The names of the embedded models: the directories that hold weights."""
    return tuple(sorted(p.parent.name for p in MODELS.glob("*/config.json")))


def model_path(name: str) -> Path:
    """The directory of an embedded model."""
    if name not in names():
        raise ModelError(f"no embedded model {name!r}{nearest(name, names())}")
    return MODELS / name


def text_path() -> Path:
    """The embedded text: JSON lines with split 'eval' and 'fit'."""
    return _HERE / "text" / "sample.jsonl"
