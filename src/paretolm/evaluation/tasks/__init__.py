"""One benchmark a file, in the room of what it reads; the file's name with dashes is the task's name.

Listing them loads no torch."""

from __future__ import annotations

import dataclasses
import importlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import RecipeError, nearest

if TYPE_CHECKING:
    from ..task import Task

_HERE = Path(__file__).parent


@cache
def _modules() -> dict[str, str]:
    """Task -> module."""
    files = sorted(f for f in _HERE.glob("*/*.py") if not f.stem.startswith("_"))
    return {f.stem.replace("_", "-"): f"{__name__}.{f.parent.name}.{f.stem}" for f in files}


def names() -> list[str]:
    """Every task users can name."""
    return sorted(_modules())


def make(name: str, **knobs: Any) -> Task:
    """The task of this name with these knobs. Raises RecipeError with the nearest match."""
    from ..task import Task

    if name not in _modules():
        raise RecipeError(f"no task is called {name!r}{nearest(name, names())}")
    module = importlib.import_module(_modules()[name])
    found = [
        c
        for c in vars(module).values()
        if isinstance(c, type) and issubclass(c, Task) and c.__module__ == module.__name__
    ]
    (kind,) = found
    known = [f.name for f in dataclasses.fields(kind)]
    for key in knobs:
        if key not in known:
            raise RecipeError(f"task {name} has no knob {key!r}{nearest(key, known)}")
    return kind(**knobs)
