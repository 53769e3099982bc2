"""Which entries are asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from ..errors import UserError, nearest
from ..papers.verdict import VERDICTS
from .entry import LISTED, NEEDS, SLOTS, Entry
from .joined import states

NONE = "none"  # --need none, --verdict none
UNKNOWN = "unknown"  # the family, slots and needs of what `papers sync` listed


@dataclass(frozen=True)
class Filter:
    """Empty: everything. Within a field any of its values will do; all fields must agree."""

    families: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    since: str | None = None

    def check(self, entries: Iterable[Entry]) -> None:
        """Raises UserError for a value that no entry can have."""
        found = list(entries)
        _known("family", self.families, {*(entry.family for entry in found if entry.family), UNKNOWN})
        _known("kind", self.kinds, {*(entry.kind for entry in found), LISTED})
        _known("slot", self.slots, {*SLOTS, NONE, UNKNOWN})
        _known("need", self.needs, {*NEEDS, NONE, UNKNOWN})
        _known("verdict", self.verdicts, {*VERDICTS, NONE})
        if self.since is not None:
            check_date(self.since)

    def keeps(self, entry: Entry, record: Mapping[str, Any] | None) -> bool:
        found = set(states(record)) or {NONE}
        return (
            (not self.families or family(entry) in self.families)
            and (not self.kinds or entry.kind in self.kinds)
            and (not self.slots or bool(set(slots(entry)) & set(self.slots)))
            and (not self.needs or bool(set(needs(entry)) & set(self.needs)))
            and (not self.verdicts or bool(found & set(self.verdicts)))
            and (self.since is None or entry.since(self.since))
        )


def family(entry: Entry) -> str:
    return entry.family or UNKNOWN


def slots(entry: Entry) -> tuple[str, ...]:
    return entry.slots or (UNKNOWN if entry.listed else NONE,)


def needs(entry: Entry) -> tuple[str, ...]:
    return entry.needs or (UNKNOWN if entry.listed else NONE,)


def check_date(since: str) -> None:
    """Raises UserError for what is no day."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", since):
        raise UserError(f"--since {since!r} is no date; write it as 2024-05-31")
    try:
        date.fromisoformat(since)
    except ValueError:
        raise UserError(f"--since {since!r} is no day of the calendar") from None


def _known(name: str, values: Sequence[str], known: set[str]) -> None:
    for value in values:
        if value not in known:
            raise UserError(f"--{name} {value!r} is unknown{nearest(value, known)}")
