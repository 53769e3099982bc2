"""One benchmark a file; a file's name with dashes is the task's name. Listing them loads no torch."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import RecipeError, nearest

if TYPE_CHECKING:
    from ..task import Task


def names() -> list[str]:
    """Every task users can name."""
    return sorted(p.stem.replace("_", "-") for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


def make(name: str, **knobs: Any) -> Task:
    """The task of this name with these knobs. Raises RecipeError with the nearest match."""
    from ..task import Task

    if name not in names():
        raise RecipeError(f"no task is called {name!r}{nearest(name, names())}")
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
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
