"""How alike a recipe's continuations are to human ones and to the untouched model's, as sets: MAUVE.

Pillutla et al. 2021. Features are what the judging model's last layer holds at the end of each text; those of all
sets are put into clusters together, and a set is its histogram over them. Where this leaves the paper: the judge is
the untouched model (or `judge`) where the paper takes GPT-2 large, so that numbers compare within one table and not
across judges; and a number stands with an interval over documents (the jackknife, at fixed clusters).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import stats

from ..bench.workers.arm import read_prompt
from ..bench.workers.measure import PREFILL_CHUNK
from ..contracts import Slot, knob
from ..evaluation.metrics.mauve import clusters, histogram, mauve, usual_count
from ..evaluation.streams import TextStream, build
from ..evaluation.task import DEFAULT_CHUNK, Item, Run
from ..evaluation.tasks._generation import continued
from ..evaluation.tasks.generation.generation_quality import GenerationQuality
from ..recipes.recipe import Recipe
from ..recipes.session import Session
from .study import Column, Findings, Number, Place, Study, Table, Value

if TYPE_CHECKING:
    from ..bridge.lm import LM

DENSE, HUMAN = "dense", "human"
_SHOWN = ("diversity", "rep_4", "judge_nll")


@dataclass(frozen=True, kw_only=True)
class Mauve(Study):
    """MAUVE: Measuring the Gap Between Neural Text and Human Text (2102.01454)."""

    papers: ClassVar[tuple[str, ...]] = ("2102.01454",)
    models: ClassVar[tuple[int, int | None]] = (1, 1)

    recipes: tuple[str, ...] = knob((), help="recipes beside the untouched model, joined by /, in quotes")
    prompts: int = knob(100, low=20, help="how many continuations of each set")
    length: int = knob(32, low=4, help="tokens of a prompt")
    max_new_tokens: int = knob(64, low=4, help="tokens of a continuation, human or not")
    temperature: float = knob(1.0, low=0.0, high=10.0, help="of sampling; 0 takes the most likely token")
    judge: str | None = knob(None, help="the model whose features are taken; by itself the untouched one")

    def sources(self) -> tuple[str, ...]:
        tasks = ("_generation.py", "generation/generation_quality.py")
        return (*super().sources(), "evaluation/metrics/mauve.py", *(f"evaluation/tasks/{t}" for t in tasks))

    def run(self, at: Place) -> Findings:
        (model,) = at.models
        lm = at.load(model)
        parsed = {DENSE: Recipe()} | {line: Recipe.parse(line) for line in self.recipes}
        for recipe in parsed.values():
            recipe.plan(lm.view).raise_conflicts()
        size = self.length + self.max_new_tokens
        streams = build(at.source, lm, size, self.prompts, per_document=size, seed=self.seed)
        task = GenerationQuality(
            prompts=self.prompts,
            length=self.length,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            judge=self.judge,
            seed=self.seed,
        )
        items = task.of_streams([s.head(self.length, s.id) for s in streams], lm)
        unit = {"model": at.content(model), "text": at.source.data_hash, "judge": self.judge and at.content(self.judge)}
        sets: dict[str, list[dict[str, Any]]] = {}
        human = partial(_human, task, items, streams, self.length)
        sets[HUMAN] = at.once(self, unit | {"set": HUMAN}, human)
        for number, (line, recipe) in enumerate(parsed.items()):
            at.progress.note(f"set {number + 1} of {len(parsed)}: {line}")
            sets[line] = at.once(self, unit | {"set": recipe.full()}, partial(_written, lm, recipe, task, items))
        return self._findings(sets, at)

    def _findings(self, sets: Mapping[str, Sequence[dict[str, Any]]], at: Place) -> Findings:
        docs = [r["doc"] for r in sets[HUMAN]]
        count = usual_count(len(docs))
        features = np.array([r["feature"] for rows in sets.values() for r in rows])
        labels = dict(zip(sets, np.split(clusters(features, count, self.seed), len(sets)), strict=True))
        table, numbers = list[tuple[Value, ...]](), {}
        for line in sets:
            like = jackknife(labels[HUMAN], labels[line], docs, count)
            own = jackknife(labels[DENSE], labels[line], docs, count)
            means = [float(np.mean([r[m] for r in sets[line]])) for m in _SHOWN]
            if line != HUMAN:
                numbers[f"{line}: like human text"] = like
            if line not in (HUMAN, DENSE):
                numbers[f"{line}: like the untouched model's"] = own
                numbers[f"{line}: like human text, against dense"] = difference(
                    labels[HUMAN], labels[line], labels[DENSE], docs, count
                )
            table.append((line, like.value, like.low, like.high, own.value, *means[:-1], float(np.exp(means[-1]))))
        columns = (
            *(Column(n, "", ".3f") for n in ("set", "like human text", "low", "high", "like dense")),
            *(Column(n, "share", ".3f") for n in _SHOWN[:-1]),
            Column("perplexity", "", ".1f", "under the judge, of the continuation"),
        )
        notes = (
            f"MAUVE over {count} clusters of {len(docs)} texts a set, from 0 (nothing in common) to 1 (alike); features "
            "are what the judge's last layer holds at a text's end, so that numbers compare under this judge alone.",
            "It is a number of the whole set, and grows with fewer texts and clusters: intervals leave out documents "
            "one by one and hold the clusters fixed.",
            *at.source.notes,
        )
        rows = [{"set": n} | {k: v for k, v in r.items() if k != "feature"} for n, rs in sets.items() for r in rs]
        return Findings((Table("Continuations as sets", columns, tuple(table)),), (), numbers, notes, rows)


# --- texts ---


def _human(
    task: GenerationQuality, items: Sequence[Item], streams: Sequence[TextStream], at: int
) -> list[dict[str, Any]]:
    return [_facts(task, item, s.ids[0, at:].tolist()) for item, s in zip(items, streams, strict=True)]


def _written(lm: LM, recipe: Recipe, task: GenerationQuality, items: Sequence[Item]) -> list[dict[str, Any]]:
    loops = {e.slot for _, e in recipe.plan(lm.view).pairs} & {Slot.PROMPT, Slot.DECODE}
    found = []
    with Session.open(lm, recipe) as session:
        for item in items:
            session.reset()
            stream, end = (
                (None, None) if loops else read_prompt(session, item, recipe.chunk(task.tokens(item)) or PREFILL_CHUNK)
            )
            again = lambda size, i=item: read_prompt(session, i, size)  # noqa: E731
            run = Run(session, stream, end, DEFAULT_CHUNK, True, again)
            found.append(_facts(task, item, continued(run, item.prompt_ids, item.data["how"])))
    return found


def _facts(task: GenerationQuality, item: Item, new: Sequence[int]) -> dict[str, Any]:
    how, prompt = item.data["how"], item.prompt_ids[0].tolist()
    text = how.tokenizer.decode(new, skip_special_tokens=True)
    feature = item.data["judge"].feature(prompt, new, how.tokenizer)
    return {"item": item.id, "doc": item.doc, "text": text, **task.grade(item, new), "feature": feature}


# --- numbers ---


def jackknife(one: np.ndarray, other: np.ndarray, docs: Sequence[str], count: int) -> Number:
    """MAUVE of two sets of clusters [n], with the interval of leaving out each document."""
    return _left_out(lambda w: mauve(histogram(one, count, w), histogram(other, count, w)), docs)


def difference(human: np.ndarray, recipe: np.ndarray, dense: np.ndarray, docs: Sequence[str], count: int) -> Number:
    """MAUVE of a recipe's set minus the untouched model's, both against human text, on the same prompts."""

    def value(w: np.ndarray) -> float:
        person = histogram(human, count, w)
        return mauve(person, histogram(recipe, count, w)) - mauve(person, histogram(dense, count, w))

    return _left_out(value, docs)


def _left_out(value: Callable[[np.ndarray], float], docs: Sequence[str]) -> Number:
    names = sorted(set(docs))
    own = np.array([[d == name for d in docs] for name in names])
    whole = value(np.ones(len(docs)))
    if len(names) < 3:
        return Number(whole, n=len(names), note="too few documents for an interval")
    parts = np.array([value((~row).astype(float)) for row in own])
    error = float(np.sqrt((len(names) - 1) / len(names) * np.square(parts - parts.mean()).sum()))
    reach = float(stats.t.ppf(0.975, len(names) - 1)) * error
    return Number(whole, "", whole - reach, whole + reach, len(names), "documents")
