"""The catalogue as a static site: one HTML file with search and filters, readable on a phone, no network needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

from ..files import write_asked
from ..papers.table import label, measured
from ..papers.verdict import VERDICTS
from ..recipes.index import method_info
from .entry import NEEDS, SLOTS, Entry
from .filters import NONE, UNKNOWN, family, needs, slots
from .joined import runs, states
from .listing import UNDATED, people, summary

_ASSETS = files(__package__) / "assets"
_SHARED = files("paretolm.bench.report") / "assets"


def write_site(folder: Path, entries: Sequence[Entry], records: Mapping[str, Mapping[str, Any]]) -> Path:
    """FOLDER/index.html. Raises StoreError where it cannot be written."""
    return write_asked(folder / "index.html", render(entries, records), "another folder with --site")


def render(entries: Sequence[Entry], records: Mapping[str, Mapping[str, Any]]) -> str:
    """Everything that came from outside is escaped."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"label": label, "measured": measured, "method": method_info, "people": people}
    return environment.from_string(_text("papers.html.j2")).render(
        days=_days([_paper(entry, records.get(entry.id)) for entry in entries]),
        choices={
            "family": sorted({family(entry) for entry in entries}),
            "kind": sorted({entry.kind for entry in entries}),
            "slot": _met([*SLOTS, NONE, UNKNOWN], map(slots, entries)),
            "need": _met([NONE, *NEEDS, UNKNOWN], map(needs, entries)),
            "verdict": [*VERDICTS, NONE],
        },
        verdicts=Counter(state for entry in entries for state in set(states(records.get(entry.id))) or {NONE}),
        count=len(entries),
        css=(_SHARED / "report.css").read_text(encoding="utf-8") + _text("papers.css"),
        js=_text("papers.js"),
    )


def _paper(entry: Entry, record: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the template shows of one."""
    return {
        "entry": entry,
        "family": family(entry),
        "slots": slots(entry),
        "needs": needs(entry),
        "runs": runs(entry),
        "claims": [] if record is None else record["claims"],
        "verdicts": sorted(set(states(record))) or [NONE],
        "told": summary(record),
    }


def _met(known: Sequence[str], found: Iterable[tuple[str, ...]]) -> list[str]:
    """Those of the known values that some entry has."""
    met = {value for values in found for value in values}
    return [value for value in known if value in met]


def _days(papers: Sequence[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """(date, papers), the newest first."""
    ordered = sorted(papers, key=lambda paper: paper["entry"].date or "", reverse=True)
    return [(day or UNDATED, list(group)) for day, group in groupby(ordered, key=lambda paper: paper["entry"].date)]


def _text(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
