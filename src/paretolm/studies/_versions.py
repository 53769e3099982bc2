"""Compressed versions of one model, each calibrated on a text of its own and scored on the same items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..bench.workers.arm import read_prompt
from ..bench.workers.measure import PREFILL_CHUNK
from ..bridge.fitter import TextFitter
from ..contracts import Artifact
from ..evaluation.rows import Row
from ..evaluation.task import DEFAULT_CHUNK, Base, Item, Run, Task
from ..recipes.making import method_line
from ..recipes.recipe import Recipe
from ..recipes.session import Session
from ..training.planted import Writer

if TYPE_CHECKING:
    from ..bridge.lm import LM

MOST_FACTS = 6  # planted in one piece of text


@dataclass
class Bench:
    """One model and the items its versions are scored on. tasks: by the name the rows are kept under."""

    lm: LM
    tasks: Mapping[str, tuple[Task, Sequence[Item]]]
    bases: dict[str, Base] = field(default_factory=dict)  # what the untouched model left, by item

    def dense(self) -> dict[str, list[Row]]:
        """Rows of the untouched model, task by task; keeps what others are compared with."""
        with Session.open(self.lm, Recipe()) as session:
            return {name: self._rows(session, task, items, True) for name, (task, items) in self.tasks.items()}

    def version(self, line: str, texts: Sequence[str]) -> dict[str, list[Row]]:
        """Rows under a recipe whose methods are fitted on `texts`."""
        recipe = Recipe.parse(line)
        artifacts: dict[str, Artifact] = {}
        for method in recipe.methods:
            found = method.fit(TextFitter(self.lm, texts), None) if method.fits else None
            if found is not None:
                artifacts[method_line(method)] = found
        if not self.bases and any(task.needs_base for task, _ in self.tasks.values()):
            self.dense()
        with Session.open(self.lm, recipe, artifacts) as session:
            return {name: self._rows(session, task, items, False) for name, (task, items) in self.tasks.items()}

    def _rows(self, session: Session, task: Task, items: Sequence[Item], dense: bool) -> list[Row]:
        rows: list[Row] = []
        with torch.inference_mode():
            for item in items:
                session.reset()
                stream, end = read_prompt(session, item, PREFILL_CHUNK)
                again = partial(read_prompt, session, item)
                run = Run(session, stream, end, DEFAULT_CHUNK, True, again)
                scored = task.score(run, item, None if dense else self.bases.get(item.id))
                if dense and scored.keep is not None:
                    self.bases[item.id] = scored.keep
                rows += scored.rows
        return rows


def planted_texts(lm: LM, texts: Sequence[str], seed: int) -> list[str]:
    """The same texts, piece by piece, with facts planted in them, asked for and answered: text of the recall task."""
    tokenizer: Any = lm.tokenizer
    writer = Writer(lambda text: list(tokenizer.encode(text, add_special_tokens=False)), MOST_FACTS)
    rng = np.random.default_rng(seed)
    length = lm.view.trained_length - 8  # what is decoded and read again may take a few tokens more
    found = []
    for text in texts:
        ids = np.array(tokenizer.encode(text, add_special_tokens=False, verbose=False), np.int64)
        for start in range(0, len(ids), length):
            found.append(str(tokenizer.decode(writer.plant(ids[start : start + length], rng))))
    return found
