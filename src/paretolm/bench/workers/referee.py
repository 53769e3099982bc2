"""The referee of a task's run: looks at what was scored so far, and says which recipes need no further items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby

from ...evaluation.rows import METRICS, Row
from ...evaluation.sequential import Array, Bounds, Rule, decide, first_seen
from ...evaluation.task import Item
from ..records.store import Store

FEWEST = 16  # items between two looks; later a quarter of those seen, for each look opens every recipe anew

Rows = Mapping[str, Sequence[Row]]  # item -> its rows of the metric that decides


def by_document(items: Sequence[Item]) -> list[Item]:
    """Items of one document side by side (of its main one, where an item has several), documents in the order in
    which they came."""
    first = {doc: i for i, doc in reversed([*enumerate(item.main_doc for item in items)])}
    return sorted(items, key=lambda item: first[item.main_doc])


@dataclass
class Referee:
    """items: in order of documents; metric: the task's headline; dense: key of the untouched model's cell; open: key
    of each cell that is not decided -> where its decision is kept."""

    store: Store
    items: Sequence[Item]
    metric: str
    rule: Rule
    dense: str
    open: dict[str, str]
    _seen: int = field(default=0, init=False)

    def parts(self) -> Iterator[Sequence[Item]]:
        """Items up to the next look, while there is something to decide. Looks stand between documents, and do
        not depend on what was scored before."""
        for end in self._ends():
            if not self.open:
                return
            start, self._seen = self._seen, end
            yield self.items[start:end]

    def _ends(self) -> Iterator[int]:
        last = 0
        borders = [i for i in range(1, len(self.items)) if self.items[i].main_doc != self.items[i - 1].main_doc]
        for border in borders:
            if border - last >= max(FEWEST, last // 4):
                last = border
                yield border
        yield len(self.items)

    def drop(self, lost: Collection[str | None]) -> bool:
        """Cells that failed are not decided. Whether the untouched model is among them, so that nothing can be."""
        self.open = {key: memo for key, memo in self.open.items() if key not in lost}
        return self.dense in lost

    def look(self) -> list[str]:
        """Cells that are decided by now. At the last item all are, one way or the other."""
        base = self._rows(self.dense)
        found = []
        for key in list(self.open):
            mine = self._rows(key)
            data = *self.documents(mine, base), self.rule, self._bounds(mine)
            last = self._seen == len(self.items)
            if last or decide(*data, interval=False).word != "undecided":
                names = [item.id for item in self.items[: self._seen]]
                told = asdict(decide(*data)) | {"documents": len(data[0]), "items": names, "of": len(self.items)}
                self.store.remember(self.open.pop(key), told)
                found.append(key)
        return found

    def _rows(self, key: str) -> Rows:
        return {s.item: [r for r in s.rows if r.metric == self.metric] for s in self.store.items(key)}

    def documents(self, mine: Rows, base: Rows) -> tuple[Array, Array]:
        """Of each document seen, in order: how much worse in sum, and its weight."""
        homes = self._homes()
        return first_seen(
            [
                row
                for item in block
                for row in self._differences(mine.get(item.id, ()), base.get(item.id, ()))
                if homes.get(row[0], main) == main
            ]
            for main, block in groupby(self.items[: self._seen], key=lambda item: item.main_doc)
        )

    def _homes(self) -> dict[str, str]:
        """Document -> main document of the items that count for it: its own items where it has any, else the first
        that hold some of it. What other items hold of it is no new draw."""
        homes = {item.main_doc: item.main_doc for item in self.items}
        for item in self.items:
            for doc in item.docs:
                homes.setdefault(doc, item.main_doc)
        return homes

    def _differences(self, rows: Sequence[Row], base: Sequence[Row]) -> list[tuple[str, float, float]]:
        """(document, how much worse, weight) of the rows that both have."""
        sign = -1.0 if METRICS[self.metric].better == "higher" else 1.0
        theirs = {r.key: r.value for r in base}
        return [(r.doc, sign * (r.value - theirs[r.key]), r.weight) for r in rows if r.key in theirs]

    def _bounds(self, mine: Rows) -> Bounds | None:
        """Of a share, where each item gives one number of weight 1 for its document: the most it can differ."""
        plain = all(
            len(mine.get(i.id, ())) <= 1 and all(r.weight == 1.0 and r.doc == i.doc for r in mine.get(i.id, ()))
            for i in self.items
        )
        if METRICS[self.metric].unit != "share" or not plain:
            return None
        return Bounds(1.0, float(max(Counter(item.doc for item in self.items).values(), default=1)))
