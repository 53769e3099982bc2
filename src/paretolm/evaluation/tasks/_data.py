"""Evaluation sets that users bring: rows checked field by field, and which of them are scored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...contracts import knob
from ...errors import TextError
from ..packed import PACKED, kind, unpacked
from ..task import Task
from ._hub import PREFIX, hub_rows
from ._layouts import ours

_SHOWN = 40  # characters of a wrong value


@dataclass(frozen=True)
class Record:
    """One line. where: file and line, for messages; every reader of a field raises TextError."""

    where: str
    number: int
    fields: Mapping[str, Any]

    @property
    def id(self) -> str:
        """As given, else by its line."""
        given = self.fields.get("id")
        return str(given) if isinstance(given, str | int) else f"line-{self.number}"

    def text(self, name: str) -> str:
        found = self._field(name)
        return found if isinstance(found, str) and found.strip() else self.fail(name, "text")

    def optional(self, name: str) -> str:
        """Empty where the field is missing."""
        return self.text(name) if self.fields.get(name) else ""

    def texts(self, name: str, least: int = 1) -> tuple[str, ...]:
        found = self._field(name)
        good = isinstance(found, list) and len(found) >= least and all(isinstance(x, str) and x.strip() for x in found)
        return tuple(found) if good else self.fail(name, f"a list of {least} or more texts")

    def index(self, name: str, below: int) -> int:
        found = self._field(name)
        good = isinstance(found, int) and not isinstance(found, bool) and 0 <= found < below
        return int(found) if good else self.fail(name, f"a whole number from 0 to {below - 1}")

    def _field(self, name: str) -> Any:
        if name not in self.fields:
            raise TextError(f"{self.where} has no field {name}, only {', '.join(sorted(self.fields)) or 'none'}")
        return self.fields[name]

    def fail(self, name: str, wanted: str) -> Any:
        shown = json.dumps(self.fields[name], ensure_ascii=False)[:_SHOWN]
        raise TextError(f"{self.where}: {name} must be {wanted}, not {shown}")


def data_file(place: Path, stem: str) -> Path:
    """`place` itself, or in a directory the file STEM.jsonl or STEM.jsonl.zst. It need not be there."""
    if not place.is_dir():
        return place
    plain = place / f"{stem}.jsonl"
    packed = plain.with_name(plain.name + PACKED)
    return packed if packed.is_file() and not plain.is_file() else plain


def records(file: Path, help: str = "") -> list[Record]:  # noqa: A002
    """The objects of a file of JSON lines (empty ones are left out), or of a list in a .json file; packed or not.
    help: ends a message about a missing file. Raises TextError naming file and line."""
    if not file.is_file():
        raise TextError(f"there is no file {file}{'; ' if help else ''}{help}")
    with unpacked(file) as (lines, _):
        if kind(file) == ".json":
            found = _listed(file, lines.read())
        else:
            found = [_record(f"{file} line {n}", n, line) for n, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise TextError(f"{file} holds no items")
    return found


def _listed(file: Path, data: bytes) -> list[Record]:
    """Of one list; a file named .json may hold JSON lines too."""
    if not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        return [_record(f"{file} line {n}", n, line) for n, line in enumerate(data.splitlines(), 1) if line.strip()]
    return [_fields(f"{file} item {n}", n, value) for n, value in enumerate(_value(str(file), data), 1)]


def _record(where: str, number: int, line: bytes) -> Record:
    return _fields(where, number, _value(where, line))


def _value(where: str, data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise TextError(f"{where} is not JSON: {error}") from None


def _fields(where: str, number: int, value: Any) -> Record:
    if not isinstance(value, dict):
        raise TextError(f"{where} is not a JSON object")
    return Record(where, number, value)


def rows_as_records(name: str, rows: Iterable[Mapping[str, Any]]) -> list[Record]:
    """Rows that a library gives, numbered from 1. Raises TextError where there are none."""
    found = [Record(f"{name} row {n}", n, row) for n, row in enumerate(rows, 1)]
    if not found:
        raise TextError(f"{name} holds no items")
    return found


def drawn(found: Sequence[Record], limit: int | None, seed: int) -> list[Record]:
    """`limit` of them drawn by seed, in the order of the file."""
    if limit is None or limit >= len(found):
        return list(found)
    chosen = np.random.default_rng(seed).choice(len(found), limit, replace=False)
    return [found[i] for i in sorted(chosen.tolist())]


@dataclass(frozen=True, kw_only=True)
class DataTask(Task):
    """A task on a set of its own. fields and origin say what its lines hold and where to get them."""

    fields: ClassVar[str] = ""
    origin: ClassVar[str] = ""
    stem: ClassVar[str] = "test"  # of the file in a directory

    path: str | None = knob(
        None, help="the set: a file of JSON lines (.zst too), a directory with it, or hub:OWNER/NAME"
    )
    config: str | None = knob(None, help="which part of a hub's set, where it has several")
    split: str | None = knob(None, help="which split of a hub's set; by itself test")
    limit: int | None = knob(None, low=1, help="items, drawn by seed; by itself all")

    def files(self) -> tuple[Path, ...]:
        if self._on_hub:
            return self._hub_set[1]
        return (self._file(self.stem),) if self.path else ()

    def records(self) -> list[Record]:
        """What is scored. Raises TextError, which says what is missing."""
        help_ = (
            f"give {self.name}(path=...), a file or a directory with {self.stem}.jsonl, "
            f"whose lines have {self.fields} (from {self.origin})"
        )
        if not self.path:
            raise TextError(f"{self.name} has no data of its own: {help_}")
        if not self._on_hub and (self.config or self.split):
            raise TextError(f"{self.name}: config and split are of a hub's set (path=hub:OWNER/NAME), not of a file")
        known = self._hub_set[0] if self._on_hub else records(self._file(self.stem), help_)
        found = drawn(known, self.limit, self.seed)
        _unique(found)
        return [replace(record, fields=ours(record.fields)) for record in found]

    def beside(self, stem: str) -> list[Record]:
        """The records of another file of the same directory, or of another split."""
        if self._on_hub:
            found = rows_as_records(f"{self._hub_name} {stem}", hub_rows(self._hub_name, self.config, stem)[0])
        else:
            found = records(self._file(stem), f"{self.name} looks for {stem}.jsonl beside its items")
        return [replace(record, fields=ours(record.fields)) for record in found]

    @property
    def _on_hub(self) -> bool:
        return bool(self.path) and str(self.path).startswith(PREFIX)

    @property
    def _hub_name(self) -> str:
        return str(self.path).removeprefix(PREFIX)

    @cached_property
    def _hub_set(self) -> tuple[list[Record], tuple[Path, ...]]:
        split = self.split or "test"
        rows, files = hub_rows(self._hub_name, self.config, split)
        return rows_as_records(f"{self._hub_name} {split}", rows), files

    def _file(self, stem: str) -> Path:
        place = Path(self.path or "").expanduser()
        return data_file(place if stem == self.stem or place.is_dir() else place.parent, stem)


def _unique(found: Iterable[Record]) -> None:
    seen: dict[str, Record] = {}
    for record in found:
        if record.id in seen:
            raise TextError(f"{record.where} has the id {record.id!r} of {_place(seen[record.id])}")
        seen[record.id] = record


def _place(record: Record) -> str:
    """'line 3' of 'FILE line 3'."""
    return " ".join(record.where.rsplit(" ", 2)[-2:])
