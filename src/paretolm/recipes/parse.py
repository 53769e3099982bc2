"""From words to methods and back: values are read by the type of the field they go to."""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..contracts import Budget, Method, ModelRef
from ..errors import RecipeError, nearest
from . import grammar, index
from .grammar import Call, Value
from .words import knob_name, spell_plain

_WHOLE = re.compile(r"[+-]?[0-9]+")
_SORTS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "none"}


def parse_methods(text: str) -> tuple[Method, ...]:
    """The methods of a one-line recipe, in written order. Raises RecipeError."""
    return build_all(grammar.read(text))


def build_all(calls: Iterable[Call]) -> tuple[Method, ...]:
    return tuple(build(call) for call in calls)


def build(call: Call) -> Method:
    """One method from its words."""
    try:
        cls = index.load_method(call.name)
    except RecipeError as error:
        raise RecipeError(f"{error} {call.where}") from error
    types_of = knob_types(cls)
    values: dict[str, Any] = {}
    for written, value in call.knobs:
        knob = knob_name(written)
        if knob not in types_of:
            known = nearest(knob, types_of) if types_of else "; it has none"
            raise RecipeError(f"{cls.name} has no knob {written!r}{known} {value.where}")
        if knob in values:
            raise RecipeError(f"{cls.name}: {knob} is given twice {value.where}")
        values[knob] = _coerced(cls.name, knob, types_of[knob], value)
    missing = [f.name for f in _knobs(cls) if f.name not in values and _default(f) is dataclasses.MISSING]
    if missing:
        raise RecipeError(f"{cls.name}: {missing[0]} must be given {call.where}")
    try:
        return cls(**values)
    except RecipeError as error:
        named = str(error) if str(error).startswith(f"{cls.name}: ") else f"{cls.name}: {error}"
        raise RecipeError(f"{named} {call.where}") from error


@cache
def knob_types(cls: type[Method]) -> dict[str, Any]:
    """Knob -> type, resolved."""
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in _knobs(cls)}


def _coerced(method: str, knob: str, kind: Any, value: Value) -> Any:
    try:
        found = coerce(kind, value)
    except RecipeError as error:
        where = "" if value.nested else f" {value.where}"  # a nested recipe has said where
        raise RecipeError(f"{method}: {knob}: {error}{where}") from error
    if found is _NO:
        raise RecipeError(f"{method}: {knob} is {sort_of(kind)}, not {value.text!r} {value.where}")
    return found


_NO = object()


def coerce(kind: Any, value: Value) -> Any:
    """The value as `kind`, or _NO. Raises RecipeError where a kind has a better sentence than 'not that'."""
    options = _options(kind)
    if type(None) in options and value.text.lower() == "none" and value.nested is None:
        return None
    kinds = sorted((o for o in options if o is not type(None)), key=lambda o: o is str)  # text takes anything
    if value.nested is not None and ModelRef not in kinds:
        raise RecipeError(f"a recipe in brackets belongs to a second model {value.where}")
    for option in kinds[:-1]:
        try:
            found = _coerce_one(option, value)
        except RecipeError:
            continue
        if found is not _NO:
            return found
    return _coerce_one(kinds[-1], value)


def _coerce_one(kind: Any, value: Value) -> Any:
    if get_origin(kind) is Literal:
        return next((c for c in get_args(kind) if value.text in (c, spell_plain(c))), _NO)
    if kind not in _READERS:
        raise TypeError(f"a knob cannot be of type {kind}")
    if value.quoted and kind in (bool, int, float):
        return _NO
    return _READERS[kind](value)


def _float(value: Value) -> Any:
    try:
        return float(value.text)
    except ValueError:
        return _NO


_READERS: dict[Any, Callable[[Value], Any]] = {
    bool: lambda value: {"true": True, "false": False}.get(value.text.lower(), _NO),
    int: lambda value: int(value.text) if _WHOLE.fullmatch(value.text) else _NO,
    float: _float,
    str: lambda value: value.text,
    Budget: lambda value: Budget.parse(value.text),
    ModelRef: lambda value: ModelRef(value.text, spell_methods(build_all(value.nested or ()), "")),
}


def sort_of(kind: Any) -> str:
    """What a knob takes, for people."""
    sorts = []
    for option in _options(kind):
        if get_origin(option) is Literal:
            sorts.append(f"one of {', '.join(spell_plain(c) for c in get_args(option))}")
        elif option is Budget:
            sorts.append("a budget like 256tok or 25%")
        else:
            sorts.append(_SORTS.get(option, "a second model"))
    return " or ".join(sorts)


def _options(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


# --- back to words -------------------------------------------------------------------------------


def spell(value: Any) -> str:
    """A knob's value as the grammar reads it."""
    if isinstance(value, Budget):
        return str(value)
    if isinstance(value, ModelRef):
        name = spell_plain(value.name)
        return f"{name} [{value.recipe}]" if value.recipe else name
    return spell_plain(value)


def spell_method(method: Method, every_knob: bool = False) -> str:
    """`name(knob=value)`: the knobs that differ from their defaults, or all of them."""
    words = [
        f"{f.name}={spell(value)}"
        for f in _knobs(type(method))
        if (value := getattr(method, f.name)) != _default(f) or every_knob
    ]
    return f"{method.name}({', '.join(words)})" if words else method.name


def spell_methods(methods: Iterable[Method], empty: str = "dense", every_knob: bool = False) -> str:
    return " + ".join(spell_method(m, every_knob) for m in methods) or empty


def resolved(method: Method) -> tuple[str, dict[str, Any]]:
    """(name, every knob), equal for equal methods however their numbers and nested recipes were written."""
    knobs: dict[str, Any] = {}
    for name, kind in knob_types(type(method)).items():
        value = getattr(method, name)
        if isinstance(value, ModelRef):
            knobs[name] = [value.name, [resolved(m) for m in parse_methods(value.recipe)]]
        elif isinstance(value, int) and not isinstance(value, bool) and float in _options(kind):
            knobs[name] = value if int in _options(kind) else float(value)
        else:
            knobs[name] = value if isinstance(value, bool | int | float | str | None) else spell(value)
    return method.name, knobs


def _knobs(cls: type[Method]) -> list[dataclasses.Field[Any]]:
    return [f for f in dataclasses.fields(cls) if f.init]


def _default(f: dataclasses.Field[Any]) -> Any:
    return f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
