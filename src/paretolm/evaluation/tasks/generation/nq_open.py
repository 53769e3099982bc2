"""Natural Questions, open: facts that search users ask for, with nothing to read (Lee et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ....contracts import knob
from ...metrics.answers import exact_match, f1
from .._data import Record
from .._generation import AnswerTask, Asked


@dataclass(frozen=True, kw_only=True)
class NqOpen(AnswerTask):
    """Rows: exact_match and f1, the best over the accepted answers. Prompt and stops are those of
    lm-evaluation-harness without examples."""

    fields: ClassVar[str] = "id, question, answers (a list of accepted texts)"
    origin: ClassVar[str] = "google-research-datasets/nq_open, validation"
    stops: ClassVar[tuple[str, ...]] = ("\n", ".", ",")

    max_new_tokens: int = knob(32, low=1, help="tokens generated at most")

    def asked(self, record: Record) -> list[Asked]:
        question = record.text("question").removesuffix("?")
        return [Asked(record.id, record.id, f"Q: {question}?\nA:", record.texts("answers"))]

    def grade(self, text: str, answers: Sequence[str]) -> dict[str, float]:
        return {"exact_match": exact_match(text, answers), "f1": f1(text, answers)}
