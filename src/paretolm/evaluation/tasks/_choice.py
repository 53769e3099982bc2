"""Multiple choice by log-likelihood: which continuation does the model find most likely?

The context that the choices share is the prompt, read once under the recipe; each choice is then read through the
cache it left. Items, prompts and scores are those of lm-evaluation-harness.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...contracts import Slot
from ...errors import TextError
from ..rows import Row, Tag
from ..streams import separator, tokenizer_of
from ..task import IN_STREAM, Base, Item, Run, Scored
from ._data import DataTask, Record
from ._lm_eval import common_start, cut_left, pair_ids
from ._reading import Targets, read_targets

if TYPE_CHECKING:
    from ...bridge.lm import LM
    from ..source import TextSource


@dataclass(frozen=True)
class Question:
    """pairs: (context, continuation) of each choice, the space between them in the continuation. texts: what a
    choice's likelihood is divided by the length of; empty where that says nothing."""

    pairs: Sequence[tuple[str, str]]
    answer: int
    texts: Sequence[str] = ()
    tags: Mapping[str, Tag] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """ids [1, n] follow the prompt; the last `scored` of them count."""

    ids: Tensor
    scored: int


def asked(context: str, choices: Sequence[str], answer: int, **tags: Tag) -> Question:
    """One context, choices after a space."""
    return Question([(context, f" {c}") for c in choices], answer, tuple(choices), tags)


@dataclass(frozen=True, kw_only=True)
class ChoiceTask(DataTask):
    """Rows: acc; acc_norm and acc_bytes (likelihood a character and a byte of the choice) where choices differ in
    length; margin, the right choice's log-likelihood minus the best wrong one's.

    A context too long for the model is cut from the left at one place for all choices, so that the longest fits;
    lm-evaluation-harness cuts for each choice on its own."""

    sees: ClassVar[frozenset[Slot]] = IN_STREAM | {Slot.TOKENS}
    headline: ClassVar[str] = "acc"

    @abstractmethod
    def question(self, record: Record) -> Question:
        """Raises TextError for a field that is missing or wrong."""

    def items(self, source: TextSource, lm: LM) -> list[Item]:
        tokenizer, most = tokenizer_of(lm), lm.view.trained_length
        return [self._item(r, tokenizer, most) for r in self.records()]

    def _item(self, record: Record, tokenizer: Any, most: int) -> Item:
        data = {"question": self.question(record), "most": most, "where": record.where}
        return _tokenised(record.id, data, tokenizer)

    def retokenised(self, item: Item, tokenizer: Any) -> Item:
        return _tokenised(item.id, item.data, tokenizer)

    def tokens(self, item: Item) -> int:
        return item.prompt_length + max(c.ids.shape[1] for c in item.data["choices"])

    def score(self, run: Run, item: Item, base: Base | None) -> Scored:
        return Scored(self.rows(item, read_choices(run, item)))

    def rows(self, item: Item, found: Sequence[Targets]) -> list[Row]:
        """found: of each choice, the tokens that count."""
        question: Question = item.data["question"]
        lls = np.array([-t.nll.sum() for t in found])
        right = {"acc": _right(lls, question.answer)}
        if question.texts:
            right["acc_norm"] = _right(lls / [len(t) for t in question.texts], question.answer)
            right["acc_bytes"] = _right(lls / [len(t.encode()) for t in question.texts], question.answer)
        margin = float(lls[question.answer] - np.delete(lls, question.answer).max())
        return [Row(item.id, item.doc, name, v, 1.0, question.tags) for name, v in (right | {"margin": margin}).items()]


def read_choices(run: Run, item: Item) -> list[Targets]:
    """Each choice after the prompt: the first continues the stream at hand, the others begin at the prompt's end
    anew. A choice of one token needs no forward at all."""
    assert run.stream is not None
    assert run.prompt_end is not None
    stream, end, fresh = run.stream, run.prompt_end, True
    found = []
    for choice in item.data["choices"]:
        if not fresh:
            stream, end = run.restart(run.chunk)
        ids = torch.cat([item.prompt_ids, choice.ids], dim=1)
        read = read_targets(stream, end, ids, item.prompt_length, run.chunk)
        found.append(read.last(choice.scored))
        fresh = choice.ids.shape[1] == 1
    return found


def _right(scores: np.ndarray, answer: int) -> float:
    """The first of several best ones is taken."""
    return float(int(np.argmax(scores)) == answer)


def _tokenised(name: str, data: Mapping[str, Any], tokenizer: Any) -> Item:
    question: Question = data["question"]
    try:
        pairs = [pair_ids(tokenizer, *pair) for pair in question.pairs]
        shared = common_start([before for before, _ in pairs])
        prompt = pairs[0][0][:shared] or separator(tokenizer, first=True)
        rest = [(before[shared:] + after, len(after)) for before, after in pairs]
        prompt = cut_left(prompt, data["most"] + 1 - max(len(ids) for ids, _ in rest))
    except TextError as error:
        raise TextError(f"{data['where']}: {error}") from None
    choices = [Choice(torch.tensor([ids]), scored) for ids, scored in rest]
    return Item(name, name, torch.tensor([prompt]), dict(data) | {"choices": choices})
