"""Findings of a study: printed, and one HTML file that needs nothing else, with the raw records beside it."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

from ..bench.report.table import console
from ..bench.report.text import digits
from ..files import write_asked
from .study import Column, Findings, Number, Place, Study, Value

_ASSETS = files(__package__) / "assets"
_SHARED = files("paretolm.bench.report") / "assets"


def show(found: Findings) -> None:
    """Prints tables, figures that claims rest on, and notes."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    out = console()
    for table in found.tables:
        shown = Table(title=Text(table.title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        for i, column in enumerate(table.columns):
            shown.add_column(Text(heading(column)), justify="left" if i == 0 else "right", overflow="fold")
        for row in table.rows:
            shown.add_row(*(Text(cell(v, c)) for v, c in zip(row, table.columns, strict=True)))
        out.print(shown)
    for name, number in found.numbers.items():
        out.print(f"{name}: {told(number)}", markup=False, highlight=False, soft_wrap=True)
    for note in found.notes:
        out.print(note, markup=False, highlight=False, soft_wrap=True)


def write(study: Study, at: Place, found: Findings) -> Path:
    """STUDY.json, STUDY.jsonl and STUDY.html in the output directory; the path of the last. Raises StoreError."""
    facts = {"study": study.name, "knobs": asdict(study), "models": list(at.models), **found.to_dict()}
    page = at.output / f"{study.name}.html"
    parts = {
        page.with_suffix(".json"): json.dumps(facts, ensure_ascii=False, allow_nan=False, indent=1) + "\n",
        page.with_suffix(".jsonl"): found.lines(),
        page: render(study, at, found),
    }
    for path, content in parts.items():
        write_asked(path, content, "another -o")
    return page


def render(study: Study, at: Place, found: Findings) -> str:
    """Everything that came from outside (names, texts) is escaped."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"cell": cell, "heading": heading, "told": told}
    return environment.from_string((_ASSETS / "study.html.j2").read_text(encoding="utf-8")).render(
        study=study,
        at=at,
        found=found,
        figures=[asdict(f) for f in found.figures],
        css=(_SHARED / "report.css").read_text(encoding="utf-8"),
        js=(_ASSETS / "study.js").read_text(encoding="utf-8"),
        plotly=(_SHARED / "plotly-basic.min.js").read_text(encoding="utf-8") if found.figures else "",
    )


def heading(column: Column) -> str:
    return f"{column.name}, {column.unit}" if column.unit else column.name


def cell(value: Value, column: Column) -> str:
    """A value as its column is written; a dash for None."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else format(value, column.format)


def told(number: Number) -> str:
    """'0.71 bits [0.68, 0.74], n 20; note'; '80%'."""
    space = "" if number.unit in ("", "%") else " "
    span = "" if number.low is None or number.high is None else f" [{digits(number.low)}, {digits(number.high)}]"
    count = "" if number.n is None else f", n {number.n}"
    return f"{digits(number.value)}{space}{number.unit}{span}{count}{'; ' if number.note else ''}{number.note}"
