"""Summaries of a text at hand, by the words they share with a reference (ROUGE, Lin 2004)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ....contracts import knob
from ...metrics.overlap import rouge_l
from ...metrics.rouge import rouge_1
from .._data import Record
from .._generation import AnswerTask, Asked


@dataclass(frozen=True, kw_only=True)
class Summary(AnswerTask):
    """Rows: rouge_l and rouge_1, F of the best reference. A text too long for the model loses its beginning."""

    fields: ClassVar[str] = "id, context, answers (a list of reference summaries)"
    origin: ClassVar[str] = "a set of your own, or abisee/cnn_dailymail"
    headline: ClassVar[str] = "rouge_l"
    stops: ClassVar[tuple[str, ...]] = ("\n\n",)

    max_new_tokens: int = knob(128, low=1, help="tokens generated at most")

    def asked(self, record: Record) -> list[Asked]:
        prompt = f"{record.text('context')}\n\nSummary of the text above:"
        return [Asked(record.id, record.id, prompt, record.texts("answers"))]

    def grade(self, text: str, answers: Sequence[str]) -> dict[str, float]:
        best = {"rouge_l": rouge_l, "rouge_1": rouge_1}
        return {name: max(measure(text, answer) for answer in answers) for name, measure in best.items()}
