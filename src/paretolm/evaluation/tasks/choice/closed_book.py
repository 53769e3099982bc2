"""Facts asked for without a text to find them in: which of four ends of a sentence is the right one?

The set in the package is our own: plain facts in words a small model may have read (capitals, continents, languages,
opposites, orders, kinds, places of work, code, history, science, set phrases), each with three wrong ends of the same
kind. It was written before any model was asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .._choice import ChoiceTask, Question, asked
from .._data import Record, drawn, records

PACKAGED = Path(__file__).parents[1] / "data" / "closed_book.jsonl"


@dataclass(frozen=True, kw_only=True)
class ClosedBook(ChoiceTask):
    """Rows carry the tag subject. By itself the packaged set of 228 items, whose chance is 25%."""

    fields: ClassVar[str] = "subject, question (the sentence's beginning), choices (its ends), answer (from 0)"
    origin: ClassVar[str] = "a set of your own"

    def files(self) -> tuple[Path, ...]:
        return super().files() or (PACKAGED,)

    def records(self) -> list[Record]:
        return super().records() if self.path else drawn(records(PACKAGED), self.limit, self.seed)

    def question(self, record: Record) -> Question:
        choices = record.texts("choices", 2)
        subject = record.text("subject")
        return asked(record.text("question"), choices, record.index("answer", len(choices)), subject=subject)
