"""A card in its directory: card.json, README.md and figures, and whether they belong to the weights beside them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..bridge.content import content_hash
from ..errors import ParetoError, StoreError, UserError
from ..files import write_whole
from .figures import FIGURES, FOLDER, draw, require_matplotlib
from .measure import FORMAT
from .render import render

CARD, PAGE = "card.json", "README.md"


def check_place(folder: Path) -> None:
    """Raises UserError where a card cannot go; asked before anything is measured."""
    require_matplotlib()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; --to takes a directory")
    if (folder / PAGE).exists() and not (folder / CARD).exists():
        raise UserError(f"{folder / PAGE} was not written by this command; move it away, or give another --to")


def write(card: Mapping[str, Any], folder: Path) -> None:
    """Each file in one step; README.md last, so that a card half-written is not a card."""
    check_place(folder)
    try:
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder / FOLDER) as aside:
            for path in draw(card, Path(aside)):
                os.replace(path, folder / FOLDER / path.name)
        write_whole(folder / CARD, json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        write_whole(folder / PAGE, render(card))
    except OSError as error:
        raise StoreError(f"the card cannot be written to {folder} ({error.strerror}); give another --to") from error


def stale(folder: Path) -> list[str]:
    """Why the card in a model's directory does not belong to the weights there, a sentence each; empty if it does.

    Loads no model: only files are read."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return [f"{folder / CARD} cannot be read: {error}"]
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        return [f"{folder / CARD} is not a card of format {FORMAT}"]
    found = _differences(card, folder)
    return [f"{sentence}: run `paretolm card {folder} --to {folder}`" for sentence in found]


def _differences(card: Mapping[str, Any], folder: Path) -> list[str]:
    found = []
    try:
        if card["model"]["content"] != content_hash(folder):
            found.append(f"{folder / CARD} was measured on other weights than those beside it")
        page = render(card)
    except ParetoError as error:
        return [f"{folder} holds no model to compare with ({error})"]
    except (KeyError, TypeError, IndexError) as error:
        return [f"{folder / CARD} lacks what a page is made of ({type(error).__name__}: {error})"]
    if _read(folder / PAGE) != page:
        found.append(f"{folder / PAGE} is not what {CARD} says")
    missing = [name for key, name in FIGURES.items() if card.get(key) and not (folder / FOLDER / name).is_file()]
    return found + [f"{folder / FOLDER / name} is missing" for name in missing]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
