"""Lists on the command line."""

from __future__ import annotations

from collections.abc import Iterable


def split(values: Iterable[str]) -> list[str]:
    """'a,b(c=1, d=2)' -> ['a', 'b(c=1, d=2)']: commas within brackets do not part."""
    found, depth, word = [], 0, ""
    for letter in ",".join(values) + ",":
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth <= 0:
            found.append(word.strip())
            word, depth = "", 0
        else:
            word += letter
    if word:
        found.append(word.rstrip(",").strip())
    return [w for w in found if w]
