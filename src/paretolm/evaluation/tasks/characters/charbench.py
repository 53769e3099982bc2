"""CharBench, answers generated: counting and locating characters in words (Uzan and Pinter 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ....contracts import knob
from ...metrics.answers import last_number, same_number
from .._data import Record
from .._generation import AnswerTask, Asked
from ._words import WordTask


@dataclass(frozen=True, kw_only=True)
class Charbench(WordTask, AnswerTask):
    """Rows: exact_match, where the answer is the right number and nothing else, as the paper has it; flexible_match,
    where it is the last number of the answer."""

    stops: ClassVar[tuple[str, ...]] = ("\n",)

    max_new_tokens: int = knob(6, low=1, help="tokens generated at most")

    def asked(self, record: Record) -> list[Asked]:
        asked = record.fields["asked"]
        return [Asked(record.id, record.id, record.text("prompt"), (str(asked.answer),), {"kind": asked.kind})]

    def grade(self, text: str, answers: Sequence[str]) -> dict[str, float]:
        (answer,) = answers
        return {"exact_match": text.strip() == answer, "flexible_match": same_number(last_number(text), answer)}
