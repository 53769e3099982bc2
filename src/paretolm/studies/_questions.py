"""Multiple-choice questions that many models answer: from a file, or made of a text; read many in one forward."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from ..cards.scoring import Tell, silent
from ..errors import TextError
from ..evaluation.metrics.likelihood import token_nll
from ..evaluation.source import Document, TextSource
from ..evaluation.streams import tokenizer_of
from ..evaluation.tasks._data import data_file, drawn, records
from ..evaluation.tasks._lm_eval import cut_left, pair_ids

if TYPE_CHECKING:
    from ..bridge.lm import LM

Form = Literal["cloze", "letters"]
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'])")
_CONTEXT, _CHOICE = 40, 12  # words
_TRIES = 50
_ROWS = 32  # texts of a forward


@dataclass(frozen=True)
class Question:
    """doc: the document it comes from, the cluster of its scores; answer: the right choice, from 0."""

    id: str
    doc: str
    context: str
    choices: tuple[str, ...]
    answer: int


def questions(source: TextSource, path: str | None, limit: int | None, seed: int, count: int) -> list[Question]:
    """`limit` of a file's questions, or `count` made of the text. Raises TextError."""
    return from_file(path, limit, seed) if path else from_text(source, min(count, limit or count), seed)


def from_file(path: str, limit: int | None, seed: int) -> list[Question]:
    """JSON lines with question, choices and answer (from 0), or pairs with good and bad. Raises TextError."""
    place = Path(path).expanduser()
    file = data_file(place, "pairs" if (place / "pairs.jsonl").is_file() else "test")
    found = []
    for r in drawn(records(file), limit, seed):
        if "good" in r.fields:
            found.append(Question(r.id, r.id, "", (r.text("good"), r.text("bad")), 0))
            continue
        choices = r.texts("choices", 2)
        context = r.text("question") if "question" in r.fields else r.text("context")
        found.append(Question(r.id, r.id, context, choices, r.index("answer", len(choices))))
    return found


def from_text(source: TextSource, count: int, seed: int, choices: int = 4) -> list[Question]:
    """How a passage goes on: its own next words, among those that follow elsewhere in texts. Raises TextError."""
    rng = np.random.default_rng(seed)
    passages = [p for d in source.eval_documents for p in _passages(d)]
    passages = [passages[i] for i in rng.permutation(len(passages)).tolist()]
    endings = [p.choices[0] for p in passages]
    found: list[Question] = []
    for passage in passages[:count]:
        wrong = _distractors(passage, endings, choices - 1, rng)
        if len(wrong) == choices - 1:
            answer = int(rng.integers(choices))
            mixed = (*wrong[:answer], passage.choices[0], *wrong[answer:])
            found.append(replace(passage, choices=mixed, answer=answer))
    if not found:
        raise TextError(f"{source.name} has no passages to ask about: give a longer text, or a set of questions")
    return found


def _passages(document: Document) -> list[Question]:
    """Stretches of whole sentences that another sentence follows; its first words are the right choice."""
    found, words = list[Question](), list[str]()
    for sentence in _SENTENCE_END.split(document.text):
        own = sentence.split()
        if len(words) >= _CONTEXT and len(own) >= _CHOICE:
            name = f"{document.id}:{len(found)}"
            found.append(Question(name, document.id, " ".join(words[-2 * _CONTEXT :]), (" ".join(own[:_CHOICE]),), 0))
            words = []
        else:
            words += own
    return found


def _distractors(passage: Question, endings: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    wrong: list[str] = []
    for i in rng.integers(len(endings), size=_TRIES).tolist():
        if endings[i] != passage.choices[0] and endings[i] not in wrong:
            wrong.append(endings[i])
        if len(wrong) == count:
            break
    return wrong


def letters(number: int) -> str:
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[number]


def pairs(question: Question, form: Form) -> list[tuple[str, str]]:
    """(context, continuation) of each choice: 'cloze' goes on with the choice itself; 'letters' lists the choices and
    goes on with a letter, as MMLU does."""
    if form == "cloze":
        space = " " if question.context else ""
        return [(question.context, f"{space}{c}") for c in question.choices]
    listed = [f"{letters(i)}. {c}" for i, c in enumerate(question.choices)]
    prompt = "\n".join([question.context.strip(), *listed, "Answer:"]).lstrip()
    return [(prompt, f" {letters(i)}") for i in range(len(question.choices))]


def log_likelihoods(lm: LM, asked: Sequence[Question], form: Form, tell: Tell = silent) -> list[np.ndarray]:
    """Nats of each choice of each question, [choices]. A context too long is cut from the left."""
    tokenizer, most = tokenizer_of(lm), lm.view.trained_length
    split = [pair_ids(tokenizer, *pair) for q in asked for pair in pairs(q, form)]
    found = endings(lm, [(cut_left(before, most - len(after)), after) for before, after in split], tell)
    ends = np.cumsum([len(q.choices) for q in asked])
    return np.split(found, ends[:-1])


def endings(lm: LM, split: Sequence[tuple[list[int], list[int]]], tell: Tell = silent) -> np.ndarray:
    """Nats of each ending after its beginning, [n]: texts of like length share a forward, and only the last logits
    of it are worked out."""
    order = sorted(range(len(split)), key=lambda i: -len(split[i][0]) - len(split[i][1]))
    found = np.zeros(len(split))
    for start in range(0, len(order), _ROWS):
        batch = order[start : start + _ROWS]
        found[batch] = _endings(lm, [split[i] for i in batch])
        tell((start + len(batch)) / len(order))
    return found


@torch.inference_mode()
def _endings(lm: LM, split: Sequence[tuple[list[int], list[int]]]) -> list[float]:
    width = max(len(before) + len(after) for before, after in split)
    ids = torch.zeros(len(split), width, dtype=torch.long)
    for row, (before, after) in enumerate(split):
        ids[row, : len(before) + len(after)] = torch.tensor(before + after)
    kept = width + 1 - min(len(before) for before, _ in split)  # from the last token of the shortest beginning
    logits = lm.model(ids.to(lm.model.device), use_cache=False, logits_to_keep=kept).logits
    found = []
    for row, (before, after) in enumerate(split):
        first = len(before) - 1 - (width - kept)
        own = logits[row, first : first + len(after)]
        found.append(-float(token_nll(own, torch.tensor(after)).double().sum()))
    return found


def per_byte(question: Question, lls: np.ndarray) -> np.ndarray:
    """Log-likelihoods divided by the choices' bytes."""
    return lls / np.array([len(c.encode()) for c in question.choices])


def right(question: Question, lls: np.ndarray) -> float:
    """1 where the right choice is the most likely; the first of several best ones is taken."""
    return float(int(np.argmax(lls)) == question.answer)


def probability(question: Question, lls: np.ndarray) -> float:
    """Of the right choice among the choices."""
    shifted = np.exp(lls - lls.max())
    return float(shifted[question.answer] / shifted.sum())
