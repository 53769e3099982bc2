"""Tasks that ask about a context made to measure: what fits, an answer that is generated, kept and graded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from ....contracts import Slot
from ....errors import RecipeError
from ...rows import Tag
from ...streams import tokenizer_of
from ...task import Base, Item, Run, Scored, Task
from .._generation import Decoding, continued, end_tokens, graded, text_of
from .._lm_eval import ids_of

if TYPE_CHECKING:
    from ....bridge.lm import LM
    from ...source import TextSource

SPARE = 8  # tokens an answer may have beyond the right one's


@dataclass(frozen=True)
class Question:
    """answers: the accepted ones; tags of its rows. gold: characters (start, end) of the prompt that hold all an
    answer needs; facts: what is kept beside its rows. stops: texts that end an answer; slack: how many times the
    right answer's tokens the output may have."""

    id: str
    doc: str
    prompt: str
    answers: tuple[str, ...]
    tags: Mapping[str, Tag]
    gold: tuple[tuple[int, int], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    stops: tuple[str, ...] = ("\n",)
    slack: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ContextTask(Task):
    """Facts of an item: the output as generated, the right answer, characters of the prompt."""

    sees: ClassVar[frozenset[Slot]] = frozenset(Slot)
    headline: ClassVar[str] = "exact_match"
    mode: ClassVar[Literal["stream", "generate"]] = "generate"

    @abstractmethod
    def questions(self, source: TextSource, lm: LM) -> list[Question]:
        """Prompts that fit the lengths asked for. Raises TextError, RecipeError."""

    @abstractmethod
    def grade(self, text: str, question: Question) -> dict[str, float]:
        """Metric -> value of what was generated."""

    def items(self, source: TextSource, lm: LM) -> list[Item]:
        tokenizer = tokenizer_of(lm)
        ends = end_tokens(lm, tokenizer)
        return [self._item(question, tokenizer, ends) for question in self.questions(source, lm)]

    def _item(self, question: Question, tokenizer: Any, ends: frozenset[int]) -> Item:
        room = answer_room(tokenizer, question.answers, question.slack)
        how = Decoding(room, ends, tokenizer, question.stops)
        ids = torch.tensor([ids_of(tokenizer, question.prompt)])
        return Item(question.id, question.doc, ids, {"question": question, "how": how})

    def retokenised(self, item: Item, tokenizer: Any) -> Item:
        return self._item(item.data["question"], tokenizer, frozenset({tokenizer.eos_token_id} - {None}))

    def tokens(self, item: Item) -> int:
        return item.prompt_length + int(item.data["how"].room)

    def score(self, run: Run, item: Item, base: Base | None) -> Scored:
        how, question = item.data["how"], item.data["question"]
        text = text_of(continued(run, item.prompt_ids, how), how)
        facts = {"output": text, "answer": question.answers[0], "characters": len(question.prompt)}
        rows = graded(item, self.grade(text, question), question.tags)
        return Scored(rows, facts=facts | dict(question.facts))


def answer_room(tokenizer: Any, answers: Sequence[str], slack: float = 1.0) -> int:
    """Tokens for `slack` times the longest accepted answer, and some to spare."""
    return SPARE + round(slack * max(len(ids_of(tokenizer, answer, special=False)) for answer in answers))


def in_tokens(name: str, lengths: Sequence[float], lm: LM, most: int) -> list[int]:
    """Lengths in trained lengths, the trained length counted as at most `most`. Raises RecipeError."""
    if not lengths or not all(0 < x <= 1024 for x in lengths):
        raise RecipeError(f"{name}: lengths are positive numbers of trained lengths, not {tuple(lengths)}")
    return [round(x * min(lm.view.trained_length, most)) for x in lengths]


def whole(tokenizer: Any, question: Question) -> int:
    """Tokens of the prompt and of the longest answer that is read."""
    return len(ids_of(tokenizer, question.prompt)) + answer_room(tokenizer, question.answers, question.slack)
