"""A command a study: one paper's comparison, rerun on models and text at hand. A file's name with dashes is the
study's name. Listing them loads no torch."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError, nearest
from ..recipes.lines import read_call, read_knobs

if TYPE_CHECKING:
    from .study import Study

_HERE = Path(__file__).parent
_FRAME = ("__init__", "study", "page")  # no studies


def names() -> list[str]:
    """Every study users can name."""
    found = [f.stem for f in _HERE.glob("*.py") if f.stem not in _FRAME and not f.stem.startswith("_")]
    return sorted(stem.replace("_", "-") for stem in found)


def summary(name: str) -> str:
    """The first line of the study's file, without importing it."""
    source = (_HERE / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def find(name: str) -> type[Study]:
    """The class of a study. Raises UserError with the nearest match."""
    from .study import Study

    if name not in names():
        raise UserError(f"no study is called {name!r}{nearest(name, names())}")
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    (kind,) = [
        c
        for c in vars(module).values()
        if isinstance(c, type) and issubclass(c, Study) and c.__module__ == module.__name__
    ]
    return kind


def parse(line: str) -> Study:
    """`castillo`, or `castillo(samples=10)`. Raises UserError."""
    call = read_call(line, "study")
    kind = find(call.name)
    return kind(**read_knobs(kind, call, "study"))
