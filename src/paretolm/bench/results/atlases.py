"""The failure atlas of a comparison, worked out once for the same cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from ...evaluation.source import TextSource
from ..desk import Desk
from ..plan import DENSE, PROCESS_TASKS, Table
from ..records.keys import PACKAGE, digest, file_hash
from .gather import Measured
from .pockets import Atlas, from_plain

_CODE = ("evaluation/statistics.py", "evaluation/traits.py", "evaluation/rows.py", "bench/results/atlas.py")
Cells = Mapping[str, Mapping[str, Measured]]  # recipe -> task -> its finished cell


def atlases(desk: Desk, table: Table, typed: Mapping[str, str], measured: Cells) -> tuple[Atlas, ...]:
    """Of every recipe on every task that it and the untouched model finished. typed: recipe -> as it is shown."""
    dense = measured.get(DENSE, {})
    cells = {
        text: {line: m for line, m in measured[text].items() if line in dense and line not in PROCESS_TASKS}
        for text in table.recipes
        if text != DENSE and text in measured
    }
    kept = {text: {line: [m.cell.key, len(m.items)] for line, m in mine.items()} for text, mine in cells.items()}
    key = digest({"what": "atlas", "cells": kept, "text": desk.source.data_hash, "code": _code()})
    known = desk.store.recall(key)
    if known is None:
        known = [asdict(a) for a in _worked_out(desk.source, table, cells, dense)]
        desk.store.remember(key, known)
    found = (from_plain(data) for data in known)
    return tuple(Atlas(**{**vars(a), "recipe": typed[a.recipe], "task": table.names[a.task]}) for a in found)


def _code() -> dict[str, Any]:
    return {name: file_hash(PACKAGE / name) for name in _CODE}


def _worked_out(source: TextSource, table: Table, cells: Cells, dense: Mapping[str, Measured]) -> Iterator[Atlas]:
    from .atlas import atlas, document_labels

    documents = document_labels(source)
    for text, mine in cells.items():
        for line, own in mine.items():
            if found := atlas(text, line, table.tasks[line]["headline"], own, dense[line], documents):
                yield found
