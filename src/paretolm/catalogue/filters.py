"""Which entries are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from ..errors import UserError, nearest
from ..papers.verdict import VERDICTS
from .entry import NEEDS, SLOTS, Entry
from .joined import states

NONE = "none"  # --need none, --verdict none


@dataclass(frozen=True)
class Filter:
    """Empty: everything. Within a field any of its values will do; all fields must agree."""

    families: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    since: str | None = None

    def check(self, entries: Iterable[Entry]) -> None:
        """Raises UserError for a value that no entry can have."""
        _known("family", self.families, {entry.family for entry in entries})
        _known("slot", self.slots, set(SLOTS))
        _known("need", self.needs, {*NEEDS, NONE})
        _known("verdict", self.verdicts, {*VERDICTS, NONE})
        if self.since is not None:
            try:
                date.fromisoformat(self.since)
            except ValueError:
                raise UserError(f"--since {self.since!r} is no date; write it as 2024-05-31") from None

    def keeps(self, entry: Entry, record: Mapping[str, Any] | None) -> bool:
        found = set(states(record)) or {NONE}
        return (
            (not self.families or entry.family in self.families)
            and (not self.slots or bool(set(entry.slots) & set(self.slots)))
            and (not self.needs or bool(set(entry.needs or (NONE,)) & set(self.needs)))
            and (not self.verdicts or bool(found & set(self.verdicts)))
            and (self.since is None or entry.since(self.since))
        )


def _known(name: str, values: Sequence[str], known: set[str]) -> None:
    for value in values:
        if value not in known:
            raise UserError(f"--{name} {value!r} is unknown{nearest(value, known)}")
