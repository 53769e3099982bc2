"""The settings of a run: one TOML file, one table a part; what is typed beside it wins."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ..contracts.knobs import check_knobs, knob
from ..errors import UserError, nearest
from .contracts import Architecture, DataOrder, Objective, Optimizer, Part, Schedule
from .parts import make, make_part

_RUNS = Path(__file__).parent / "runs"
_KINDS: dict[str, type[Part]] = {
    "architecture": Architecture,
    "data": DataOrder,
    "objective": Objective,
    "optimizer": Optimizer,
    "schedule": Schedule,
}


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """How the tokenizer is trained, where none is given."""

    name: ClassVar[str] = "tokenizer"

    vocab_size: int = knob(8192, low=260, high=65536)


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """every: steps between them; the last two are kept. keep: steps whose weights stay for good."""

    name: ClassVar[str] = "checkpoints"

    every: int = knob(200, low=1)
    keep: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Validation:
    """How often bits per byte on held-out text are measured, and on how much of it."""

    name: ClassVar[str] = "validation"

    every: int = knob(200, low=1, help="steps between them")
    sequences: int = knob(16, low=1, help="of each domain")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """batch_size: sequences a step over all devices; micro_batch_size: sequences a device reads at once."""

    name: str
    steps: int = knob(dataclasses.MISSING, low=1)
    sequence_length: int = knob(1024, low=16)
    batch_size: int = knob(16, low=1)
    micro_batch_size: int = knob(4, low=1)
    clip: float = knob(1.0, low=0, help="largest norm of all gradients together; 0 leaves them")
    seed: int = knob(0, low=0)
    compile: bool = False
    tokenizer: Vocabulary = field(default_factory=Vocabulary)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    validation: Validation = field(default_factory=Validation)
    architecture: Architecture
    data: DataOrder
    objective: Objective
    optimizer: Optimizer
    schedule: Schedule

    def __post_init__(self) -> None:
        for part in (self, self.tokenizer, self.checkpoints, self.validation):
            check_knobs(part)
        if self.batch_size % self.micro_batch_size:
            raise UserError(
                f"{self.name}: batch_size {self.batch_size} is not a multiple of micro_batch_size "
                f"{self.micro_batch_size}"
            )

    def table(self) -> dict[str, Any]:
        """As plain tables, names of parts included."""
        return {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}

    def fixed(self) -> dict[str, Any]:
        """Of the plain tables what changes the weights a run ends with."""
        free = {"micro_batch_size", "compile", "checkpoints", "validation", "name"}
        return {k: v for k, v in self.table().items() if k not in free}

    @property
    def identity(self) -> str:
        """sha256 over everything that changes the weights a run ends with."""
        return hashlib.sha256(json.dumps(self.fixed(), sort_keys=True).encode()).hexdigest()

    def difference(self, table: Mapping[str, Any]) -> str:
        """The first fixed setting that is another in the tables of an earlier run: 'steps is 300 there, not 400'."""
        now, then = _flat(self.fixed()), _flat(table)
        for key in now:
            if then.get(key) != now[key]:
                return f"{key} is {then.get(key, 'not set')} there, not {now[key]}"
        return ""


def _plain(value: Any) -> Any:
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    found = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return {"name": value.name, **found} if isinstance(value, Part) else found


def _flat(table: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        inside = _flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
        found |= {k: list(v) if isinstance(v, tuple) else v for k, v in inside.items()}
    return found


def run_names() -> list[str]:
    """The runs that come with the package."""
    return sorted(p.stem for p in _RUNS.glob("*.toml"))


def read_run(run: str, changes: Sequence[str] = ()) -> RunSettings:
    """The run of that name, or of a .toml file, with `key=value` changes (`optimizer.lr=0.01`).

    Raises UserError, which names the file and the setting."""
    path = _RUNS / f"{run}.toml"
    if run not in run_names():
        path = Path(run)
        if path.suffix != ".toml":
            raise UserError(f"there is no run {run!r}{nearest(run, run_names())}; a file of your own ends in .toml")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no file {run}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{run} cannot be read as TOML: {error}") from None
    for change in sorted(changes, key=_names_a_part, reverse=True):
        _change(table, change)
    return settings_of(table, run)


def settings_of(table: Mapping[str, Any], where: str) -> RunSettings:
    """Settings of plain tables, as `RunSettings.table` gives them."""
    made = dict(table)
    made.setdefault("name", Path(where).stem)
    for key, kind in _KINDS.items():
        if key not in made:
            raise UserError(f"{where} lacks the table [{key}]")
        if not isinstance(made[key], Mapping):
            raise UserError(f"{where}: {key} is a table, so write {key}.name=...")
        made[key] = make_part(kind, made[key], f"{where} [{key}]")
    groups = {"tokenizer": Vocabulary, "checkpoints": Checkpoints, "validation": Validation}
    for key, group in groups.items():
        if key in made:
            if not isinstance(made[key], Mapping):
                raise UserError(f"{where}: {key} is a table")
            made[key] = make(group, made[key], f"{where} [{key}]")
    return make(RunSettings, made, where)


def _change(table: dict[str, Any], change: str) -> None:
    key, sign, text = change.partition("=")
    if not sign or not key.strip():
        raise UserError(f"a change is written like optimizer.lr=0.01, not {change!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    *path, last = key.strip().split(".")
    for word in path:
        table = table.setdefault(word, {})
        if not isinstance(table, dict):
            raise UserError(f"{key.strip()}: {word} is a value, not a table")
    if _names_a_part(change) and table.get(last) != value:
        table.clear()  # the settings of the part before mean nothing to another
    table[last] = value


def _names_a_part(change: str) -> bool:
    return change.partition("=")[0].strip() in [f"{key}.name" for key in _KINDS]
