"""Answers in generated text."""

from __future__ import annotations

import re


def first_number(text: str) -> str | None:
    """The first run of digits."""
    found = re.search(r"\d+", text)
    return found[0] if found else None
