"""How plain values and names are written in a recipe; needs no torch."""

from __future__ import annotations

import json
import re

_SAFE = re.compile(r"[A-Za-z_./~][A-Za-z0-9_./:@~-]*")
_RESERVED = frozenset({"true", "false", "none", "nan", "inf", "infinity"})

Plain = bool | int | float | str | None


def method_name(text: str) -> str:
    """The name as users see it: lower case, dashes."""
    return text.strip().lower().replace("_", "-")


def knob_name(text: str) -> str:
    """The field's name: underscores."""
    return text.strip().replace("-", "_")


def spell_plain(value: Plain) -> str:
    """A value as the grammar reads it back; text that could be read as anything else stands in quotes."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if _SAFE.fullmatch(value) and value.lower() not in _RESERVED:
        return value
    return quoted(value)


def quoted(text: str) -> str:
    """A string that JSON and TOML read alike."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
