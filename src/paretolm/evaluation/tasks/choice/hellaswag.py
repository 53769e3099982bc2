"""HellaSwag: how does a scene or an instruction go on (Zellers et al. 2019)?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from .._choice import ChoiceTask, Question, asked
from .._data import Record

_BEGUN = re.compile(r"(.*[.!?][\"')\]]*)\s+([^.!?]+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Hellaswag(ChoiceTask):
    headline: ClassVar[str] = "acc_norm"
    fields: ClassVar[str] = "id, activity, context, choices, answer (the right choice, from 0)"
    origin: ClassVar[str] = "Rowan/hellaswag, validation"

    def question(self, record: Record) -> Question:
        choices = [tidy(c) for c in record.texts("choices", 2)]
        context = tidy(f"{record.text('activity')}: {begun(record.text('context'))}")
        return asked(context, choices, record.index("answer", len(choices)))


def begun(context: str) -> str:
    """With the sentence that the context breaks off in, where it does, as str.capitalize has it."""
    found = _BEGUN.fullmatch(context)
    return f"{found[1]} {found[2].capitalize()}" if found else context


def tidy(text: str) -> str:
    """Without the marks of WikiHow's sections."""
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")
