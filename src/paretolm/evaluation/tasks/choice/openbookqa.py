"""OpenBookQA: elementary science with common knowledge (Mihaylov et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .._choice import ChoiceTask, Question, asked
from .._data import Record


@dataclass(frozen=True, kw_only=True)
class OpenBookQA(ChoiceTask):
    headline: ClassVar[str] = "acc_norm"
    fields: ClassVar[str] = "id, question, choices, answer (the right choice, from 0)"
    origin: ClassVar[str] = "allenai/openbookqa, main, test"

    def question(self, record: Record) -> Question:
        choices = record.texts("choices", 2)
        return asked(record.text("question"), choices, record.index("answer", len(choices)))
