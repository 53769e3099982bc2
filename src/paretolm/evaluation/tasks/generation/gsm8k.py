"""GSM8K: grade-school maths, answered in words that end with a number (Cobbe et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from ....contracts import knob
from ....errors import TextError
from ...metrics.answers import last_number, marked_number, same_number
from .._data import Record
from .._generation import AnswerTask, Asked

_EXAMPLES = "train"


@dataclass(frozen=True, kw_only=True)
class Gsm8k(AnswerTask):
    """Rows: exact_match, of the number after '#### '; flexible_match, of the last number. Without worked examples a
    model does not know that it should write '#### ', so exact_match is 0 then."""

    fields: ClassVar[str] = "id, question, answer (the number)"
    origin: ClassVar[str] = "openai/gsm8k, main, test"
    stops: ClassVar[tuple[str, ...]] = ("Question:", "</s>", "<|im_end|>")

    num_fewshot: int = knob(0, low=0, help="worked problems before each, the first of train.jsonl (with solution)")

    def files(self) -> tuple[Path, ...]:
        return super().files() + ((self._file(_EXAMPLES),) if self.path and self.num_fewshot else ())

    def asked(self, record: Record) -> list[Asked]:
        return [Asked(record.id, record.id, self._examples + _question(record), (record.text("answer"),))]

    def grade(self, text: str, answers: Sequence[str]) -> dict[str, float]:
        (answer,) = answers
        return {
            "exact_match": same_number(marked_number(text), answer),
            "flexible_match": same_number(last_number(text), answer),
        }

    @cached_property
    def _examples(self) -> str:
        if not self.num_fewshot:
            return ""
        known = self.beside(_EXAMPLES)[: self.num_fewshot]
        if len(known) < self.num_fewshot:
            raise TextError(f"{self._file(_EXAMPLES)} has {len(known)} of {self.num_fewshot} examples")
        return "".join(f"{_question(r)} {r.text('solution')}\n#### {r.text('answer')}\n\n" for r in known)


def _question(record: Record) -> str:
    return f"Question: {record.text('question')}\nAnswer:"
