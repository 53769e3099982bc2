"""ARC (easy): grade-school science questions (Clark et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .._choice import ChoiceTask, Question, asked
from .._data import Record


@dataclass(frozen=True, kw_only=True)
class ArcEasy(ChoiceTask):
    fields: ClassVar[str] = "id, question, choices, answer (the right choice, from 0)"
    origin: ClassVar[str] = "allenai/ai2_arc, ARC-Easy, test"

    def question(self, record: Record) -> Question:
        choices = record.texts("choices", 2)
        return asked(f"Question: {record.text('question')}\nAnswer:", choices, record.index("answer", len(choices)))
