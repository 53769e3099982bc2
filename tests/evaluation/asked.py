"""Questions about a context, as tasks make them for the tiny model, and what a text that is said scores."""

from __future__ import annotations

from typing import Any

import torch

from paretolm.evaluation.task import Item, Scored
from paretolm.evaluation.tasks import make
from paretolm.evaluation.tasks.context._context import ContextTask, Question, whole
from tests.evaluation.judging import fake_run, lm, source, tokenizer


def opened(name: str, **knobs: Any) -> tuple[Any, list[Question]]:
    """The task and its questions, all of which keep their length."""
    task = make(name, **knobs)
    assert isinstance(task, ContextTask)
    questions = task.questions(source(), lm())
    assert all(whole(tokenizer(), q) <= q.tags["length"] for q in questions if "length" in q.tags)
    return task, questions


def item_of(task: Any, question: Question) -> Item:
    return task._item(question, tokenizer(), frozenset({0}))


def said(task: Any, question: Question, text: str) -> Scored:
    """What a model scores that says `text` and then goes on with its end."""
    item = item_of(task, question)
    ids = [*tokenizer()(text)["input_ids"], 0]

    def logits(seen: list[int]) -> torch.Tensor:
        at = len(seen) - item.prompt_length
        return torch.nn.functional.one_hot(torch.tensor(ids[min(at, len(ids) - 1)]), 400) * 20.0

    return task.score(fake_run(item, logits), item, None)


def values(scored: Scored) -> dict[str, float]:
    return {r.metric: r.value for r in scored.rows}
