"""Fields of a JSON request: each is looked at once, and what nobody looked at is an error."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import close_to
from .refusal import Refusal


def read_json(body: bytes) -> Mapping[str, Any]:
    """Raises Refusal for what is not one JSON object, or holds numbers or characters that JSON or UTF-8 has not."""
    try:
        value = json.loads(body, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()  # half a pair of surrogates can be written as \\ud800
    except (ValueError, RecursionError) as error:
        raise Refusal(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Refusal("the body must be a JSON object")
    return value


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not a number")


class Fields:
    """A request's fields; null is the same as absent."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._left = {name: value for name, value in body.items() if value is not None}
        self._known: set[str] = set()

    def take(self, name: str, default: Any = None) -> Any:
        self._known.add(name)
        return self._left.pop(name, default)

    def whole(self, name: str, default: int | None, low: int, high: int | None = None) -> int | None:
        value = self.take(name, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
            raise wrong(name, value, _between("a whole number", low, high))
        return value

    def number(self, name: str, default: float, low: float, high: float | None = None) -> float:
        value = self.take(name, default)
        fits = isinstance(value, int | float) and not isinstance(value, bool) and value >= low
        if not fits or (high is not None and value > high):
            raise wrong(name, value, _between("a number", low, high))
        return float(value)

    def flag(self, name: str) -> bool:
        value = self.take(name, False)
        if not isinstance(value, bool):
            raise wrong(name, value, "true or false")
        return value

    def ignore(self, names: Iterable[str]) -> None:
        """What changes no answer."""
        for name in names:
            self.take(name)

    def refuse(self, neutral: Mapping[str, Any]) -> None:
        """What this server does not do. neutral: name -> the values that ask for nothing."""
        for name, values in neutral.items():
            value = self.take(name)
            if value is not None and value not in values:
                raise Refusal(f"{name} is not served here; leave it out", param=name, code="unsupported_parameter")

    def end(self) -> None:
        for name in self._left:
            raise Refusal(
                f"there is no field {name[:80]!r}{close_to(name, self._known)}",
                param=name[:80],
                code="unknown_parameter",
            )


def wrong(name: str, value: Any, wanted: str) -> Refusal:
    shown = json.dumps(value, ensure_ascii=False)
    return Refusal(f"{name} must be {wanted}, not {shown if len(shown) <= 60 else shown[:60] + '...'}", param=name)


def _between(what: str, low: float, high: float | None) -> str:
    return f"{what} of at least {low:g}" if high is None else f"{what} from {low:g} to {high:g}"
