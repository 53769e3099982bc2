"""Study: a comparison that is more than recipes on a task; what it gets, and what it hands back."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..bench.progress import Progress
from ..bench.records.keys import PACKAGE, digest, file_hash, library_versions
from ..bench.records.relay import opened
from ..bridge.content import content_hash
from ..bridge.locate import locate
from ..contracts.knobs import check_knobs, knob
from ..errors import UserError
from ..evaluation.source import TextSource
from ..recipes.lines import written

if TYPE_CHECKING:
    from ..bridge.lm import LM

Value = str | float | int | None


@dataclass(frozen=True)
class Place:
    """Where a study works. models: names or paths, as typed; text: a path, by default the embedded text; output:
    the directory of its results; options: as `paretolm.load` takes them."""

    models: tuple[str, ...] = ("reference",)
    text: str | None = None
    output: Path = Path(".paretolm")
    options: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)

    @cached_property
    def source(self) -> TextSource:
        return TextSource.open(self.text)

    def load(self, model: str) -> LM:
        from ..recipes.convert import load

        return load(model, **self.options)

    def content(self, model: str) -> str:
        """Hash of everything that makes this model answer as it does."""
        return content_hash(locate(model))

    def once(self, study: Study, unit: Mapping[str, Any], work: Callable[[], Any]) -> Any:
        """What `work` answers (JSON values), worked out once: a stopped study continues with the next unit.

        unit: everything the answer depends on beside the study's file and knobs, the libraries and the options:
        hashes of models and text, the number of a repeat."""
        options = {name: str(value) for name, value in self.options.items()}
        facts = {"study": written(study), "unit": dict(unit), "options": options, "versions": library_versions()}
        key = digest(facts | {"code": {str(f): file_hash(PACKAGE / f) for f in study.sources()}})
        with opened(self.output / "studies.sqlite") as store:
            known = store.recall(key)
            if known is None:
                known = work()
                store.remember(key, known)
        return known


@dataclass(frozen=True)
class Column:
    """help: what the numbers mean. format: as Python's format() takes it."""

    name: str
    unit: str = ""
    format: str = ".3g"
    help: str = ""


@dataclass(frozen=True)
class Table:
    """rows: one value a column; None prints a dash."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True)
class Line:
    """low, high: an interval at each point, or empty."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    points: bool = False  # not joined


@dataclass(frozen=True)
class Figure:
    title: str
    x_name: str
    y_name: str
    lines: tuple[Line, ...]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Number:
    """One of the figures a study is run for: what a claim is checked against. low, high: its 95% interval; n: the
    units it rests on."""

    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None
    n: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Findings:
    """rows: the raw records, one dict an item, kept beside the tables. notes: a sentence each, limits among them."""

    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    numbers: Mapping[str, Number] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    rows: Sequence[Mapping[str, Any]] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the rows."""
        return {name: value for name, value in asdict(self).items() if name != "rows"}

    def lines(self) -> str:
        """The rows as JSON lines."""
        return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in self.rows)


@dataclass(frozen=True, kw_only=True)
class Study(ABC):
    """Fields are the study's knobs. name is the file's name with dashes; papers: arXiv ids; models: how many it
    takes at least and at most (None: any number)."""

    name: ClassVar[str] = ""
    papers: ClassVar[tuple[str, ...]] = ()
    models: ClassVar[tuple[int, int | None]] = (1, None)

    seed: int = knob(0, low=0, help="draws items and samples")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__dict__.get("name"):
            cls.name = cls.__module__.rpartition(".")[2].replace("_", "-")

    def __post_init__(self) -> None:
        check_knobs(self)

    @abstractmethod
    def run(self, at: Place) -> Findings:
        """Raises UserError for what cannot be met, as far as it can be told before anything is measured."""

    def sources(self) -> tuple[str, ...]:
        """Files of the package its numbers depend on: its own, and what it names here."""
        return (f"studies/{self.name.replace('-', '_')}.py",)

    def check(self, at: Place) -> None:
        """Raises UserError for a wrong number of models."""
        least, most = self.models
        if len(at.models) < least or (most is not None and len(at.models) > most):
            span = f"{least}" if most == least else f"{least} to {most}" if most else f"{least} or more"
            raise UserError(f"study {self.name} takes {span} models, not {len(at.models)}")
