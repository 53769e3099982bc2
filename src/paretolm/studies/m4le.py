"""M4LE: scores by ability and length of contexts made of short tasks (Kwan et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..contracts import knob
from ..evaluation.tasks.context.m4le import M4le
from ..recipes.lines import written
from ._by_tags import SOURCES, Answered, answered, by, curves, difference, grid, named, part, raw, score
from .study import Findings, Number, Place, Study


@dataclass(frozen=True, kw_only=True)
class M4leStudy(Study):
    """The task m4le on each model, laid out by ability, short task, length and place of the document asked about."""

    name: ClassVar[str] = "m4le"
    papers: ClassVar[tuple[str, ...]] = ("2310.19240",)

    path: str | None = knob(None, help="folder of short sets; by itself the sample in the package")
    sets: tuple[str, ...] = knob((), help="names of sets in that folder; by itself all that have a known shape")
    lengths: tuple[float, ...] = knob((0.4, 0.6, 0.8, 1.0), help="in trained lengths")
    repeats: int = knob(3, low=1, help="items for each short task, set and length")

    def sources(self) -> tuple[str, ...]:
        return (*super().sources(), *SOURCES)

    def run(self, at: Place) -> Findings:
        task = M4le(path=self.path, sets=self.sets, lengths=self.lengths, repeats=self.repeats)
        items = answered(at, written(task), self.seed)
        tables = (
            grid("f1 by ability and length in tokens", items, "f1", "ability", "length"),
            grid("exact match by ability and length in tokens", items, "exact_match", "ability", "length"),
            grid("f1 by short task and length in tokens", items, "f1", "task", "length"),
            grid("f1 by place of the document asked about", items, "f1", "ability", "depth"),
        )
        figure = curves("f1 by ability", items, "f1", "ability", "length", lambda i: float(i.tags["length"]))
        numbers = {named(k, model, items): n for model, mine in items.items() for k, n in self._numbers(mine).items()}
        return Findings(tables, (figure,), numbers, ("the gold spans alone score 100% on every item",), raw(items))

    def _numbers(self, items: list[Answered]) -> dict[str, Number]:
        abilities = by(items, "ability")
        found = {f"{ability}: f1": score(group, "f1", self.seed) for ability, group in abilities.items()}
        short, long = part(items, "length"), part(items, "length", last=True)
        found["at the shortest"] = score(short, "f1", self.seed)
        found["lost by length"] = difference(short, long, "f1")
        spans = {n: [i for a in abilities for i in abilities[a] if str(a).endswith(n)] for n in ("single", "multiple")}
        if all(spans.values()):
            found["several spans minus one"] = difference(spans["multiple"], spans["single"], "f1")
        return found
