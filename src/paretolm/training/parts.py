"""Finds parts by name (one file each in the folder of their kind) and makes them of plain tables, with checks."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from ..errors import UserError, nearest
from .contracts import Architecture, DataOrder, Objective, Optimizer, Part, Schedule

FOLDERS: dict[type[Part], str] = {
    Architecture: "architectures",
    DataOrder: "data",
    Objective: "objectives",
    Optimizer: "optimizers",
    Schedule: "schedules",
}
T = TypeVar("T")
_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def names(kind: type[Part]) -> list[str]:
    """The parts of a kind that exist."""
    folder = Path(__file__).parent / FOLDERS[kind]
    return sorted(p.stem.replace("_", "-") for p in folder.glob("*.py") if not p.stem.startswith("_"))


def find(kind: type[Part], name: str) -> type[Part]:
    """The class of a part. Raises UserError for a name without a file."""
    if name not in names(kind):
        raise UserError(f"there is no {_singular(kind)} {name!r}{nearest(name, names(kind))}")
    module = import_module(f".{FOLDERS[kind]}.{name.replace('-', '_')}", __package__)
    return next(c for c in vars(module).values() if isinstance(c, type) and c.__dict__.get("name") == name)


def make_part(kind: type[Part], table: Mapping[str, Any], where: str) -> Part:
    """The part a table asks for: `name`, and its knobs beside it."""
    knobs = dict(table)
    name = knobs.pop("name", None)
    if not isinstance(name, str):
        raise UserError(f"{where} needs a name; there are {', '.join(names(kind))}")
    return make(find(kind, name), knobs, where)


def make(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """A dataclass of a table. Raises UserError for an unknown key, a missing one or one of another type."""
    fields = {f.name: f for f in dataclasses.fields(kind) if f.init}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    for key in table:
        if key not in fields:
            raise UserError(f"{where} has no setting {key!r}{nearest(key, fields)}")
    for key, f in fields.items():
        if key not in table and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise UserError(f"{where} lacks {key}")
    return kind(**{key: _typed(hints[key], value, f"{where}: {key}") for key, value in table.items()})


def _typed(hint: Any, value: Any, where: str) -> Any:
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise UserError(f"{where} is a list, not {value!r}")
        return tuple(_typed(get_args(hint)[0], v, where) for v in value)
    if get_origin(hint) is types.UnionType:
        hint = next(h for h in get_args(hint) if h is not type(None))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in _WORDS and type(value) is not hint:
        raise UserError(f"{where} is {_WORDS[hint]}, not {value!r}")
    return value


def _singular(kind: type[Part]) -> str:
    return "data order" if kind is DataOrder else FOLDERS[kind].removesuffix("s")
