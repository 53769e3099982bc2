"""Records as a table on the terminal and as markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from .verdict import VERDICTS, told

if TYPE_CHECKING:
    from ..studies.study import Number

Record = Mapping[str, Any]
LABELS = {"not": "not reproduced", "not testable at this scale": "not testable here"}


def label(state: str) -> str:
    """A verdict, or why there is none, as people read it."""
    return LABELS.get(state, state)


def measured(claim: Mapping[str, Any]) -> list[str]:
    """A line a number: 'name: 1.02 x [0.99, 1.05], n 40; 40 documents'."""
    return [f"{name}: {told(_number(n))}" for name, n in claim["numbers"].items()] or [claim["why"]]


def _number(facts: Mapping[str, Any]) -> Number:
    """What `told` reads of a number, without the import of what a study needs."""
    found: Any = SimpleNamespace(**facts)
    return found


def show(records: Sequence[Record]) -> None:
    """Prints every claim with its verdict."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from ..bench.report.table import console

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in ("paper", "claim", "claimed", "measured here", "verdict"):
        table.add_column(name, overflow="fold")
    for record in records:
        for claim in record["claims"]:
            cells = (record["id"], claim["says"], claim["figure"], "\n".join(measured(claim)), label(claim["state"]))
            table.add_row(*map(Text, cells))
    console().print(table)


def markdown(records: Sequence[Record]) -> Iterator[str]:
    """The lines of docs/claims.md below its title."""
    states = [claim["state"] for record in records for claim in record["claims"]]
    counts = [f"{states.count(s)} {label(s)}" for s in dict.fromkeys([*VERDICTS, *states]) if s in states]
    yield f"{len(states)} claims of {len(records)} papers: {', '.join(counts)}."
    for record in records:
        links = ", ".join(f"[{a}](https://arxiv.org/abs/{a})" for a in record["arxiv"])
        yield from ("", f"## {record['id']}", "", f"{record['title']} ({links})", "")
        yield "| claim | claimed | measured here | verdict |"
        yield "| --- | --- | --- | --- |"
        for claim in record["claims"]:
            where = f"{claim['figure']} ({claim['size']}; {claim['section']})"
            cells = (claim["says"], where, "<br>".join(measured(claim)), f"**{label(claim['state'])}**")
            yield f"| {' | '.join(c.replace('|', chr(92) + '|') for c in cells)} |"
