"""The embedded models, their cards, and the text used when none is given. Needs neither torch nor transformers."""

from __future__ import annotations

from pathlib import Path

from ..errors import ModelError, nearest

_HERE = Path(__file__).parent
_MODELS = {"reference": "stopgap"}  # the name users type -> its directory here


def names() -> tuple[str, ...]:
    """The names of the embedded models."""
    return tuple(_MODELS)


def model_path(name: str) -> Path:
    """The directory of an embedded model."""
    if name not in _MODELS:
        raise ModelError(f"no embedded model {name!r}{nearest(name, _MODELS)}")
    return _HERE / _MODELS[name]


def text_path() -> Path:
    """The embedded text: JSON lines with split 'eval' and 'fit'."""
    return _HERE / "text" / "sample.jsonl"
