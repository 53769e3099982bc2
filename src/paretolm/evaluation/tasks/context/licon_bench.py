"""LongICLBench: classification into many labels that are known from examples in the prompt (Li et al. 2024)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ....contracts import knob
from ....errors import RecipeError, TextError
from ...streams import tokenizer_of
from .._lm_eval import ids_of
from ._context import ContextTask, Question, answer_room, in_tokens
from ._nearest import nearest
from ._sample import both, files_of, place, unit

if TYPE_CHECKING:
    from ....bridge.lm import LM
    from ...source import TextSource

HEAD = "Say which category a request belongs to. The categories are those of the examples."
ORDERS = ("scattered", "grouped")
_FIFTHS = 5
_TEXTS = ("text", "label")


class Example(NamedTuple):
    text: str
    label: str

    @property
    def shown(self) -> str:
        return f"\n\nRequest: {self.text}\nCategory: {self.label}"


@dataclass(frozen=True, kw_only=True)
class LiconBench(ContextTask):
    """Rows: exact_match (the first line of the output is the label); tags length, order and depth, the fifth of the
    examples in which those of the right label stand on average: 0, 0.2, ... 0.8.

    Long-context LLMs Struggle with Long In-context Learning (2404.02060), section 3. Every prompt shows every label:
    examples come in rounds, each label once a round, as many as the length holds; in the order 'grouped' (section
    4.3) all of a label stand together. Prompts are our own words, the output is greedy, and the answer may be as long
    as the longest label. Facts of an item: examples (how many), nearest (1 where the
    nearest example in words has the right label), depths (of every label)."""

    path: str | None = knob(None, help="folder with train.jsonl (examples) and test.jsonl; fields text and label")
    labels: int | None = knob(None, low=2, help="labels, drawn by seed; by itself all")
    lengths: tuple[float, ...] = knob((0.4, 0.55, 0.7, 0.85, 1.0), help="prompt and answer, in trained lengths")
    orders: tuple[str, ...] = knob(ORDERS, help="of the examples: scattered, grouped")
    queries: int = knob(10, low=1, help="questions for each length and order")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.orders or not set(self.orders) <= set(ORDERS):
            raise RecipeError(f"{self.name}: orders are {' or '.join(ORDERS)}, not {self.orders}")

    def files(self) -> tuple[Path, ...]:
        return files_of(place(self.path, "requests"))

    def questions(self, source: TextSource, lm: LM) -> list[Question]:
        tokenizer = tokenizer_of(lm)
        help_ = f"give {self.name}(path=...), a folder with train.jsonl and test.jsonl, whose lines have text and label"
        shown, asked = ([_example(r) for r in found] for found in both(place(self.path, "requests"), help_))
        pool = self._pool(shown)
        asked = [e for e in asked if e.label in pool]
        if not asked:
            raise TextError(f"{place(self.path, 'requests')}: no line of test.jsonl has a label of train.jsonl")
        drawn = np.random.default_rng(self.seed).permutation(len(asked))[: self.queries]
        lengths = in_tokens(self.name, self.lengths, lm, unit(lm, self.path))
        prompts = _Prompts(tokenizer, pool, self.seed)
        cells = itertools.product(drawn.tolist(), lengths, self.orders)
        return [prompts.question(i, asked[n], n, length, order) for i, (n, length, order) in enumerate(cells)]

    def _pool(self, shown: Sequence[Example]) -> dict[str, list[Example]]:
        """Label -> its examples."""
        known = list(dict.fromkeys(e.label for e in shown))
        kept = np.random.default_rng(self.seed).permutation(len(known))[: self.labels]
        return {known[i]: [e for e in shown if e.label == known[i]] for i in sorted(kept.tolist())}

    def grade(self, text: str, question: Question) -> dict[str, float]:
        return {"exact_match": bare(text) == bare(question.answers[0])}


@dataclass(frozen=True)
class _Prompts:
    """pool: label -> examples to show."""

    tokenizer: Any
    pool: Mapping[str, Sequence[Example]]
    seed: int

    def question(self, number: int, asked: Example, doc: int, length: int, order: str) -> Question:
        rng = np.random.default_rng([self.seed, number])
        tail = f"\n\nRequest: {asked.text}\nCategory:"
        room = length - self._size(HEAD) - self._size(tail) - answer_room(self.tokenizer, [f" {x}" for x in self.pool])
        chosen = self._chosen(room, length, rng)
        if order == "grouped":
            first = {label: i for i, label in enumerate(dict.fromkeys(e.label for e in chosen))}
            chosen.sort(key=lambda e: first[e.label])
        depths = {label: _depth(chosen, label) for label in self.pool}
        near = chosen[nearest(asked.text, [e.text for e in chosen])].label == asked.label
        return Question(
            f"{order}-{number}",
            f"query-{doc}",
            HEAD + "".join(e.shown for e in chosen) + tail,
            (f" {asked.label}",),
            {"length": length, "order": order, "depth": _fifth(depths[asked.label])},
            facts={"nearest": int(near), "examples": len(chosen), "depths": depths},
        )

    def _size(self, text: str) -> int:
        return len(ids_of(self.tokenizer, text))

    def _chosen(self, room: int, length: int, rng: np.random.Generator) -> list[Example]:
        """Rounds of examples, every label once a round in an order of its own, as many as there is room for."""
        own = {label: [found[i] for i in rng.permutation(len(found))] for label, found in self.pool.items()}
        labels, chosen = list(own), list[Example]()
        for turn in range(max(map(len, own.values()))):
            left = [x for x in labels if turn < len(own[x])]
            for i in rng.permutation(len(left)).tolist():
                example = own[left[i]][turn]
                room -= len(ids_of(self.tokenizer, example.shown, special=False))
                if room < 0:
                    if turn:
                        return chosen
                    fewer = len(chosen) * 3 // 4
                    raise RecipeError(
                        f"licon-bench: {length} tokens have no room for an example of each of {len(labels)} labels: "
                        f"give greater lengths{f', or labels={fewer}' if fewer > 1 else ''}"
                    )
                chosen.append(example)
        return chosen


def bare(text: str) -> str:
    return " ".join(text.lower().split())


def _example(record: Any) -> Example:
    text, label = (" ".join(record.text(name).split()) for name in _TEXTS)
    return Example(text, label)


def _depth(chosen: Sequence[Example], label: str) -> float:
    """Where a label's examples stand on average: 0 is first, 1 is last."""
    return float(np.mean([i for i, e in enumerate(chosen) if e.label == label])) / max(1, len(chosen) - 1)


def _fifth(depth: float) -> float:
    return min(int(depth * _FIFTHS), _FIFTHS - 1) / _FIFTHS
