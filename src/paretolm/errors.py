"""Every error the package raises on purpose.

ParetoError
├── UserError                 what a person typed or gave; exit code 2, one sentence, no traceback
│   ├── RecipeError           a recipe that cannot be read (name, knob, value)
│   ├── ConflictError         methods that cannot stand together, or that the model has no place for
│   ├── ModelError            a model directory or id that cannot be loaded
│   ├── TextError             text that is missing, empty or too short
│   ├── CallError             a call that the recipe in force cannot serve (padding, beams, own cache, ...)
│   └── FitError              a method that must be fitted first, or an artifact that does not match
└── RunError                  the work itself went wrong; exit code 1
    ├── CellError             one cell of a comparison failed (out of memory, NaN, ...)
    └── StoreError            the results file cannot be used
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ParetoError(Exception):
    """Base of every error raised on purpose."""


class UserError(ParetoError, ValueError):
    """A mistake in what was typed or given; the message says what, where and what to do."""


class RecipeError(UserError): ...


class ConflictError(UserError): ...


class ModelError(UserError): ...


class TextError(UserError): ...


class CallError(UserError): ...


class FitError(UserError): ...


class RunError(ParetoError, RuntimeError):
    """Work that failed although the request made sense."""


class CellError(RunError): ...


class StoreError(RunError): ...


def close_to(word: str, known: Iterable[str]) -> str:
    """'; did you mean 'x'?' for the closest known word; empty where none is close."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """As `close_to`, else the sorted list of known words."""
    words = sorted(known)
    return close_to(word, words) or (f"; known: {', '.join(words)}" if words else "")
