"""SQuAD: questions whose answer is a span of a passage (Rajpurkar et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ....contracts import knob
from ...metrics.answers import exact_match, f1
from .._data import Record
from .._generation import AnswerTask, Asked


@dataclass(frozen=True, kw_only=True)
class Squad(AnswerTask):
    """Rows: exact_match and f1, the best over the accepted answers. The questions of a passage are one cluster;
    `limit` counts passages."""

    fields: ClassVar[str] = "id, context, questions, answers (a list of accepted texts for each), title if there is one"
    origin: ClassVar[str] = "rajpurkar/squad, validation"
    stops: ClassVar[tuple[str, ...]] = ("\n",)

    max_new_tokens: int = knob(32, low=1, help="tokens generated at most")

    def asked(self, record: Record) -> list[Asked]:
        questions = record.texts("questions")
        title = record.optional("title")
        head = f"Title: {title}\n\n" if title else ""
        head += f"Background: {record.text('context')}\n\n"
        return [
            Asked(f"{record.id}-{i}", record.id, f"{head}Question: {question}\n\nAnswer:", answers)
            for i, (question, answers) in enumerate(zip(questions, _answers(record, len(questions)), strict=True))
        ]

    def grade(self, text: str, answers: Sequence[str]) -> dict[str, float]:
        return {"exact_match": exact_match(text, answers), "f1": f1(text, answers)}


def _answers(record: Record, count: int) -> list[tuple[str, ...]]:
    found = record.fields.get("answers", [])
    good = isinstance(found, list) and len(found) == count
    if not good or not all(isinstance(a, list) and a and all(isinstance(x, str) for x in a) for a in found):
        record.fail("answers", f"a list of {count} lists of texts, one a question")
    return [tuple(a) for a in found]
