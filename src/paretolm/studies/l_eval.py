"""L-Eval: closed and open questions about long documents, with every output kept (An et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..contracts import knob
from ..evaluation.tasks.context.l_eval import LEval
from ..recipes.lines import written
from ._by_tags import SOURCES, Items, answered, by, named, percent, raw, score
from .study import Column, Findings, Place, Study, Table, Value

METRICS = ("exact_match", "rouge_l", "f1")


@dataclass(frozen=True, kw_only=True)
class LEvalStudy(Study):
    """The task l-eval on each model, laid out by task type. The raw records hold every output beside its answer."""

    name: ClassVar[str] = "l-eval"
    papers: ClassVar[tuple[str, ...]] = ("2307.11088",)

    path: str | None = knob(None, help="folder of sets named as in L-Eval; by itself the sample in the package")
    sets: tuple[str, ...] = knob((), help="names of sets in that folder; by itself all")
    limit: int | None = knob(None, low=1, help="documents of each set; by itself all")
    length: int | None = knob(None, low=64, help="tokens of prompt and answer; by itself the trained length")

    def sources(self) -> tuple[str, ...]:
        return (*super().sources(), *SOURCES)

    def run(self, at: Place) -> Findings:
        task = LEval(path=self.path, sets=self.sets, limit=self.limit, length=self.length)
        items = answered(at, written(task), self.seed)
        numbers = {
            named(f"{group}: {metric}", model, items): score(part, metric, self.seed)
            for model, mine in items.items()
            for group, part in by(mine, "group").items()
            for metric in METRICS
            if metric in part[0].values
        }
        notes = (
            "the right answers score 100% in every metric",
            "no language model judges open answers here; overlap with one reference says little about their quality",
        )
        return Findings((_types(items),), (), numbers, notes, raw(items))


def _types(items: Items) -> Table:
    rows: list[tuple[Value, ...]] = []
    for model, mine in items.items():
        for name, part in by(mine, "set").items():
            cells = [percent(part, metric) for metric in METRICS]
            read = sum(i.facts["read"] for i in part) / len(part)
            rows.append((model, str(part[0].tags["group"]), str(name), *cells, 100 * read, len(part)))
    columns = (
        Column("model"),
        Column("group"),
        Column("set"),
        *(Column(metric, "%", ".1f") for metric in METRICS),
        Column("of the document read", "%", ".0f"),
        Column("items"),
    )
    return Table("scores by task type", columns, tuple(rows))
