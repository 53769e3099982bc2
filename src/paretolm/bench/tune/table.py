"""What a search found, in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..report.table import console
from ..report.text import seconds, size
from ..results.types import Estimate
from .halving import axis_of
from .limits import Limit
from .outcome import bare, heading, shown, span
from .types import Check, Point, Proof, Tuned

if TYPE_CHECKING:
    from rich.table import Table

_BESIDE = {
    "held_weight_bytes": "weights",
    "held_kv_bytes": "cache",
    "held_index_bytes": "beside the cache",
    "steady_total_bytes": "process, steady",
    "peak_total_bytes": "process, peak",
}


def show(found: Tuned) -> None:
    """Prints the frontier, the proof and what was left out."""
    out = console()
    out.print(frontier_table(found))
    for proof in found.proofs:
        out.print(proof_table(found, proof))
    for line in (*verdict(found), *remarks(found)):
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def verdict(found: Tuned) -> list[str]:
    """The answer: the recipe, or what is in the way and what comes nearest."""
    if found.best:
        return [f"best recipe: {found.best.line}; its proof meets {found.asked}"]
    told = [f"no recipe meets {found.asked} at {found.context:,} tokens", found.binds]
    if found.nearest:
        told.append(f"nearest: {found.nearest.line}, {told_of(found, found.nearest)}")
    for one in found.relaxed:
        limit = next(limit for limit in found.limits if limit.name == one.limit)
        told.append(f"if {limit.text} alone gave way to {shown(limit, one.needs)}: {one.line}")
    return told


def told_of(found: Tuned, point: Point) -> str:
    """'25.2% of the cache, 1.02x'."""
    held, values = bytes_of(found, point), quality_words(found, point)
    return ", ".join([held, *values])


def bytes_of(found: Tuned, point: Point) -> str:
    axis = axis_of(found.asked)
    what = "cache" if axis == "kv" else "weights and cache"
    return f"{what} {predicted(found, point)[0]} ({predicted(found, point)[1]})"


def predicted(found: Tuned, point: Point) -> tuple[str, str]:
    """('217 KiB', '1.3%'), or ('217–841 KiB', ...) where the prediction leaves room."""
    low, high = point.foreseen.bytes(axis_of(found.asked))
    whole = found.dense.bytes(axis_of(found.asked))[0]
    if high is None or high <= 1.005 * low:
        return size(low), f"{100 * low / whole:.1f}%"
    return f"{size(low)}–{size(high)}", f"{100 * low / whole:.1f}–{100 * high / whole:.1f}%"


def quality_words(found: Tuned, point: Point) -> list[str]:
    limits = [*found.watched, *(limit for limit in found.limits if limit.name == "latency")]
    return [f"{heading(x)}: {quality(x, point.scores.get(x.name))}" for x in limits if x.name in point.scores]


def quality(limit: Limit, e: Estimate | None) -> str:
    """'1.021x [1.010x, 1.034x]'."""
    return "–" if e is None else f"{bare(limit, e.value)} {span(limit, e.low, e.high)}".strip()


def ordered(found: Tuned) -> list[Point]:
    """The frontier and what was ranked beside it, by bytes; then the others."""
    axis = axis_of(found.asked)
    return sorted(found.points, key=lambda p: (p.stage != "ranked", p.foreseen.most(axis), p.line))


def frontier_table(found: Tuned) -> Table:
    """Recipes that saw every item of the search, the fewest bytes first."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    made = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    axis = axis_of(found.asked)
    made.add_column("recipe", overflow="fold", min_width=18)
    heads = ["cache" if axis == "kv" else "weights and cache", *(heading(w) for w in found.watched)]
    timed = found.asked.named("latency")
    for head in (*heads, *([heading(timed)] if timed else []), "items", "documents"):
        made.add_column(head, justify="right")
    made.add_column("")
    for p in (p for p in ordered(found) if p.stage == "ranked"):
        cells = ["\n".join(predicted(found, p))]
        cells += [_two_lines(w, p.scores.get(w.name)) for w in found.watched]
        cells += [_two_lines(timed, p.scores.get("latency"))] if timed else []
        counts = [str(p.items), str(max(e.num_documents for e in p.scores.values()))]
        made.add_row(*(Text(c) for c in (p.line, *cells, *counts, mark(found, p))), style=_style(found, p))
    return made


def _two_lines(limit: Limit, e: Estimate | None) -> str:
    return "–" if e is None else f"{bare(limit, e.value)}\n{span(limit, e.low, e.high)}".strip()


def mark(found: Tuned, p: Point) -> str:
    """Why a row is there."""
    words = ["best"] if found.best and p.line == found.best.line else []
    words += ["untouched"] if p.line == found.dense.line else []
    words += ["on the frontier"] if p.on_frontier else []
    words += ["nearest"] if found.nearest and p.line == found.nearest.line else []
    return ", ".join(words)


def _style(found: Tuned, p: Point) -> str:
    best = found.best.line if found.best else ""
    return "bold" if p.line in (best, found.dense.line) else "" if p.on_frontier else "dim"


def proof_table(found: Tuned, proof: Proof) -> Table:
    """Every limit as it was measured again."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    made = Table(title=Text(f"proof of {proof.line}"), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for head in ("limit", "measured", "95% interval", "untouched", "n", ""):
        made.add_column(head, justify="left" if head in ("limit", "") else "right")
    for check in proof.checks:
        made.add_row(*(Text(word) for word in check_words(found, check)))
    if proof.reason:
        made.add_row(Text("failed"), Text(proof.reason))
    return made


def check_words(found: Tuned, check: Check) -> list[str]:
    """Limit, value, interval, the untouched model's, how many, whether it is met."""
    limit = next(limit for limit in found.limits if limit.text == check.limit)
    e = check.estimate
    dense = "–" if check.dense is None else shown(limit, check.dense)
    counted = limit.name in ("kv", "memory")
    count = "counted" if counted else f"{e.num_items}" if limit.name == "latency" else f"{e.num_documents} documents"
    interval = "" if counted else span(limit, e.low, e.high) or e.note
    return [check.limit, shown(limit, e.value), interval, dense, count, "met" if check.met else "missed"]


def remarks(found: Tuned) -> list[str]:
    """How it was found, and what was not looked at."""
    c = found.counts
    told = [
        f"{c.get('singles', 0)} single methods and knobs, {c.get('combinations', 0):,} combinations predicted; scored at "
        f"{found.context:,} tokens: {', '.join(f'{n} on rung {name[5:]}' for name, n in c.items() if name.startswith('rung'))}; "
        f"{c['items']} items for the search, {c['held out']} for proofs, seed {found.seed}"
    ]
    shown_proof = found.best or next(iter(found.proofs), None)
    if shown_proof and shown_proof.beside:
        told.append(", ".join(f"{_BESIDE[n]} {size(v)}" for n, v in shown_proof.beside.items()))
    told += [f"left out, {left.reason}: {', '.join(left.methods)}" for left in found.left_out]
    failed = [p for p in found.points if p.stage == "failed"]
    told += [f"{p.line}: {p.reason}" for p in failed]
    told += found.notes
    return [*told, reused(found.computed, found.reused, found.store, found.seconds)]


def reused(computed: int, old: int, store: str, took: float) -> str:
    return f"{computed} items scored, {old} read from {store}, in {seconds(took)}"
