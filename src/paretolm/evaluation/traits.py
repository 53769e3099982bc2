"""What kind of text something is, by rule and at a glance: digits, code, script, length. Loads no torch."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping

_READ = 20_000  # characters of a text that are looked at
_CODE = re.compile(
    r"^\s*(def |class |import |from \S+ import|#include|return\b|for \(|if \(|\}|//|var |let |const )|[;{]\s*$|\w\(.*\)[:;]?\s*$"
)
_CODE_LINES = 0.3
_FEW, _MANY = 0.002, 0.03  # shares of characters that are digits
_LENGTHS = ((256, "under 256"), (1024, "256 to 1,023"), (4096, "1,024 to 4,095"), (16384, "4,096 to 16,383"))


def traits(text: str) -> dict[str, str]:
    """Trait -> value: digits (hardly any, some, many), code (code, prose), script (latin, cyrillic, han, ...)."""
    part = text[:_READ]
    return {"digits": _digits(part), "code": _code(part), "script": _script(part)}


def length(tokens: int) -> str:
    """The range a number of tokens lies in."""
    return next((name for bound, name in _LENGTHS if tokens < bound), "16,384 and more")


def _digits(text: str) -> str:
    share = sum(c.isdigit() for c in text) / max(1, len(text))
    return "hardly any" if share < _FEW else "some" if share < _MANY else "many"


def _code(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    share = sum(bool(_CODE.search(line)) for line in lines) / max(1, len(lines))
    return "code" if len(lines) > 2 and share >= _CODE_LINES else "prose"


def _script(text: str) -> str:
    """Of most letters, as Unicode names it; a text without letters has none."""
    found: Mapping[str, int] = Counter(_name(c) for c in text[:2000] if c.isalpha())
    return max(found, key=lambda name: found[name]) if found else "none"


def _name(letter: str) -> str:
    word = unicodedata.name(letter, "other").split()[0].lower()
    return "han" if word == "cjk" else word
