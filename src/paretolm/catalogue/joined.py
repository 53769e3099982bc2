"""What stands beside an entry: what of it runs here, and what was measured of its claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .. import papers, studies
from ..evaluation import tasks
from ..papers.records import read_records
from ..recipes.index import methods
from .entry import Entry

Record = Mapping[str, Any]
_HERE = Path(__file__).parent
_PLACES = (_HERE / "claims", _HERE.parents[2] / "results" / "claims")  # of an installed package; of a checkout


@dataclass(frozen=True)
class Runs:
    """Names, as users type them, of what stands here for a paper; checked: its claims are put to a test."""

    methods: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    studies: tuple[str, ...] = ()
    checked: bool = False

    @property
    def any(self) -> bool:
        return bool(self.methods or self.tasks or self.studies)

    @property
    def usage(self) -> list[str]:
        """Command lines that run it."""
        found = [f'paretolm compare -m "{name}"' for name in self.methods]
        found += [f"paretolm compare -t {name}" for name in self.tasks]
        return [*found, *(f"paretolm study {name}" for name in self.studies)]


def runs(entry: Entry) -> Runs:
    """By id, and methods by arXiv id too: one file may carry several papers, and one paper several methods."""
    here = _here()
    named = [name for name, of in here["methods"].items() if name == entry.id or entry.arxiv in of]
    same = {kind: (entry.id,) if entry.id in here[kind] else () for kind in ("tasks", "studies", "checks")}
    return Runs(tuple(named), same["tasks"], same["studies"], bool(same["checks"]))


@cache
def _here() -> dict[str, dict[str, tuple[str, ...]]]:
    """Kind -> name -> arXiv ids, where the kind has them; baselines stand for no entry but their own."""
    return {
        "methods": {m.name: () if m.baseline else m.papers for m in methods()},
        "tasks": dict.fromkeys(tasks.names(), ()),
        "studies": dict.fromkeys(studies.names(), ()),
        "checks": dict.fromkeys(papers.names(), ()),
    }


def measured(folder: Path) -> dict[str, Record]:
    """Paper -> record: those of `folder`, else those that come with the package. Raises StoreError."""
    return {**shipped(), **({r["id"]: r for r in read_records(folder)} if folder.is_dir() else {})}


@cache
def shipped() -> dict[str, Record]:
    """Those that come with the package."""
    place = next((p for p in _PLACES if p.is_dir()), None)
    return {} if place is None else {record["id"]: record for record in read_records(place)}


def states(record: Record | None) -> list[str]:
    """The verdict of each claim; empty where nothing was measured."""
    return [] if record is None else [claim["state"] for claim in record["claims"]]
