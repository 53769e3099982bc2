"""Comparison -> one self-contained HTML file: data, drawing code and style inside, no network."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from ...files import write_asked
from ..results.findings import findings
from ..results.types import Comparison, Metric, TaskInfo
from . import apart, atlas, charts, ledger, text
from .certainty import certainty
from .table import status

_ASSETS = files(__package__) / "assets"


def write(comparison: Comparison, path: Path) -> None:
    """Writes the report in one step. Raises StoreError."""
    write_asked(path, render(comparison), "another --report")


_FILTERS = ("size", "number", "signed", "interval", "decision", "few", "predicted", "digits", "runtime", "seconds")


def render(comparison: Comparison) -> str:
    """The page. Everything that came from outside (names, recipes, reasons) is escaped."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {name: getattr(text, name) for name in _FILTERS} | {"plain": "{:,g}".format}
    return environment.from_string(_asset("report.html.j2")).render(
        c=comparison,
        findings=findings(comparison),
        title=comparison.title or f"{comparison.model}: {len(comparison.recipes) - 1} recipes compared",
        share=text.share,
        family=charts.family,
        legend=charts.legend(comparison),
        trades=(trades := charts.trades(comparison)),
        curves=(curves := charts.curves(comparison)),
        grids=charts.grids(comparison),
        shade=shade,
        heading=heading,
        verdict=verdict,
        status=status,
        certainty=certainty(comparison),
        ledger=ledger,
        groups=apart.groups(comparison.tasks),
        begins=apart.beginnings(comparison.tasks),
        apart=apart.section(comparison),
        atlas=atlas.section(comparison),
        data={"trades": trades, "curves": curves},
        css=_asset("report.css"),
        js=_asset("report.js"),
        plotly=_asset("plotly-basic.min.js"),
    )


def heading(task: TaskInfo) -> list[str]:
    """What stands below a task's name: the knob that tells it from its namesakes, and its first metric."""
    name, _, knob = task.name.rstrip(")").partition("(")
    return [word for word in (knob, next((m for m in task.metrics[:1] if m != name), "")) if word]


def verdict(metric: Metric) -> str:
    """'down' for a gain, 'up' for a loss, '' where the interval holds zero."""
    d = metric.delta
    if d is None or d.low is None or d.high is None or d.low <= 0 <= d.high:
        return ""
    return "down" if (d.value > 0) == metric.higher_is_better else "up"


def shade(value: float) -> int:
    """0 to 10: how dark a cell of a grid of shares is drawn."""
    return round(10 * min(max(value, 0.0), 1.0))


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
