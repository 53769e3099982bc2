"""Numbers as people read them; the table and the report share these."""

from __future__ import annotations

import math

from ..results.types import FEW, Bytes, Decision, Estimate, Metric, Runtime


def size(count: float | None) -> str:
    """1536 -> '1.50 KiB'; None -> '–'."""
    if count is None:
        return "–"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{digits(count)} {unit}"
        count /= 1024
    return f"{digits(count)} TiB"


def digits(value: float, significant: int = 3) -> str:
    """Rounded to some significant digits, never in scientific form below a million."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "∞" if value > 0 else "–∞"
    places = significant - 1 - math.floor(math.log10(abs(value)))
    if places <= 0:
        return f"{value:,.0f}" if abs(value) < 1e7 else f"{value:.2e}"
    return f"{value:.{min(places, 6)}f}"


def number(e: Estimate) -> str:
    """The value in its unit."""
    return f"{_at(e, e.value, _SHOWN)}{'%' if e.unit == '%' else '×' if e.unit == 'ratio' else ''}"


def signed(e: Estimate) -> str:
    """A difference: always with its sign."""
    text = _at(e, abs(e.value))
    sign = "±" if float(text.replace(",", "") or 0) == 0 else "+" if e.value > 0 else "−"
    return f"{sign}{text}{_suffix(e)}"


def interval(e: Estimate, *, sign: bool = False) -> str:
    """'[low, high]', or why there is none. sign: of a difference."""
    if e.low is None or e.high is None:
        return e.note
    low, high = (_at(e, v, 0 if sign else _SHOWN) for v in (e.low, e.high))
    if sign:
        low, high = (t if t.startswith("-") else f"+{t}" for t in (low, high))
    return f"[{low}, {high}]".replace("-", "−")


_SHOWN = 3  # significant digits of a value at least; a difference shows what its interval earns


def _at(e: Estimate, value: float, least: int = 0) -> str:
    """As many places as the width of the interval earns, four significant digits at most."""
    if e.unit == "ratio":
        return f"{value:.2f}"
    if abs(value) >= 1e7:
        return f"{value:.2e}"
    if e.low is None or e.high is None or e.high <= e.low:
        return digits(value, 4)
    size = math.floor(math.log10(abs(e.value))) if e.value else 0
    earned = 1 - math.floor(math.log10(e.high - e.low))
    places = min(max(earned, least - 1 - size) if least else earned, 3 - size if e.value else earned)
    return f"{value:,.{min(max(places, 0), 4)}f}"


def _suffix(e: Estimate) -> str:
    return {"%": "%", "points": " pt"}.get(e.unit, "")


def few(m: Metric) -> bool:
    """Whether what is shown of it has an interval from too few documents to trust it."""
    shown = m.delta or m.estimate
    return shown.note == FEW and shown.low is not None


def decision(d: Decision) -> str:
    """'same within 0.01 (after 64 of 400)'."""
    said = {
        "same": f"same within {d.margin:g}",
        "worse": f"worse by over {d.margin:g}",
        "better": f"better by over {d.margin:g}",
        "undecided": f"undecided at {d.margin:g}",
    }[d.word]
    return f"{said} ({f'after {d.items:,} of {d.of:,}' if d.items < d.of else f'all {d.of:,}'})"


def share(part: float | None, whole: float | None) -> str:
    """'25%' of the whole; '' where either is unknown."""
    if part is None or not whole:
        return ""
    percent = 100 * part / whole
    return f"{percent:.0f}%" if percent >= 9.5 else f"{percent:.1f}%"


def predicted(b: Bytes | None) -> str:
    """The interval that stood before anything was opened."""
    if b is None or b.predicted_low is None or b.predicted_high is None:
        return "–"
    low, high = size(b.predicted_low), size(b.predicted_high)
    return low if low == high else f"{low} to {high}"


def runtime(r: Runtime | None) -> list[str]:
    """['0.512 s', 'ideal 0.031 s']: as measured, and the least this machine's roofline leaves."""
    return [] if r is None else [f"{digits(r.measured)} s", f"ideal {digits(r.ideal)} s"]


def seconds(value: float) -> str:
    """75 -> '1 min 15 s'."""
    if value < 60:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
