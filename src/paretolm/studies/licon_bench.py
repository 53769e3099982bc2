"""LongICLBench: classification by examples, by length and by where the right label stands (Li et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..contracts import knob
from ..evaluation.tasks.context.licon_bench import ORDERS, LiconBench, bare
from ..recipes.lines import written
from ._by_tags import SOURCES, Answered, answered, average, by, curves, difference, grid, named, part, raw, score
from .study import Findings, Number, Place, Study

NEAREST = "nearest example"


@dataclass(frozen=True, kw_only=True)
class LiconBenchStudy(Study):
    """The task licon-bench on each model, beside the nearest example in words. The label said, where it is one, has a
    place too: 50% on average without a liking for labels shown early or late."""

    name: ClassVar[str] = "licon-bench"
    papers: ClassVar[tuple[str, ...]] = ("2404.02060",)

    path: str | None = knob(None, help="folder with train.jsonl and test.jsonl; by itself the sample in the package")
    labels: int | None = knob(None, low=2, help="labels, drawn by seed; by itself all")
    lengths: tuple[float, ...] = knob((0.4, 0.55, 0.7, 0.85, 1.0), help="in trained lengths")
    orders: tuple[str, ...] = knob(ORDERS, help="of the examples: scattered, grouped")
    queries: int = knob(10, low=1, help="questions for each length and order")

    def sources(self) -> tuple[str, ...]:
        return (*super().sources(), *SOURCES)

    def run(self, at: Place) -> Findings:
        task = LiconBench(
            path=self.path, labels=self.labels, lengths=self.lengths, orders=self.orders, queries=self.queries
        )
        scored = answered(at, written(task), self.seed)
        items = {NEAREST: [_by_nearest(i) for i in next(iter(scored.values()))], **scored}
        tables = (
            grid("right labels, by length in tokens", items, "exact_match", "order", "length"),
            grid("right labels, by position of the right label", items, "exact_match", "order", "depth"),
        )
        figure = curves(
            "right labels by length", items, "exact_match", "order", "length", lambda i: float(i.tags["length"])
        )
        numbers: dict[str, Number] = {}
        for model, mine in scored.items():
            for order, group in by(mine, "order").items():
                numbers |= {named(f"{order}: {k}", model, scored): n for k, n in self._numbers(group).items()}
        numbers[NEAREST] = score(items[NEAREST], "exact_match", self.seed)
        return Findings(tables, (figure,), numbers, (), raw(scored))

    def _numbers(self, group: list[Answered]) -> dict[str, Number]:
        short, long = part(group, "length"), part(group, "length", last=True)
        said = [(100 * d, i.doc) for i in group if (d := said_depth(i)) is not None]
        labels = [100.0 * (said_depth(i) is not None) for i in group]
        nowhere = Number(0.0, "%", n=0, note="no label was said")
        return {
            "right": score(group, "exact_match", self.seed),
            "at the shortest": score(short, "exact_match", self.seed),
            "lost by length": difference(short, long, "exact_match"),
            "said a label": average(labels, [i.doc for i in group], "%", self.seed),
            "place of the label said": average([s for s, _ in said], [d for _, d in said], "%", self.seed)
            if said
            else nowhere,
        }


def said_depth(one: Answered) -> float | None:
    """Where the label that was said stands, 0 is first; None where it is no label."""
    return {bare(label): depth for label, depth in one.facts["depths"].items()}.get(bare(one.facts["output"]))


def _by_nearest(one: Answered) -> Answered:
    return replace(one, values={"exact_match": float(one.facts["nearest"])})
