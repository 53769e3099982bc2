"""A task's YAML as lm-evaluation-harness reads it: what it includes, what is supported, where its items are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import yaml

from ....errors import TextError
from .._data import Record, records, rows_as_records
from .._hub import hub_rows

KINDS = ("multiple_choice", "loglikelihood", "loglikelihood_rolling", "generate_until")
_READ = (
    *("output_type", "dataset_path", "dataset_name", "dataset_kwargs", "test_split", "validation_split"),
    *("doc_to_text", "doc_to_target", "doc_to_choice", "target_delimiter", "fewshot_delimiter", "description"),
    *("num_fewshot", "fewshot_split", "fewshot_config", "metric_list", "generation_kwargs", "filter_list"),
)
_IDLE = (  # of no account for a score
    *("task", "task_alias", "tag", "metadata", "training_split", "should_decontaminate"),
    "doc_to_decontamination_query",
)
_NEUTRAL = {"repeats": 1, "unsafe_code": False}  # anything else would count


@dataclass(frozen=True)
class Numbered(Record):
    """A document known by its number: what it calls its id need not be its own."""

    @property
    def id(self) -> str:
        return f"doc-{self.number}"


@dataclass(frozen=True)
class _Function:
    """A Python function that a YAML names."""

    name: str


class _Loader(yaml.SafeLoader):
    """Runs nothing: a function is kept as its name."""


def _named(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> _Function:
    return _Function(str(loader.construct_scalar(node)))


_Loader.add_constructor("!function", _named)


@dataclass(frozen=True)
class Config:
    """fields: the YAML's own keys over those of what it includes. files: all YAML files read."""

    file: Path
    files: tuple[Path, ...]
    fields: Mapping[str, Any]

    def get(self, key: str, default: Any = None) -> Any:
        found = self.fields.get(key)
        return default if found is None else found

    @property
    def kind(self) -> str:
        return str(self.get("output_type", "generate_until"))

    def fail(self, what: str) -> NoReturn:
        raise TextError(f"{self.file} {what}")

    def records(self, split: str | None = None) -> Sequence[Record]:
        """The documents that are scored, or those of another split. Raises TextError."""
        return self._rows[0] if split is None else self._read(split)[0]

    @property
    def data_files(self) -> tuple[Path, ...]:
        return self._rows[1]

    @cached_property
    def _rows(self) -> tuple[Sequence[Record], tuple[Path, ...]]:
        split = self.get("test_split") or self.get("validation_split")
        if not split:
            self.fail("names neither a test_split nor a validation_split")
        return self._read(str(split))

    def _read(self, split: str) -> tuple[Sequence[Record], tuple[Path, ...]]:
        name, options = self.get("dataset_path"), dict(self.get("dataset_kwargs", {}))
        if not isinstance(name, str):
            self.fail("has no dataset_path")
        options.pop("trust_remote_code", None)
        local = (
            self._local(split, options.get("data_files")) if name == "json" and set(options) == {"data_files"} else ()
        )
        if local:
            found = [record for file in local for record in records(file)]
            return _numbered(found), local
        rows, files = hub_rows(name, self.get("dataset_name"), split, options)
        return _numbered(rows_as_records(f"{name} {split}", rows)), files

    def _local(self, split: str, given: Any) -> tuple[Path, ...]:
        """Files on this machine, from where we stand or beside the YAML; none where the library must look."""
        named = given.get(split) if isinstance(given, dict) else given
        if named is None:
            self.fail(f"has no data_files of the split {split}")
        places = []
        for name in named if isinstance(named, list) else [named]:
            if "://" in str(name) or "*" in str(name):
                return ()
            here = Path(str(name)).expanduser()
            places.append(here if here.is_file() else self.file.parent / here)
        return tuple(places)


def _numbered(found: Sequence[Record]) -> list[Record]:
    return [Numbered(record.where, n, record.fields) for n, record in enumerate(found, 1)]


def read_config(path: Path) -> Config:
    """Raises TextError for what is missing, is no YAML, or is not supported."""
    files: list[Path] = []
    found = Config(path, (), _merged(path, files))
    if "group" in found.fields or isinstance(found.fields.get("task"), list):
        found.fail("is a group of tasks: give the file of one of them")
    if "class" in found.fields:
        found.fail("is a task written in Python (class), which is not run here")
    for key, value in found.fields.items():
        name = _function(value)
        if name and key not in _IDLE:
            found.fail(f"has the Python function {name} as {key}, which is not run here: write it as a template")
        known = key in _READ + _IDLE or value is None
        if not known and _NEUTRAL.get(key, _Function("")) != value:
            found.fail(f"has {key}: {value!r}, which is not supported")
    if found.kind not in KINDS:
        found.fail(f"has the output_type {found.kind}; supported are {', '.join(KINDS)}")
    return replace(found, files=tuple(files))


def _merged(path: Path, files: list[Path]) -> dict[str, Any]:
    """A file's keys over those of the files it includes, in their order."""
    if path.resolve() in [f.resolve() for f in files]:
        raise TextError(f"{path} includes itself")
    files.append(path)
    try:
        with path.open("rb") as file:
            found = yaml.load(file, Loader=_Loader)  # a SafeLoader
    except OSError as error:
        raise TextError(f"{path} cannot be read: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TextError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise TextError(f"{path} describes no task: a mapping of keys is expected")
    included = found.pop("include", None) or []
    below: dict[str, Any] = {}
    for name in included if isinstance(included, list) else [included]:
        below |= _merged(path.parent / str(name), files)
    return below | found


def _function(value: Any) -> str | None:
    """The first function named anywhere in a value."""
    if isinstance(value, _Function):
        return value.name
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((name for v in inside if (name := _function(v))), None)
