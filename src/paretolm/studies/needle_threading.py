"""Needle threading: accuracy by length and position, and the effective length in characters (Roberts et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ..contracts import knob
from ..evaluation.metrics.effective_length import effective_length
from ..evaluation.rows import Tag
from ..evaluation.tasks.context._haystack import KINDS
from ..evaluation.tasks.context.needle_threading import NeedleThreading
from ..recipes.lines import written
from ._by_tags import SOURCES, Answered, Items, answered, by, curves, difference, grid, named, part, raw, score
from .study import Column, Findings, Number, Place, Study, Table, Value


@dataclass(frozen=True, kw_only=True)
class NeedleThreadingStudy(Study):
    """The effective length of a kind is where its score falls below the threshold, on straight lines between the
    lengths measured; in characters, since tokenizers cut keys into very different numbers of tokens."""

    name: ClassVar[str] = "needle-threading"
    papers: ClassVar[tuple[str, ...]] = ("2411.05000",)

    lengths: tuple[float, ...] = knob((0.5, 0.75, 1.0), help="in trained lengths of at most 4096")
    kinds: tuple[str, ...] = knob(KINDS, help="single, multiple, conditional, thread, multi-thread, branched")
    num_needles: tuple[int, ...] = knob((2,), help="needles of the kinds multiple and conditional")
    thread_lengths: tuple[int, ...] = knob((2,), help="pairs of a thread")
    form: str = knob("uuid", choices=("uuid", "number"), help="of keys and values")
    repeats: int = knob(5, low=1, help="items of each combination")
    threshold: float = knob(0.75, low=0, high=1, help="of the score, below which a length no longer counts")

    def sources(self) -> tuple[str, ...]:
        return (*super().sources(), *SOURCES)

    def run(self, at: Place) -> Findings:
        task = NeedleThreading(
            lengths=self.lengths,
            kinds=self.kinds,
            num_needles=self.num_needles,
            thread_lengths=self.thread_lengths,
            form=self.form,
            repeats=self.repeats,
        )
        items = answered(at, written(task), self.seed)
        single = {model: [i for i in mine if "depth" in i.tags] for model, mine in items.items()}
        tables = [grid("values found, by kind and length in tokens", items, "f1", "kind", "length")]
        if any(single.values()):
            tables.append(grid("a single needle, by depth and length in tokens", single, "f1", "depth", "length"))
        figure = curves("values found, by length", items, "f1", "kind", "length", _characters)
        numbers = {
            named(what, model, items): number
            for model, mine in items.items()
            for what, number in self._numbers(by(mine, "kind")).items()
        }
        tables.append(self._effective(items))
        notes = ("a lookup of the prompt scores 100% on every item", "effective lengths are of these kinds and sizes")
        return Findings(tuple(tables), (figure,), numbers, notes, raw(items))

    def _numbers(self, kinds: Mapping[Tag, list[Answered]]) -> dict[str, Number]:
        found = {}
        for kind, group in kinds.items():
            short, long = part(group, "length"), part(group, "length", last=True)
            found[f"{kind}: values found"] = score(group, "f1", self.seed)
            found[f"{kind}: at the shortest"] = score(short, "f1", self.seed)
            found[f"{kind}: lost by length"] = difference(short, long, "f1")
            found[f"{kind}: effective length"] = Number(self._length(group), "characters", n=len(group))
        if {"thread", "multi-thread"} <= set(kinds):
            found["several threads minus one"] = difference(kinds["multi-thread"], kinds["thread"], "f1")
        return found

    def _length(self, group: list[Answered]) -> float:
        parts = list(by(group, "length").values())
        means = [sum(i.values["f1"] for i in mine) / len(mine) for mine in parts]
        return effective_length([_mean(mine) for mine in parts], means, self.threshold)

    def _effective(self, items: Items) -> Table:
        rows: list[tuple[Value, ...]] = []
        for model, mine in items.items():
            for kind, group in by(mine, "kind").items():
                longest = max(_mean(same) for same in by(group, "length").values())
                tokens = sum(i.facts["prompt"] for i in group)
                length = self._length(group)
                share = sum(_characters(i) for i in group) / tokens
                rows.append((model, str(kind), length, length / share, longest, 100 * length / longest, share))
        columns = (
            Column("model"),
            Column("kind"),
            Column("effective length", "characters", ",.0f", "0: the shortest already fails"),
            Column("the same", "tokens", ",.0f"),
            Column("longest measured", "characters", ",.0f"),
            Column("of that", "%", ".0f"),
            Column("characters a token", "", ".2f"),
        )
        return Table(f"effective length at {100 * self.threshold:g}%", columns, tuple(rows))


def _characters(one: Answered) -> float:
    return float(one.facts["characters"])


def _mean(items: list[Answered]) -> float:
    return sum(map(_characters, items)) / len(items)
