"""The one-line grammar, as words with their place in the text: `name(knob=value, ...) + name + ...`.

    recipe := '' | 'dense' | method ('+' method)*
    method := name ['(' [knob '=' value (',' knob '=' value)*] ')']
    value  := word | "text" | 'text', and for a second model its own recipe: value '[' recipe ']'

"text" has JSON's escapes, 'text' has none.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import NoReturn

from ..errors import RecipeError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
_WORD = re.compile(r"[^\s,()\[\]\"'=]+")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_CLOSED = {")": "(", "]": "["}


@dataclass(frozen=True)
class Value:
    """text as typed, or what stood in the quotes; nested: the recipe in brackets, for a second model."""

    text: str
    quoted: bool
    where: str
    nested: tuple[Call, ...] | None = None


@dataclass(frozen=True)
class Call:
    """One method with its knobs; where: for messages."""

    name: str
    where: str
    knobs: tuple[tuple[str, Value], ...] = ()


def read(text: str, within: str = "") -> tuple[Call, ...]:
    """The calls of a recipe. Raises RecipeError with the character where reading stopped (`within` what)."""
    reader = _Reader(text, within)
    calls = reader.recipe()
    if reader.at < len(text):
        reader.fail_at_rest()
    return calls


class _Reader:
    def __init__(self, text: str, within: str) -> None:
        self.text, self.at, self.within = text, 0, within
        self.open: list[int] = []

    def recipe(self) -> tuple[Call, ...]:
        if self.peek() in ("", "]"):
            return ()
        calls = [self.call(f"before {self.rest()}")]
        while self.peek() == "+":
            place = f"after the '+' {self.where()}"
            self.take("+")
            calls.append(self.call(place))
        if len(calls) == 1 and calls[0].name.lower() == "dense" and not calls[0].knobs:
            return ()
        for call in calls:
            if call.name.lower() == "dense":
                raise RecipeError(f"'dense' is the empty recipe: it has no knobs and stands alone {call.where}")
        return tuple(calls)

    def call(self, place: str) -> Call:
        where = self.where()
        name = self.match(_NAME)
        if name is None:
            self.fail(f"a method's name is missing {place}")
        knobs: list[tuple[str, Value]] = []
        if self.take("(", opens=True):
            while not self.take(")", closes=True):
                knobs.append(self.knob(name))
                if not self.take(",") and self.peek() != ")":
                    self.fail(f"{name}: ',' or ')' is missing before {self.rest()}")
        return Call(name, where, tuple(knobs))

    def knob(self, method: str) -> tuple[str, Value]:
        where, knob = self.where(), self.match(_NAME)
        if knob is None or not self.take("="):
            self.fail(
                f"{method}: knobs are written knob=value; {'=' if knob else 'a name'} is missing before {self.rest()}"
            )
        return knob, self.value(f"{method}: {knob}", where)

    def value(self, owner: str, where: str) -> Value:
        quoted = self.peek() in ("'", '"')
        text = self.string(owner) if quoted else self.match(_WORD)
        if text is None:
            self.fail(f"{owner} has no value before {self.rest()}")
        nested = None
        if self.take("[", opens=True):
            nested = self.recipe()
            if not self.take("]", closes=True):
                self.fail_at_rest()
        return Value(text, quoted, where, nested)

    def string(self, owner: str) -> str:
        start, mark = self.at, self.peek()
        if mark == "'":
            end = self.text.find("'", start + 1)
            if end >= 0:
                self.at = end + 1
                return self.text[start + 1 : end]
        elif match := _STRING.match(self.text, start):
            self.at = match.end()
            try:
                return str(json.loads(match[0], strict=False))
            except json.JSONDecodeError as error:
                raise RecipeError(
                    f"{owner} has an escape that cannot be read ({error.msg}) {self.where(start)}"
                ) from error
        raise RecipeError(f"{owner}: the {mark} {self.where(start)} is never closed")

    def peek(self) -> str:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.text[self.at : self.at + 1]

    def take(self, mark: str, opens: bool = False, closes: bool = False) -> bool:
        if self.peek() != mark:
            return False
        if opens:
            self.open.append(self.at)
        if closes:
            self.open.pop()
        self.at += 1
        return True

    def match(self, pattern: re.Pattern[str]) -> str | None:
        self.peek()
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found[0]

    def where(self, at: int | None = None) -> str:
        self.peek()
        return f"(character {(self.at if at is None else at) + 1}{self.within})"

    def rest(self) -> str:
        mark = self.peek()
        return f"{mark!r} {self.where()}" if mark else "the end"

    def fail(self, message: str) -> NoReturn:
        if not self.peek() and self.open:
            mark = self.text[self.open[-1]]
            raise RecipeError(f"the {mark!r} {self.where(self.open[-1])} is never closed")
        raise RecipeError(message)

    def fail_at_rest(self) -> NoReturn:
        mark = self.peek()
        if mark in _CLOSED and (not self.open or self.text[self.open[-1]] != _CLOSED[mark]):
            raise RecipeError(f"the {mark!r} {self.where()} closes nothing")
        self.fail(f"'+' is missing between two methods, before {self.rest()}")
