"""The page over all records: claimed beside measured, one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..bench.report.text import digits
from ..bench.report.text import seconds as spelt_seconds
from ..files import write_asked
from ..studies.study import Number
from .records import read_records
from .strip import strip
from .table import label
from .verdict import VERDICTS, told

_ASSETS = files(__package__) / "assets"
_SHARED = files("paretolm.bench.report") / "assets"


def write_page(folder: Path) -> Path:
    """FOLDER/index.html over the records there. Raises StoreError."""
    return write_asked(folder / "index.html", render(read_records(folder)), "another -o")


def render(records: Sequence[Mapping[str, Any]]) -> str:
    """Everything that came from outside is escaped."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"label": label, "number": _number, "limit": _limit, "strip": strip}
    environment.filters |= {"seconds": spelt_seconds, "digits": digits}
    states = [claim["state"] for record in records for claim in record["claims"]]
    return environment.from_string((_ASSETS / "claims.html.j2").read_text(encoding="utf-8")).render(
        records=records,
        counts={state: states.count(state) for state in dict.fromkeys([*VERDICTS, *states])},
        families=sorted({record["family"] for record in records}),
        css=(_SHARED / "report.css").read_text(encoding="utf-8") + (_ASSETS / "claims.css").read_text(encoding="utf-8"),
        js=(_ASSETS / "claims.js").read_text(encoding="utf-8"),
    )


def _number(facts: Mapping[str, Any]) -> str:
    return told(Number(**facts))


def _limit(facts: Mapping[str, Any]) -> str:
    """'at most 1.05'."""
    side = "at_most" if "at_most" in facts else "at_least"
    return f"{side.replace('_', ' ')} {digits(facts[side])}"
