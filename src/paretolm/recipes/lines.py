"""`name(knob=value, ...)` for what is no method: tasks and studies, dataclasses whose fields are their knobs."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args, get_origin, get_type_hints

from ..errors import RecipeError, nearest
from . import grammar


def read_call(line: str, noun: str) -> grammar.Call:
    """The one call of a line. Raises RecipeError."""
    calls = grammar.read(line)
    if len(calls) != 1:
        raise RecipeError(f"a {noun} is written name or name(knob=value), not {line!r}")
    return calls[0]


def read_knobs(kind: type, call: grammar.Call, noun: str) -> dict[str, Any]:
    """Knob -> value; several values of a knob are joined by '/'. Raises RecipeError with the nearest match."""
    types = get_type_hints(kind)
    known = [f.name for f in dataclasses.fields(kind)]
    found: dict[str, Any] = {}
    for knob, value in call.knobs:
        if knob not in known:
            raise RecipeError(f"{noun} {call.name} has no knob {knob!r}{nearest(knob, known)}")
        found[knob] = _value(f"{noun} {call.name}: {knob}", types[knob], value.text)
    return found


def written(thing: Any) -> str:
    """One line that repeats a task or study: every knob that differs from its default."""
    knobs = [f"{f.name}={_text(getattr(thing, f.name))}" for f in dataclasses.fields(thing) if _differs(thing, f)]
    return f"{thing.name}({', '.join(knobs)})" if knobs else str(thing.name)


def _differs(thing: Any, field: dataclasses.Field[Any]) -> bool:
    return bool(getattr(thing, field.name) != field.default)


def _text(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _value(owner: str, kind: Any, text: str) -> Any:
    parts = get_args(kind)
    if get_origin(kind) is tuple:
        return tuple(_value(owner, parts[0], part) for part in text.split("/"))
    if type(None) in parts:
        return None if text.lower() == "none" else _value(owner, parts[0], text)
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise RecipeError(f"{owner} is true or false, not {text!r}")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        raise RecipeError(f"{owner} is {'a whole number' if kind is int else 'a number'}, not {text!r}") from None
