"""Numbers as a card's reader sees them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any


def percent(share: float) -> str:
    """0.943 -> '94%'; below ten percent one decimal."""
    return f"{100 * share:.0f}%" if share >= 0.0995 or share == 0 else f"{100 * share:.1f}%"


def between(found: Mapping[str, Any]) -> str:
    """'[87%, 97%]' of a share."""
    return f"[{percent(found['low'])}, {percent(found['high'])}]"


def with_interval(found: Mapping[str, Any]) -> str:
    return f"{percent(found['value'])} {between(found)}"


def bits(value: float) -> str:
    return f"{value:.3f}"


def perplexity(value: float | None) -> str:
    """Four digits, and no decimal that nobody reads; '–' for what was no number."""
    return "–" if value is None else f"{value:.1f}" if value < 1000 else f"{value:,.0f}"


def million(count: float) -> str:
    """2033024 -> '2.03 million'."""
    return f"{count / 1e6:.3g} million" if count >= 1e6 else f"{count:,.0f}"


def spans(edges: Sequence[float]) -> list[str]:
    """Borders in trained lengths -> '0–0.5', '0.5–1', ..."""
    return [f"{a:g}–{b:g}" for a, b in pairwise(edges)]


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = True) -> Iterator[str]:
    """Lines of a Markdown table; numbers, in every column but the first, stand to the right."""
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join(['---', *['---:' if numbers else '---'] * (len(head) - 1)])} |"
    for cells in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def fenced(text: str) -> str:
    """A block of code that no line of the text can end."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"
