"""A name that stands for several tasks, each in a group of its own kind. A file's name with dashes is the suite's.

Nothing here loads torch."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterable
from pathlib import Path

from ...errors import RecipeError, nearest
from ...recipes import grammar
from ...recipes.lines import read_call, read_knobs
from .suite import Suite

_HERE = Path(__file__).parent
_FRAME = ("__init__", "suite")  # no suites


def names() -> list[str]:
    """Every suite users can name."""
    return sorted(f.stem.replace("_", "-") for f in _HERE.glob("*.py") if f.stem not in _FRAME)


def summary(name: str) -> str:
    """The first line of the suite's file."""
    source = (_HERE / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def find(name: str) -> type[Suite]:
    """Raises RecipeError with the nearest match."""
    if name not in names():
        raise RecipeError(f"no suite is called {name!r}{nearest(name, names())}")
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    (kind,) = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
    return kind


def parse(line: str) -> Suite:
    """`llm-kick`, or `llm-kick(path=DIR)`. Raises RecipeError."""
    call = read_call(line, "suite")
    kind = find(call.name)
    return kind(**read_knobs(kind, call, "suite"))


def is_suite(line: str) -> bool:
    """Whether a task as typed is a suite. Raises RecipeError where it cannot be read."""
    return any(call.name in names() for call in grammar.read(line))


def expand(lines: Iterable[str], trained_length: int) -> dict[str, str]:
    """Task -> its group, suites replaced by what they hold; the group of a task that was named itself is ''.

    Raises UserError for a suite that cannot be read, or whose sets are not where it was told."""
    found: dict[str, str] = {}
    for line in lines:
        if not is_suite(line):
            found.setdefault(line, "")
            continue
        for group, tasks in parse(line).groups(trained_length).items():
            for task in tasks:
                found.setdefault(task, group)
    return found
