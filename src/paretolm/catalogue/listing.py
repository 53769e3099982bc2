"""The catalogue on the terminal: day by day, by family, or ranked; and one paper in detail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ..papers.table import label, measured
from ..papers.verdict import VERDICTS
from ..recipes.index import method_info
from .entry import LISTED, Entry
from .filters import family
from .joined import Runs, runs, states

if TYPE_CHECKING:
    from rich.console import Console

Record = Mapping[str, Any]
UNDATED = "date unknown"
GROUPS = {"day": lambda entry: entry.date or "", "family": family}


def show_list(found: Sequence[Entry], records: Mapping[str, Record], by: str | None) -> None:
    """by: 'day', 'family', or None for one list in the order given."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 1), show_header=False)
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for name, group in _grouped(found, by):
        if by:
            table.add_row(Text(name or UNDATED, style="bold"))
        for entry in group:
            beside = summary(records.get(entry.id)) or ("runs here" if runs(entry).any else "")
            told = Text(f"\n{beside}" if beside else "", style="green")
            table.add_row(f"{'  ' if by else ''}{entry.id}", entry.family or LISTED, Text(entry.title) + told)
    out = _console()
    out.print(table)
    noun = "paper" if len(found) == 1 else "papers"
    here = sum(runs(entry).any for entry in found)
    out.print(f"{len(found)} {noun}; of {here} something runs here", style="dim", markup=False, highlight=False)


def _grouped(found: Sequence[Entry], by: str | None) -> Iterator[tuple[str, Iterable[Entry]]]:
    """Days run from the newest, an unknown one last; families by name."""
    if by is None:
        yield "", found
    else:
        yield from groupby(sorted(found, key=GROUPS[by], reverse=by == "day"), key=GROUPS[by])


def show_one(entry: Entry, record: Record | None) -> None:
    """What it does, what of it runs here, and its claims beside what was measured."""
    out = _console()
    out.print(f"{entry.id}: {entry.title}", style="bold", markup=False, highlight=False, emoji=False)
    for line in detail(entry, runs(entry), record):
        out.print(line, markup=False, highlight=False, emoji=False, soft_wrap=False)


def detail(entry: Entry, found: Runs, record: Record | None) -> Iterator[str]:
    """The lines below the title."""
    yield " · ".join(filter(None, [entry.date or UNDATED, entry.family, entry.kind_told, entry.url]))
    if entry.authors:
        yield f"by {people(entry.authors)}"
    if entry.listed:
        yield f"filed under: {', '.join(entry.categories) or 'nothing'}"
        yield from ("", "Nothing but these facts is known of it here: it was listed by a feed, and nothing of it runs.")
        return
    if entry.slots:
        yield f"acts on: {', '.join(entry.slots)}"
    yield f"needs: {', '.join(entry.needs) or 'nothing but a model'}"
    yield from ("", entry.says, "", f"Claimed: {entry.claims}", f"Reproduced here if: {entry.shows}", "")
    yield from _usage(entry, found)
    yield from _claims(entry, found, record)


def summary(record: Record | None) -> str:
    """'2 reproduced, 1 not reproduced'; empty where nothing was measured."""
    told = states(record)
    return ", ".join(f"{told.count(s)} {label(s)}" for s in dict.fromkeys([*VERDICTS, *told]) if s in told)


def people(authors: Sequence[str], most: int = 8) -> str:
    """'A, B and 12 more', never '1 more'."""
    shown = ", ".join(authors[:most])
    return ", ".join(authors) if len(authors) <= most + 1 else f"{shown} and {len(authors) - most} more"


def _usage(entry: Entry, found: Runs) -> Iterator[str]:
    if not found.any:
        yield "Nothing of it runs here yet."
        return
    yield "Run it:"
    yield from (f"  {line}" for line in found.usage)
    for name in found.methods:
        knobs = method_info(name).knobs
        if knobs:
            yield f"Knobs of {name}:"
        for knob in knobs:
            default = "required" if knob.default is None else knob.default
            yield f"  {knob.name} = {default}{f': {knob.help}' if knob.help else ''}"


def _claims(entry: Entry, found: Runs, record: Record | None) -> Iterator[str]:
    if record is None:
        if found.checked:
            yield from ("", f"Its claims have a check that was not run: paretolm claims {entry.id}")
        return
    for claim in record["claims"]:
        yield from ("", f"{label(claim['state'])}: {claim['says']}")
        yield f"  claimed: {claim['figure']} ({claim['size']}; {claim['section']})"
        for line in measured(claim):
            yield f"  measured: {line}"


def _console() -> Console:
    from ..bench.report.table import console

    return console()
