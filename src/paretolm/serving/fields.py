"""Fields of a JSON request: one table says how they are read, what they may be, and which there are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import close_to
from .refusal import Refusal

Json = dict[str, Any]


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


class Kind(Protocol):
    """What a field may be: how its value is read, and how that is told in JSON Schema."""

    def read(self, name: str, value: Any) -> Any:
        """value: None where the field is absent or null. Raises Refusal."""

    @property
    def schema(self) -> Json: ...


@dataclass(frozen=True)
class Whole:
    """A whole number from low to high."""

    low: int
    high: int | None = None
    default: int | None = None

    def read(self, name: str, value: Any) -> int | None:
        if value is None:
            return self.default
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # JSON makes no difference between 1.0 and 1
        if type(value) is not int or value < self.low or (self.high is not None and value > self.high):
            raise wrong(name, value, _between("a whole number", self.low, self.high))
        return value

    @property
    def schema(self) -> Json:
        return _bounded("integer", self.low, self.high, self.default)


@dataclass(frozen=True)
class Number:
    low: float
    high: float
    default: float

    def read(self, name: str, value: Any) -> float:
        if value is None:
            return self.default
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            raise wrong(name, value, _between("a number", self.low, self.high))
        return float(value)

    @property
    def schema(self) -> Json:
        return _bounded("number", self.low, self.high, self.default)


@dataclass(frozen=True)
class Flag:
    def read(self, name: str, value: Any) -> bool:
        if value is None:
            return False
        if not isinstance(value, bool):
            raise wrong(name, value, "true or false")
        return value

    @property
    def schema(self) -> Json:
        return {"type": ["boolean", "null"], "default": False}


@dataclass(frozen=True)
class Ignored:
    """What changes no answer."""

    def read(self, name: str, value: Any) -> None:
        return None

    @property
    def schema(self) -> Json:
        return {"description": "Ignored."}


@dataclass(frozen=True)
class Unserved:
    """What this server does not do. neutral: the values that ask for nothing."""

    neutral: tuple[Any, ...] = ()

    def read(self, name: str, value: Any) -> None:
        if value is not None and not any(type(value) is type(v) and value == v for v in self.neutral):
            raise Refusal(f"{name} is not served here; leave it out", param=name, code="unsupported_parameter")

    @property
    def schema(self) -> Json:
        return {"enum": [*self.neutral, None], "description": "Not served."}


@dataclass(frozen=True)
class Told:
    """Read by hand elsewhere; told: what it may be."""

    told: Json

    def read(self, name: str, value: Any) -> Any:
        return value

    @property
    def schema(self) -> Json:
        return self.told


Table = Mapping[str, Kind]


class Fields:
    """The fields of a request by what a table allows; null is the same as absent."""

    def __init__(self, body: Mapping[str, Any], table: Table) -> None:
        self._body, self._table = body, table

    def take(self, name: str) -> Any:
        """Raises Refusal for a value that it cannot have."""
        return self._table[name].read(name, self._body.get(name))

    def check(self) -> None:
        """Raises Refusal for a name that is in no table, and for what is not served."""
        for name in self._body:
            if name not in self._table:
                sentence = f"there is no field {name[:80]!r}{close_to(name, self._table)}"
                raise Refusal(sentence, param=name[:80], code="unknown_parameter")
            if isinstance(self._table[name], Unserved):
                self.take(name)


def wrong(name: str, value: Any, wanted: str) -> Refusal:
    shown = json.dumps(value, ensure_ascii=False)
    return Refusal(f"{name} must be {wanted}, not {shown if len(shown) <= 60 else shown[:60] + '...'}", param=name)


def _between(what: str, low: float, high: float | None) -> str:
    return f"{what} of at least {low:g}" if high is None else f"{what} from {low:g} to {high:g}"


def _bounded(kind: str, low: float, high: float | None, default: float | None) -> Json:
    ends = {"minimum": low} | ({} if high is None else {"maximum": high})
    return {"type": [kind, "null"], **ends, "default": default}
