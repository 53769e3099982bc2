"""The failure atlas: which kinds of items a recipe hurts most, and which items those are. Loads numpy and scipy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scipy import stats

from ...evaluation import statistics as st
from ...evaluation.rows import METRICS, Row
from ...evaluation.source import TextSource
from ...evaluation.traits import length, traits
from .gather import Measured
from .pockets import Atlas, Harm, Pocket

WORST = 6  # rows kept of each pocket
_LEAST = 3  # rows a pocket has
Labels = Mapping[str, str]  # trait -> value


def atlas(
    recipe: str, task: str, headline: str, own: Measured, dense: Measured, documents: Mapping[str, Labels]
) -> Atlas | None:
    """None where the two share no rows of the headline metric. documents: traits of the text's documents by id; an
    item of a set of its own has those that were written down when it was scored."""
    base = {row.key: row for row in dense.rows if row.metric == headline}
    facts = {one.item: one.facts for one in dense.items}
    pairs = [(row, base[row.key]) for row in own.rows if row.metric == headline and row.key in base]
    if not pairs:
        return None
    harms = [_harm(row, other) for row, other in pairs]
    groups: dict[tuple[str, str], list[int]] = {}
    for place, (row, _) in enumerate(pairs):
        for label in _labels(row, documents, facts.get(row.item, {})).items():
            groups.setdefault(label, []).append(place)
    rows = [row for row, _ in pairs]
    told = {trait for trait, _ in groups if sum(t == trait for t, _ in groups) > 1}  # one value alone tells nothing
    pockets = [
        _pocket(trait, value, [rows[i] for i in places], [harms[i] for i in places])
        for (trait, value), places in groups.items()
        if trait in told and len(places) >= _LEAST
    ]
    whole = _clusters(rows, harms).mean
    return Atlas(
        recipe, task, headline, METRICS[headline].unit, own.cell.key, whole, tuple(sorted(pockets, key=_order))
    )


def document_labels(source: TextSource) -> dict[str, Labels]:
    """Traits of the documents that are judged, and their domain."""
    found: dict[str, Labels] = {}
    for d in source.eval_documents:
        labels = traits(d.text) | ({"domain": d.domain} if d.domain else {})
        found[d.id] = labels
        found.setdefault(d.work, labels)
    return found


def _harm(row: Row, base: Row) -> Harm:
    better = METRICS[row.metric].better
    change = row.value - base.value
    loss = abs(row.value) - abs(base.value) if better == "zero" else -change if better == "higher" else change
    tags = ", ".join(f"{k} {v}" for k, v in row.tags.items())
    return Harm(row.item, row.doc, tags, base.value, row.value, loss)


def _labels(row: Row, documents: Mapping[str, Labels], facts: Mapping[str, object]) -> dict[str, str]:
    """Traits of the document, else of the item; then the row's own tags."""
    written = facts.get("traits")
    known = documents.get(row.doc) or (written if isinstance(written, Mapping) else {})
    labels = {str(k): str(v) for k, v in known.items()}
    prompt = facts.get("prompt")
    if isinstance(prompt, int) and prompt > 1 and "length" not in row.tags:
        labels["length"] = length(prompt)
    return labels | {k: str(v) for k, v in row.tags.items()}


def _clusters(rows: Sequence[Row], harms: Sequence[Harm]) -> st.Clusters:
    return st.clustered([h.loss for h in harms], [r.weight for r in rows], [r.doc for r in rows])


def _pocket(trait: str, value: str, rows: Sequence[Row], harms: Sequence[Harm]) -> Pocket:
    clusters = _clusters(rows, harms)
    error, mean = clusters.standard_error, clusters.mean
    reach = None if error is None else float(stats.t.ppf((1 + st.LEVEL) / 2, clusters.count - 1)) * error
    worst = sorted(harms, key=lambda h: -h.loss)[:WORST]
    low, high = (None, None) if reach is None else (mean - reach, mean + reach)
    return Pocket(trait, value, mean, low, high, len(rows), clusters.count, tuple(h for h in worst if h.loss > 0))


def _order(pocket: Pocket) -> tuple[str, int, float, str]:
    """Traits by name; values as numbers where they are."""
    try:
        return pocket.trait, 0, float(pocket.value), ""
    except ValueError:
        return pocket.trait, 1, 0.0, pocket.value
