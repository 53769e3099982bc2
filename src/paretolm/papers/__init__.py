"""What the papers claim, and what is measured beside it: `checks/ID.py` holds the claims of one paper.

Dashes in an id are underscores in the file's name. Listing them loads no torch."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError, nearest

if TYPE_CHECKING:
    from .claim import Paper

CHECKS = Path(__file__).parent / "checks"


def names() -> list[str]:
    """Every paper whose claims are checked."""
    return sorted(f.stem.replace("_", "-") for f in CHECKS.glob("*.py") if not f.stem.startswith("_"))


def source(name: str) -> Path:
    """The file of a paper's claims."""
    return CHECKS / f"{name.replace('-', '_')}.py"


def find(name: str) -> Paper:
    """The claims of one paper. Raises UserError with the nearest match."""
    known = name.replace("_", "-")
    if known not in names():
        raise UserError(f"no claims are checked of {name!r}{nearest(name, names())}")
    paper: Paper = importlib.import_module(f"{__name__}.checks.{source(known).stem}").PAPER
    return paper
