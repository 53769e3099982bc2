"""LAMBADA: the last word of a passage, which needs all of it (Paperno et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ...rows import Row
from ...task import Item
from .._choice import ChoiceTask, Question
from .._data import Record
from .._reading import Targets


@dataclass(frozen=True, kw_only=True)
class Lambada(ChoiceTask):
    """Rows: acc, every token of the word is the most likely one; word_nll, summed up as perplexity a word."""

    fields: ClassVar[str] = "id, context, target (the last word)"
    origin: ClassVar[str] = "EleutherAI/lambada_openai, test"

    def question(self, record: Record) -> Question:
        return Question([(record.text("context"), f" {record.text('target')}")], 0)

    def rows(self, item: Item, found: Sequence[Targets]) -> list[Row]:
        (word,) = found
        return [
            Row(item.id, item.doc, "acc", float(word.top.all())),
            Row(item.id, item.doc, "word_nll", float(word.nll.sum())),
        ]
