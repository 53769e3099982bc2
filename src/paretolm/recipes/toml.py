"""Recipes as files: one `[[method]]` table a method, knobs beside its name.

    [[method]]
    name = "h2o"
    budget = "25%"

A second model is `draft = "dir"` or `draft = {model = "dir", recipe = "streaming-llm(window=64)"}`.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..contracts import Method, ModelRef
from ..errors import RecipeError, nearest
from . import grammar
from .grammar import Call, Value
from .parse import spell
from .words import quoted, spell_plain


def read_calls(text: str, name: str) -> tuple[Call, ...]:
    """The calls of a TOML recipe; `name` is the file, for messages."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{name} is not TOML: {error}") from error
    for key in document:
        if key != "method":
            raise RecipeError(f"{name}: a recipe has [[method]] tables only, not {key!r}{nearest(key, ['method'])}")
    tables = document.get("method", [])
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise RecipeError(f"{name}: methods are written as [[method]] tables")
    return tuple(_call(table, f"(method {i} of {name})") for i, table in enumerate(tables, 1))


def _call(table: dict[str, Any], where: str) -> Call:
    knobs = dict(table)
    name = knobs.pop("name", None)
    if not isinstance(name, str):
        raise RecipeError(f'a [[method]] needs a name = "..." {where}')
    return Call(name, where, tuple((knob, _value(f"{name}: {knob}", raw, where)) for knob, raw in knobs.items()))


def _value(owner: str, raw: Any, where: str) -> Value:
    if isinstance(raw, str):
        return Value(raw, True, where)
    if isinstance(raw, bool | int | float):
        return Value(spell_plain(raw), False, where)
    if isinstance(raw, dict) and isinstance(raw.get("model"), str):
        nested = raw.get("recipe", "")
        if not isinstance(nested, str) or set(raw) - {"model", "recipe"}:
            raise RecipeError(f"{owner} is a model and a recipe, each in quotes, and nothing else {where}")
        return Value(raw["model"], True, where, grammar.read(nested, f" of the recipe of {owner}, {where[1:-1]}"))
    raise RecipeError(f"{owner} is a number, true, false, a text in quotes or {{model = ..., recipe = ...}} {where}")


def write(methods: Iterable[Method]) -> str:
    """The file that `read_calls` reads back; knobs that stand at their defaults are left out."""
    return "\n".join(_table(method) for method in methods)


def _table(method: Method) -> str:
    lines = ["[[method]]", f"name = {quoted(method.name)}"]
    for f in dataclasses.fields(method):
        value = getattr(method, f.name)
        if f.init and value != f.default:
            lines.append(f"{f.name} = {_written(value)}")
    return "\n".join(lines) + "\n"


def _written(value: Any) -> str:
    if isinstance(value, ModelRef) and value.recipe:
        return f"{{model = {quoted(value.name)}, recipe = {quoted(value.recipe)}}}"
    if isinstance(value, ModelRef):
        return quoted(value.name)
    if isinstance(value, bool | int | float):
        return spell_plain(value)
    return quoted(value if isinstance(value, str) else spell(value))


def load(path: Path) -> tuple[Call, ...]:
    try:
        return read_calls(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError as error:
        raise RecipeError(f"there is no recipe file {str(path)!r}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"the recipe file {str(path)!r} cannot be read: {error}") from error
