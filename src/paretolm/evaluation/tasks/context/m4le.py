"""M4LE: short tasks made long, by the five abilities of finding and using spans (Kwan et al. 2023)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....contracts import knob
from ....errors import RecipeError, TextError
from ...metrics.answers import exact_match, f1, shared
from ...streams import tokenizer_of
from ._abilities import TASKS, Draft, ShortTask, solved, tasks_for
from ._context import ContextTask, Question, in_tokens, whole
from ._sample import files_of, place, sets_in, unit
from ._short_sets import ShortSet, read_sets

if TYPE_CHECKING:
    from ....bridge.lm import LM
    from ...source import TextSource

HEAD = "Answer the question at the end from these documents."
ABILITIES = tuple(dict.fromkeys(t.ability for t in TASKS))
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
LEAST = 2  # documents of a context


@dataclass(frozen=True, kw_only=True)
class M4le(ContextTask):
    """Rows: exact_match and f1 of the first line up to a full stop, words as SQuAD has them; a list of document
    numbers in any order. Tags: ability, task, set, length, and depth where one document is asked about.

    M4LE (2310.19240), section 3: contexts of short items, each with a number of its own, at evenly spread lengths;
    one span or several, asked for by number or name (explicit) or by meaning (semantic), or the whole (global).
    Where we leave the paper: the short sets are yours or a small English sample; lengths are in tokens; there is no
    worked example in the prompt; the global task is the most frequent class, since short sets have no summaries; and
    scores are not divided by those of GPT-3.5."""

    path: str | None = knob(None, help="folder of short sets; by itself the sample in the package")
    sets: tuple[str, ...] = knob((), help="names of sets in that folder; by itself all that have a known shape")
    lengths: tuple[float, ...] = knob((0.4, 0.6, 0.8, 1.0), help="prompt and answer, in trained lengths")
    abilities: tuple[str, ...] = knob(ABILITIES, help=", ".join(ABILITIES))
    repeats: int = knob(3, low=1, help="items for each task, set and length")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.abilities or not set(self.abilities) <= set(ABILITIES):
            raise RecipeError(f"{self.name}: abilities are {', '.join(ABILITIES)}, not {self.abilities}")

    def files(self) -> tuple[Path, ...]:
        folder = place(self.path)
        return (
            tuple(f for found in sets_in(folder, self.sets).values() for f in files_of(found))
            if folder.is_dir()
            else ()
        )

    @cached_property
    def short_sets(self) -> dict[str, ShortSet]:
        """Raises TextError."""
        return {found.name: found for found in read_sets(place(self.path), self.sets)}

    def questions(self, source: TextSource, lm: LM) -> list[Question]:
        tokenizer = tokenizer_of(lm)
        pairs = [(t, s) for s in self.short_sets.values() for t in tasks_for(s) if t.ability in self.abilities]
        if not pairs:
            raise TextError(f"{place(self.path)} has no set that serves {' or '.join(self.abilities)}")
        lengths = in_tokens(self.name, self.lengths, lm, unit(lm, self.path))
        cells = itertools.product(range(self.repeats), lengths, pairs)
        return [
            self._question(i, task, found, length, DEPTHS[repeat % len(DEPTHS)], tokenizer)
            for i, (repeat, length, (task, found)) in enumerate(cells)
        ]

    def _question(
        self, number: int, task: ShortTask, found: ShortSet, length: int, depth: float, tokenizer: Any
    ) -> Question:
        """As many documents as there is room for; one fewer until they fit."""
        typical = sum(len(p.text) for p in found.pieces) / len(found.pieces) + len("Document 000000: ")
        size = min(len(found.pieces), max(LEAST, round(5 * length / typical)))  # few tokens have more than 5 characters
        while size >= LEAST:
            rng = np.random.default_rng([self.seed, number])
            made = _asked(f"{task.name}-{number}", task, found, task.draft(found, size, depth, rng), length)
            over = whole(tokenizer, made) - length
            if over <= 0:
                return made
            size -= max(1, int(size * over / (over + length) * 0.9))
        raise RecipeError(
            f"{self.name}: {length} tokens have no room for two documents of {found.name} and a question: "
            "give greater lengths, or other sets"
        )

    def grade(self, text: str, question: Question) -> dict[str, float]:
        text = text.partition(".")[0] if "." not in question.answers[0] else text
        if question.tags["task"] == "list":
            right, found = (listed.replace(",", " ").upper().split() for listed in (question.answers[0], text))
            return {"exact_match": sorted(found) == sorted(right), "f1": shared(found, right)}
        return {"exact_match": exact_match(text, question.answers), "f1": f1(text, question.answers)}

    def from_gold(self, question: Question) -> str:
        """The answer that the gold spans give without the rest of the prompt."""
        spans = [question.prompt[a:b] for a, b in question.gold]
        asked = question.prompt.rpartition("Question: ")[2].removesuffix("\nAnswer:")
        return solved(str(question.tags["task"]), spans, asked, self.short_sets[str(question.tags["set"])])


def _asked(name: str, task: ShortTask, found: ShortSet, draft: Draft, length: int) -> Question:
    shown = [f"Document {number}: {text}" for number, text in draft.documents]
    starts = list(itertools.accumulate((len(s) + 2 for s in shown), initial=len(HEAD) + 2))
    hint = f"{draft.hint}\n" if draft.hint else ""
    tags: dict[str, Any] = {"ability": task.ability, "task": task.name, "set": found.name, "length": length}
    if task.single:
        tags["depth"] = _near(draft.gold[0] / max(1, len(shown) - 1))
    return Question(
        name,
        name,
        "\n\n".join([HEAD, *shown, f"{hint}Question: {draft.question}\nAnswer:"]),
        tuple(f" {a}" for a in draft.answers),
        tags,
        tuple((starts[i], starts[i] + len(shown[i])) for i in draft.gold),
        {"documents": len(shown)},
    )


def _near(depth: float, places: Sequence[float] = DEPTHS) -> float:
    return min(places, key=lambda p: abs(p - depth))
