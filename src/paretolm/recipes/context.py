"""What a part may use when it is opened: state by request and session, counters, notes, second models."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from ..contracts import Artifact, ModelRef, ModelView, OpenContext, Place

T = TypeVar("T")


@dataclass
class Ledger:
    """What the methods of a session did and noted, by method."""

    counters: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    notes: defaultdict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))

    def counts(self, names: Iterable[str]) -> dict[str, dict[str, int]]:
        return {name: dict(self.counters.get(name, {})) for name in names}


@dataclass
class Context(OpenContext):
    """One method at one place. request and session are that method's state stores."""

    method: str
    place: Place
    view: ModelView
    device: torch.device
    dtype: torch.dtype
    artifact: Artifact | None
    tokenizer: Any
    ledger: Ledger
    request: dict[str, Any]
    session: dict[str, Any]
    open_second: Callable[[ModelRef], Any]

    def shared(self, make: Callable[[], T]) -> T:
        if self.method not in self.request:
            self.request[self.method] = make()
        return self.request[self.method]

    def kept(self, make: Callable[[], T]) -> T:
        if self.method not in self.session:
            self.session[self.method] = make()
        return self.session[self.method]

    def count(self, counter: str, amount: int = 1) -> None:
        self.ledger.counters[self.method][counter] += amount

    def note(self, name: str, value: Any) -> None:
        self.ledger.notes[self.method][name] = value

    def second(self, ref: ModelRef) -> Any:
        return self.open_second(ref)
