"""Which results the judge stands by: what it checks of itself whenever rows are read, before anything is ranked."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from ...errors import UserError
from ...evaluation.rows import METRICS, Row
from ..plan import DENSE
from ..records.keys import PACKAGE, digest, file_hash
from ..records.origin import audit_memo, origin, stranger
from ..records.store import Store
from .gather import Measured
from .types import CellResult, Estimate

_ROWS = 64  # of the untouched model, that the join of rows is tried on
NOISE = 1e-3  # relative; the same in other chunks differs by less
_CODE = ("evaluation/statistics.py", "evaluation/summary.py", "bench/results/estimates.py", "bench/results/trust.py")
_FAILED = "the judge failed its own check: "


def trusted(
    store: Store, content: str, seed: int, measured: Mapping[str, Measured], results: Mapping[str, CellResult],
    approximate: Mapping[str, Collection[str]] | None,
) -> dict[str, CellResult]:  # fmt: skip
    """Recipe -> its result on one task, without numbers and with a sentence where they cannot be trusted.

    content: hash of the model's contents; approximate: recipe -> its methods that do not promise the
    untouched model's numbers; None where recipes do not all read the same tokens, so that equal rows say nothing."""
    dense = measured.get(DENSE)
    of_dense = _stranger(dense, content) if dense else ""
    join = _join_memo(store, dense, seed) if dense and len(measured) > 1 else ""
    found = {}
    for name, result in results.items():
        m = measured[name]
        doubt = _stranger(m, content)
        if name != DENSE:
            doubt = doubt or of_dense or join or (store.recall(audit_memo(m.cell.key)) or {}).get("doubt", "")
        if doubt:
            found[name] = _suspect(result, doubt)
        else:
            found[name] = result if approximate is None else _acted(result, m, dense, approximate[name])
    return found


def _suspect(result: CellResult, doubt: str) -> CellResult:
    return replace(result, state="suspect", reason=doubt, metrics=(), series=())


def _stranger(m: Measured, content: str) -> str:
    inputs = m.cell.inputs
    if inputs is None:
        return ""
    wrong = stranger((one.facts for one in m.items), origin(content, inputs.data, inputs.recipe_hash))
    return _FAILED + wrong if wrong else ""


# --- whether a recipe acted, by what it changed ---


def _acted(result: CellResult, m: Measured, dense: Measured | None, approximate: Collection[str]) -> CellResult:
    """Counters and rows must tell the same story."""
    gap = largest_change(m.rows, dense.rows) if dense and m is not dense else None
    if gap is None:
        return result
    if result.state == "did not act" and gap > NOISE:
        told = f"{' and '.join(m.idle)} counted nothing, and yet a row differs from the untouched model's by {gap:.2g}"
        return replace(result, reason=told)
    seen = [name for name in approximate if name not in m.cell.unseen]
    if result.state == "done" and gap == 0 and seen:
        told = f"every row is the untouched model's to the last bit, whatever {' and '.join(seen)} counted"
        return replace(result, state="did not act", reason=told)
    return result


def largest_change(rows: Sequence[Row], dense: Sequence[Row]) -> float | None:
    """Of a row of many values, relative to 1 + its size; None where there is none, for right and wrong say little."""
    own = {r.key: r.value for r in dense if METRICS[r.metric].scale != "binary"}
    gaps = [abs(r.value - own[r.key]) / (1 + abs(own[r.key])) for r in rows if r.key in own]
    return max(gaps, default=None)


# --- whether rows are joined by what they are of ---


def _join_memo(store: Store, dense: Measured, seed: int) -> str:
    """Tried once for the same rows and code."""
    code = {name: file_hash(PACKAGE / name) for name in _CODE}
    items = [one.item for one in dense.items]
    memo = digest({"what": "join", "cell": dense.cell.key, "items": items, "seed": seed, "code": code})
    known = store.recall(memo)
    if known is None:
        known = {"doubt": join_doubt(dense.rows, seed)}
        store.remember(memo, known)
    return str(known["doubt"])


def join_doubt(rows: Sequence[Row], seed: int) -> str:
    """A twin of the untouched model, its rows in another order, differs by nothing; one that lacks a row is refused.

    The places are those of real rows, the values made up, each another, so that no two can stand in for each other."""
    from .estimates import estimates

    places = list({(r.item, r.doc, tuple(sorted(r.tags.items()))): r for r in rows}.values())[:_ROWS]
    own = [replace(r, metric="margin", value=float(i)) for i, r in enumerate(places)]
    if len(own) < 2:
        return ""
    twin = random.Random(seed).sample(own, len(own))
    delta = estimates({DENSE: own, "twin": twin}, "margin", seed)["twin"][0][0].delta
    if delta is None or not _nothing(delta):
        told = "no difference at all" if delta is None else f"{delta.value:.3g} [{delta.low}, {delta.high}]"
        return f"{_FAILED}equal rows in another order differ by {told}, not by 0: rows are not paired by item"
    try:
        estimates({DENSE: own, "twin": twin[1:]}, "margin", seed)
    except UserError:
        return ""
    return f"{_FAILED}a recipe that lacks an item is compared with the untouched model all the same"


def _nothing(delta: Estimate) -> bool:
    return delta.value == 0 and delta.low in (0, None) and delta.high in (0, None)
