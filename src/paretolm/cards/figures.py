"""The pictures of a card, drawn from card.json alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOLDER = "card"
FIGURES = {"recall": "recall.png", "longer": "positions.png", "first_tokens": "sinks.png", "training": "loss.png"}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # told apart by the colour-blind too (Okabe and Ito)
_SIZE, _DPI = (5.6, 3.2), 140


def require_matplotlib() -> None:
    """Raises UserError where it is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise UserError(
            "the figures of a card need matplotlib: pip install 'paretolm[train]', or leave out --to"
        ) from None


def draw(card: Mapping[str, Any], folder: Path) -> list[Path]:
    """A PNG for every part of the card that has one. Raises UserError without matplotlib."""
    require_matplotlib()
    drawn = []
    for key, name in FIGURES.items():
        if card.get(key):
            figure = _DRAWN[key](card[key])
            figure.savefig(folder / name, dpi=_DPI, metadata={"Software": None})
            drawn.append(folder / name)
    return drawn


def _figure(columns: int = 1) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_SIZE[0] * (1 + 0.4 * (columns - 1)), _SIZE[1]), layout="constrained")
    axes = list(figure.subplots(1, columns, squeeze=False)[0])
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(axis="y", color="0.9", linewidth=0.8)
        each.set_axisbelow(True)
    return figure, axes


def _recall(found: Mapping[str, Any]) -> Figure:
    figure, (axes,) = _figure()
    numbers = list(dict.fromkeys(c["num_facts"] for c in found["cells"]))
    for cell in found["cells"]:
        literal = cell["kind"] == "literal"
        facts = "1 fact" if cell["num_facts"] == 1 else f"{cell['num_facts']} facts"
        axes.plot(
            [100 * d for d in found["depths"]],
            [100 * d["value"] for d in cell["by_depth"]],
            color=COLOURS[numbers.index(cell["num_facts"]) % len(COLOURS)],
            linestyle="-" if literal else "--",
            marker="o" if literal else "s",
            markersize=4,
            label=f"{facts}, {cell['kind']}",
        )
    axes.set(
        xlabel="where the fact stands (% of the text)", ylabel="recall (%)", ylim=(-3, 103), xticks=range(0, 101, 25)
    )
    _legend(figure)
    return figure


def _longer(found: Mapping[str, Any]) -> Figure:
    figure, (axes,) = _figure()
    edges = found["edges"]
    middles = [(a + b) / 2 for a, b in pairwise(edges)]
    styles = ("-", "-", "--")
    for number, (name, line) in enumerate(found["perplexity"].items()):
        axes.plot(middles, line, styles[number % 3], color=COLOURS[number], marker="o", markersize=4, label=name)
    axes.axvline(1, color="0.6", linewidth=0.8)
    axes.set(xlabel="position (trained lengths)", ylabel="perplexity", xscale="log", yscale="log")
    _plain_ticks(axes, [e for e in edges if e > 0])
    _legend(figure)
    return figure


def _plain_ticks(axes: Axes, places: list[float]) -> None:
    """The borders as they are, and 1, 2, 5 of each power of ten, where a log axis would write powers."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axes.set_xticks(places, [f"{p:g}" for p in places])
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())


def _first_tokens(found: Mapping[str, Any]) -> Figure:
    figure, (axes,) = _figure()
    layers = range(len(found["by_layer"]))
    axes.bar(layers, [100 * s for s in found["by_layer"]], color=COLOURS[0], width=0.7)
    axes.axhline(100 * found["even"], color=COLOURS[1], linestyle="--", label="if attention were spread evenly")
    axes.set(xlabel="layer", ylabel=f"attention on the first {found['tokens']} tokens (%)", xticks=list(layers))
    _legend(figure)
    return figure


def _training(found: Mapping[str, Any]) -> Figure:
    figure, axes = _figure(2 if found["valid"] else 1)
    axes[0].plot(*zip(*found["loss"], strict=True), color=COLOURS[0], linewidth=1)
    axes[0].set(xlabel="step", ylabel="loss (nats a token)")
    if found["valid"]:
        axes[1].plot(*zip(*found["valid"], strict=True), color=COLOURS[1], marker="o", markersize=3)
        axes[1].set(xlabel="step", ylabel="bits per byte, held-out text")
    return figure


def _legend(figure: Figure) -> None:
    """Above the axes, where no line runs through it."""
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=7.5)


_DRAWN: dict[str, Callable[[Mapping[str, Any]], Figure]] = {
    "recall": _recall,
    "longer": _longer,
    "first_tokens": _first_tokens,
    "training": _training,
}
