"""What measured rows are of: written beside every item by the process that had the model, and read with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .keys import digest

_WORDS = {"model": "another model", "text": "another text", "recipe": "another recipe"}


def origin(model: str, text: str, recipe: str) -> dict[str, str]:
    """Hashes of the contents of model and text, and of the recipe."""
    return {"model": model, "text": text, "recipe": recipe}


def stranger(facts: Iterable[Mapping[str, Any]], wanted: Mapping[str, str]) -> str:
    """Facts of items -> of what else than wanted they are, in words; empty where they are of it. Items of processes
    of their own carry no origin."""
    for fact in facts:
        for name, known in fact.get("of", {}).items():
            if known != wanted[name]:
                return f"the rows in the store are of {_WORDS[name]} ({known[:12]}, not {wanted[name][:12]})"
    return ""


def audit_memo(key: str) -> str:
    """Under what the store keeps what the judge found when it checked itself on a cell."""
    return digest({"what": "audit", "cell": key})
