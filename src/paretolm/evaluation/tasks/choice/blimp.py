"""BLiMP: is the grammatical sentence of a minimal pair the more likely one (Warstadt et al. 2020)?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from ....errors import TextError
from .._choice import ChoiceTask, Question
from .._data import Record, records

PAIRS, PARADIGMS = "pairs", "paradigms"


@dataclass(frozen=True, kw_only=True)
class Blimp(ChoiceTask):
    """Rows carry the tags paradigm and, where paradigms.jsonl stands beside the pairs, phenomenon."""

    fields: ClassVar[str] = "paradigm, good, bad"
    origin: ClassVar[str] = "alexwarstadt/blimp"
    stem: ClassVar[str] = PAIRS

    def files(self) -> tuple[Path, ...]:
        return (*super().files(), self._file(PARADIGMS)) if self.path else ()

    def question(self, record: Record) -> Question:
        pairs = [("", f" {record.text(name)}") for name in ("good", "bad")]
        tags = {"paradigm": record.text("paradigm")}
        if self._phenomena:
            tags["phenomenon"] = phenomenon(record, self._phenomena)
        return Question(pairs, 0, tags=tags)

    @cached_property
    def _phenomena(self) -> Mapping[str, str]:
        file = self._file(PARADIGMS)
        return phenomena(file) if file.is_file() else {}


def phenomena(file: Path) -> dict[str, str]:
    """Paradigm -> phenomenon. Raises TextError."""
    return {r.text("paradigm"): r.text("phenomenon") for r in records(file)}


def phenomenon(record: Record, known: Mapping[str, str]) -> str:
    """Raises TextError for a paradigm that nobody named."""
    name = record.text("paradigm")
    if name not in known:
        raise TextError(f"{record.where} has a paradigm {name!r} that {PARADIGMS}.jsonl beside it does not name")
    return known[name]
