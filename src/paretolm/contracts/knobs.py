"""Knobs: the fields of a method, their ranges, and budgets as users write them."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ..errors import RecipeError

_BUDGET = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(tok|%)\s*")


@dataclass(frozen=True, order=True)
class Budget:
    """Held tokens: `256tok`, or `25%` of the tokens seen so far."""

    amount: float
    unit: str  # 'tok' or '%'

    @classmethod
    def parse(cls, text: str) -> Budget:
        match = _BUDGET.fullmatch(text)
        if not match:
            raise RecipeError(f"a budget is written like 256tok or 25%, not {text!r}")
        amount, unit = float(match[1]), match[2]
        if unit == "%" and not 0 < amount <= 100:
            raise RecipeError(f"a budget in percent lies above 0% and up to 100%, not {text!r}")
        if unit == "tok" and (amount < 1 or amount != int(amount)):
            raise RecipeError(f"a budget in tokens is a whole number of at least 1, not {text!r}")
        return cls(amount, unit)

    def tokens(self, seen: int) -> int:
        """Entries allowed after `seen` tokens."""
        if self.unit == "tok":
            return int(self.amount)
        return max(1, math.ceil(seen * self.amount / 100 - 1e-9))

    @property
    def fixed(self) -> int | None:
        """The number of tokens where it does not depend on the length."""
        return int(self.amount) if self.unit == "tok" else None

    def __str__(self) -> str:
        return f"{Decimal(repr(self.amount)):f}".removesuffix(".0") + self.unit


@dataclass(frozen=True)
class ModelRef:
    """A second model: a directory, a hub id or a name of the reference family, with a recipe of its own."""

    name: str
    recipe: str = ""

    def __str__(self) -> str:
        return f"{self.name} [{self.recipe}]" if self.recipe else self.name


def knob(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[Any] | None = None,
    help: str = "",  # noqa: A002
) -> Any:
    """A field of a method. low and high are allowed themselves; help is one line, the paper's symbol in it."""
    metadata = {"low": low, "high": high, "choices": tuple(choices) if choices else None, "help": help}
    return dataclasses.field(default=default, metadata=metadata)


def check_knobs(method: object) -> None:
    """Raises RecipeError for a value outside its range, NaN, or of another type."""
    name = getattr(type(method), "name", type(method).__name__)
    for f in dataclasses.fields(method):  # type: ignore[arg-type]
        value = getattr(method, f.name)
        choices = f.metadata.get("choices")
        if choices and value not in choices:
            raise RecipeError(f"{name}: {f.name} is one of {', '.join(map(str, choices))}, not {value}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if isinstance(value, float) and not math.isfinite(value):
            raise RecipeError(f"{name}: {f.name} must be a finite number, not {value}")
        low, high = f.metadata.get("low"), f.metadata.get("high")
        if (low is not None and value < low) or (high is not None and value > high):
            span = (
                f"at least {low:g}" if high is None else f"at most {high:g}" if low is None else f"{low:g} to {high:g}"
            )
            raise RecipeError(f"{name}: {f.name} must be {span}, not {value}")
