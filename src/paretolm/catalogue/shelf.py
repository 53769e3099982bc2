"""The user's own file of papers, which `papers sync` fills: one line of facts a paper, beside the catalogue's entries."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from ..errors import StoreError
from ..files import locked, write_whole
from .entry import Entry
from .facts import Facts, Refused, keys

PLACE = "PARETOLM_PAPERS"
_NAMES = {field.name for field in fields(Facts)}


def place() -> Path:
    """$PARETOLM_PAPERS, else paretolm/papers.jsonl among the user's data."""
    if given := os.environ.get(PLACE):
        return Path(given).expanduser()
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "paretolm" / "papers.jsonl"


@dataclass(frozen=True)
class Merged:
    """What became of a feed's papers. known: were there, in the catalogue or the file; completed: of these, how many
    now have facts that were missing."""

    new: tuple[Facts, ...]
    known: int
    completed: int


def read(path: Path) -> tuple[Facts, ...]:
    """Empty where there is no file. Raises StoreError for a file that holds anything else."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from None
    return tuple(_facts(path, number, line) for number, line in enumerate(lines, 1) if line)


def add(path: Path, found: Sequence[Facts], entries: Sequence[Entry], day: str) -> Merged:
    """Into the file, which is written whole or not at all; who comes while another writes waits. day: 'YYYY-MM-DD'.

    Raises StoreError, and leaves the file as it was."""
    try:
        with locked(path.with_name(f".{path.name}.lock")):
            before = read(path)
            after, merged = merge(before, found, entries, day)
            if after != before:
                write_whole(path, "".join(f"{_line(paper)}\n" for paper in after))
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}); give another place with --to") from None
    return merged


def merge(
    before: Sequence[Facts], found: Iterable[Facts], entries: Sequence[Entry], day: str
) -> tuple[tuple[Facts, ...], Merged]:
    """A paper is known by its arXiv id, its DOI, or its title. One that the catalogue has gets a line too where the
    feed knows more of it: authors, say."""
    shelf, ours = _Index(before), _Index(entries)
    after, new, known, completed = list(before), [], 0, 0
    for paper in found:
        row, entry = shelf.find(paper), ours.find(paper)
        known += row is not None or entry is not None
        if row is not None:
            fuller = after[row].with_(paper)
            completed += fuller != after[row]
            after[row] = fuller
        else:
            after.append(replace(paper, added=day))
            if entry is None:
                new.append(after[-1])
            completed += entry is not None
        shelf.put(after[-1 if row is None else row], len(after) - 1 if row is None else row)
    return tuple(after), Merged(tuple(new), known, completed)


def beside(entries: Sequence[Entry], listed: Iterable[Facts]) -> tuple[Entry, ...]:
    """Entries with what the user's file knows of them, and those that it lists alone, the newest first."""
    index, found, more = _Index(entries), list(entries), []
    for paper in listed:
        row = index.find(paper)
        if row is None:
            more.append(paper.entry())
        else:
            found[row] = replace(
                found[row], arxiv=found[row].arxiv or paper.arxiv, authors=paper.authors, doi=paper.doi, categories=paper.categories,
                date=found[row].date or paper.published,
            )  # fmt: skip
    return tuple(sorted([*found, *more], key=lambda entry: entry.date or "", reverse=True))


def unknown(entries: Sequence[Entry], listed: Iterable[Facts]) -> list[Facts]:
    """Those that are no entry of the catalogue."""
    index = _Index(entries)
    return [paper for paper in listed if index.find(paper) is None]


class _Index:
    """Rows of papers by each of their keys."""

    def __init__(self, papers: Iterable[Facts | Entry]) -> None:
        self._rows: dict[tuple[str, str], list[tuple[Facts | Entry, int]]] = {}
        for row, paper in enumerate(papers):
            self.put(paper, row)

    def put(self, paper: Facts | Entry, row: int) -> None:
        for key in keys(paper.arxiv, paper.doi, paper.title):
            self._rows.setdefault(key, []).append((paper, row))

    def find(self, paper: Facts) -> int | None:
        for key in paper.keys:
            for other, row in self._rows.get(key, ()):
                if key[0] != "title" or paper.is_of(other):
                    return row
        return None


def _facts(path: Path, number: int, line: str) -> Facts:
    try:
        told = json.loads(line)
        if not isinstance(told, dict) or set(told) - _NAMES:
            raise ValueError("it holds no facts of a paper")
        return Facts.of(told.get("title"), [told.get("arxiv"), told.get("doi")], **_rest(told))
    except (ValueError, TypeError, RecursionError) as error:
        why = str(error) if isinstance(error, (Refused, ValueError)) else type(error).__name__
        raise StoreError(f"{path}, line {number}: {why}; mend that line, or move the file away") from None


def _rest(told: dict[str, object]) -> dict[str, object]:
    return {name: told.get(name) for name in ("authors", "published", "updated", "categories", "added")}


def _line(paper: Facts) -> str:
    return json.dumps({name: fact for name, fact in asdict(paper).items() if fact}, ensure_ascii=False)
