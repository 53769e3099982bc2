"""CharBench, numbers as choices: which of those a word of this length can have is the most likely one?"""

from __future__ import annotations

from dataclasses import dataclass

from .._choice import ChoiceTask, Question
from .._data import Record
from ._words import BETWEEN, KINDS, WordTask


@dataclass(frozen=True, kw_only=True)
class CharbenchChoice(WordTask, ChoiceTask):
    """Rows: acc, margin. A word of n letters has n choices, so that guessing gives 1/n. The end of the answer is part
    of a choice, for 1 begins 10."""

    def question(self, record: Record) -> Question:
        asked, prompt = record.fields["asked"], record.text("prompt")
        numbers = KINDS[asked.kind].answers(asked.word)
        pairs = [(prompt, f" {n}{BETWEEN}") for n in numbers]
        return Question(pairs, numbers.index(asked.answer), tags={"kind": asked.kind})
