"""MMLU: knowledge in 57 subjects (Hendrycks et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from ....contracts import knob
from ....errors import TextError
from .._choice import ChoiceTask, Question
from .._data import Record

LETTERS = ("A", "B", "C", "D")
_EXAMPLES = "dev"


@dataclass(frozen=True, kw_only=True)
class Mmlu(ChoiceTask):
    """Rows carry the tag subject. A choice is its letter, so that nothing is divided by lengths."""

    fields: ClassVar[str] = "id, subject, question, four choices, answer (the right choice, from 0)"
    origin: ClassVar[str] = "cais/mmlu, test"

    num_fewshot: int = knob(0, low=0, help="worked questions before each, the first of their subject in dev.jsonl")

    def files(self) -> tuple[Path, ...]:
        return super().files() + ((self._file(_EXAMPLES),) if self.path and self.num_fewshot else ())

    def question(self, record: Record) -> Question:
        subject = record.text("subject")
        about = subject.replace("_", " ")
        head = f"The following are multiple choice questions (with answers) about {about}.\n\n"
        context = head + self._shots(subject, record.where) + _asked(record)
        return Question([(context, f" {x}") for x in LETTERS], record.index("answer", 4), tags={"subject": subject})

    def _shots(self, subject: str, where: str) -> str:
        known = self._examples.get(subject, [])[: self.num_fewshot] if self.num_fewshot else []
        if len(known) < self.num_fewshot:
            raise TextError(f"{where}: {_EXAMPLES}.jsonl has {len(known)} of {self.num_fewshot} examples of {subject}")
        return "".join(f"{_asked(r)} {LETTERS[r.index('answer', 4)]}\n\n" for r in known)

    @cached_property
    def _examples(self) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = {}
        for record in self.beside(_EXAMPLES):
            found.setdefault(record.text("subject"), []).append(record)
        return found


def _asked(record: Record) -> str:
    choices = record.texts("choices", 4)
    if len(choices) > len(LETTERS):
        record.fail("choices", "a list of four texts")
    lines = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=True)]
    return "\n".join([record.text("question").strip(), *lines, "Answer:"])
