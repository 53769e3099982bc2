"""What the failure atlas holds: plain data, kept with the results. Loads neither numpy nor scipy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Harm:
    """One row of an item beside the untouched model's. loss: how much worse, in the metric's own unit."""

    item: str
    doc: str
    tags: str
    untouched: float
    value: float
    loss: float


@dataclass(frozen=True)
class Pocket:
    """Rows of one kind: mean loss [low, high] (Student's t over documents), and the worst of them."""

    trait: str
    value: str
    loss: float
    low: float | None
    high: float | None
    num_rows: int
    num_documents: int
    worst: tuple[Harm, ...] = ()


@dataclass(frozen=True)
class Atlas:
    """Of one recipe on one task. loss: over all rows; cell: the key of its rows in the results file."""

    recipe: str  # as typed
    task: str
    metric: str
    unit: str
    cell: str
    loss: float
    pockets: tuple[Pocket, ...]


def hurt(atlases: Iterable[Atlas]) -> list[tuple[Atlas, Pocket]]:
    """Pockets that are surely worse off than nothing, those farthest above their recipe's loss first."""
    found = [(a, p) for a in atlases for p in a.pockets if p.low is not None and p.low > max(0.0, a.loss)]
    return sorted(found, key=lambda pair: pair[0].loss - pair[1].loss)


def from_plain(data: Mapping[str, Any]) -> Atlas:
    """The inverse of dataclasses.asdict."""
    pockets = tuple(Pocket(**{**p, "worst": tuple(Harm(**h) for h in p["worst"])}) for p in data["pockets"])
    return Atlas(**{**data, "pockets": pockets})
