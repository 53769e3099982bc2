"""What a search found as one HTML file that needs nothing else: no network, no script but the theme's."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from ...files import write_asked
from ..report.text import digits, size
from . import table
from .halving import axis_of
from .outcome import heading
from .picture import picture
from .types import Tuned

_ASSETS = files(__package__) / "assets"
_SHARED = files("paretolm.bench.report") / "assets"


def write(found: Tuned, path: Path) -> None:
    """Raises StoreError."""
    write_asked(path, render(found), "another --report")


def render(found: Tuned) -> str:
    """Everything that came from outside (names, reasons) is escaped."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"size": size, "digits": digits}
    return environment.from_string((_ASSETS / "tune.html.j2").read_text(encoding="utf-8")).render(
        t=found,
        verdict=table.verdict(found),
        remarks=table.remarks(found),
        points=table.ordered(found),
        check_words=lambda check: table.check_words(found, check),
        bytes_of=lambda point: table.bytes_of(found, point),
        mark=lambda point: table.mark(found, point),
        quality=table.quality,
        heading=heading,
        axis="cache" if axis_of(found.asked) == "kv" else "weights and cache",
        timed=found.asked.named("latency"),
        picture=picture(found),
        css=(_SHARED / "report.css").read_text(encoding="utf-8") + (_ASSETS / "tune.css").read_text(encoding="utf-8"),
    )
