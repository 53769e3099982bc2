"""WinoGrande: which of two names does a sentence speak of (Sakaguchi et al. 2020)?

Partial evaluation: the end of the sentence is scored after either name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .._choice import ChoiceTask, Question
from .._data import Record


@dataclass(frozen=True, kw_only=True)
class Winogrande(ChoiceTask):
    fields: ClassVar[str] = "id, question (with _ for the name), choices, answer (the right choice, from 0)"
    origin: ClassVar[str] = "allenai/winogrande, winogrande_xl, validation"

    def question(self, record: Record) -> Question:
        names = record.texts("choices", 2)
        before, blank, after = record.text("question").partition("_")
        if not blank or not after.strip():
            record.fail("question", "a sentence that goes on after a blank, written _")
        pairs = [(before + name, f" {after.strip()}") for name in names]
        return Question(pairs, record.index("answer", len(names)))
