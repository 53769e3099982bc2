"""Needle threading: needles and threads in key-value haystacks of any length (Roberts, Han, Albanie 2024)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ....contracts import knob
from ....errors import RecipeError
from ...metrics.answers import shared
from ...rows import Tag
from ...streams import tokenizer_of
from .._lm_eval import ids_of
from ._context import ContextTask, Question, answer_room, in_tokens
from ._haystack import DIRECTIONS, FORMS, KINDS, VALUE, Haystack, Shape, hidden, written

if TYPE_CHECKING:
    from ....bridge.lm import LM
    from ...source import TextSource

MOST_TRAINED = 4096  # trained lengths are counted as at most this, so that a default run stays short


@dataclass(frozen=True, kw_only=True)
class NeedleThreading(ContextTask):
    """Rows: exact_match (every value asked for, in the order of the keys; in any order for the conditional kind) and
    f1 of the values; tags kind and length, and depth of a single needle, num_needles and placement, thread_length
    and direction, num_threads, branches where the kind has them.

    Needle Threading: Can LLMs Follow Threads through Near-Million-Scale Haystacks? (2411.05000), section 3. Values
    are read out of the output by their form, where the paper parses it as Python; prompts are our own words, and the
    answer's first line counts. In a branched thread a key stands several times, each time with another value, and
    every way but one ends after a step. form=number is ours: for models that cannot copy a UUID."""

    lengths: tuple[float, ...] = knob((0.75, 1.0), help="prompt and answer, in trained lengths of at most 4096")
    kinds: tuple[str, ...] = knob(KINDS, help="single, multiple, conditional, thread, multi-thread, branched")
    depths: tuple[float, ...] = knob((0.0, 0.25, 0.5, 0.75, 1.0), help="of a single needle, in turn: 0 is first")
    num_needles: tuple[int, ...] = knob((3,), help="needles of the kinds multiple and conditional")
    thread_lengths: tuple[int, ...] = knob((3,), help="pairs of a thread")
    num_threads: tuple[int, ...] = knob((2,), help="threads of the kind multi-thread")
    branches: int = knob(2, low=2, help="pairs that share a key of a branched thread")
    placements: tuple[str, ...] = knob(("random",), help="of several needles: random, clustered")
    directions: tuple[str, ...] = knob(("forward",), help="of threads through the text: forward, backward, random")
    form: str = knob("uuid", choices=FORMS, help="of keys and values")
    repeats: int = knob(5, low=1, help="items of each combination")

    def __post_init__(self) -> None:
        super().__post_init__()
        for field, fine, said in (
            ("kinds", lambda x: x in KINDS, ", ".join(KINDS)),
            ("depths", lambda x: 0 <= x <= 1, "numbers from 0 to 1"),
            ("num_needles", lambda x: x == int(x) and x >= 1, "whole numbers of at least 1"),
            ("thread_lengths", lambda x: x == int(x) and x >= 2, "whole numbers of at least 2"),
            ("num_threads", lambda x: x == int(x) and x >= 2, "whole numbers of at least 2"),
            ("placements", lambda x: x in ("random", "clustered"), "random or clustered"),
            ("directions", lambda x: x in DIRECTIONS, ", ".join(DIRECTIONS)),
        ):
            values = getattr(self, field)
            if not values or not all(fine(v) for v in values):
                raise RecipeError(f"{self.name}: {field} are {said}, not {values}")

    def questions(self, source: TextSource, lm: LM) -> list[Question]:
        tokenizer = tokenizer_of(lm)
        lengths = in_tokens(self.name, self.lengths, lm, MOST_TRAINED)
        cells = itertools.product(range(self.repeats), lengths, self._shapes())
        return [
            self._question(i, length, _turned(shape, self.depths[repeat % len(self.depths)]), tokenizer)
            for i, (repeat, length, shape) in enumerate(cells)
        ]

    def _shapes(self) -> Iterator[Shape]:
        for kind in dict.fromkeys(self.kinds):
            if kind == "single":
                yield Shape(kind)
            elif kind in ("multiple", "conditional"):
                for count, placed in itertools.product(self.num_needles, self.placements):
                    yield Shape(kind, count, clustered=placed == "clustered")
            else:
                threads = self.num_threads if kind == "multi-thread" else (1,)
                for count, steps, way in itertools.product(threads, self.thread_lengths, self.directions):
                    yield Shape(kind, count, steps, direction=way, branches=self.branches)

    def _question(self, number: int, length: int, shape: Shape, tokenizer: Any) -> Question:
        haystack = self._filled(number, length, shape, tokenizer)
        name = f"{shape.kind}-{number}"
        facts = {"pairs": len(haystack.pairs), "values": len(haystack.answers)}
        return Question(name, name, haystack.prompt(shape.kind), (haystack.answer,), _tags(shape, length), facts=facts)

    def _filled(self, number: int, length: int, shape: Shape, tokenizer: Any) -> Haystack:
        """As many pairs as there is room for, give or take one."""
        found, whole = self._tried(number, shape.pairs, shape, tokenizer)
        if whole > length:
            raise RecipeError(
                f"{self.name}: {length} tokens have no room for the kind {shape.kind}, which takes {whole}: "
                "give greater lengths or smaller needles and threads"
            )
        pair = len(ids_of(tokenizer, written(found.pairs), special=False)) / shape.pairs
        for size in range(shape.pairs + int((length - whole) / pair), shape.pairs, -1):
            more, whole = self._tried(number, size, shape, tokenizer)
            if whole <= length:
                return more
        return found

    def _tried(self, number: int, size: int, shape: Shape, tokenizer: Any) -> tuple[Haystack, int]:
        """A haystack of this many pairs, and the tokens of prompt and answer."""
        found = hidden(shape, size, self.form, np.random.default_rng([self.seed, number]))
        prompt = ids_of(tokenizer, found.prompt(shape.kind))
        return found, len(prompt) + answer_room(tokenizer, (found.answer,))

    def grade(self, text: str, question: Question) -> dict[str, float]:
        right = VALUE[self.form].findall(question.answers[0])
        found = VALUE[self.form].findall(text)
        if question.tags["kind"] == "conditional":
            exact = sorted(found) == sorted(right)
        else:
            found = found[: len(right)]
            exact = found == right
        return {"exact_match": exact, "f1": shared(found, right)}


def _turned(shape: Shape, depth: float) -> Shape:
    return Shape(shape.kind, depth=depth) if shape.kind == "single" else shape


def _tags(shape: Shape, length: int) -> dict[str, Tag]:
    own: dict[str, dict[str, Tag]] = {
        "single": {"depth": shape.depth},
        "multiple": {"num_needles": shape.count, "placement": "clustered" if shape.clustered else "random"},
        "thread": {"thread_length": shape.steps, "direction": shape.direction},
    }
    own["conditional"] = own["multiple"]
    own["multi-thread"] = own["thread"] | {"num_threads": shape.count}
    own["branched"] = own["thread"] | {"branches": shape.branches}
    return {"kind": shape.kind, "length": length, **own[shape.kind]}
