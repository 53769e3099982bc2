"""What makes two measurements the same: the key of a cell, from everything that could change its numbers.

Nothing here imports torch, so that a call with nothing left to do says so at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ...evaluation.machine import machine

PACKAGE = Path(__file__).resolve().parents[2]
# What every number goes through. A method or a task is hashed where it is used, so that adding one reruns nothing.
_MODEL = ("errors.py", "contracts", "bridge", "recipes")
_JUDGE = ("audit.py", "task.py", "rows.py", "source.py", "_files.py", "packed.py", "streams.py", "metrics", "tasks")
_PROCESS = (
    "arms.py",
    "byte_ledger.py",
    "forked.py",
    "gauges.py",
    "isolated.py",
    "limits.py",
    "machine.py",
    "memory.py",
    "roofline.py",
    "speed.py",
)
SHARED = {
    "quality": (
        *_MODEL,
        *(f"evaluation/{f}" for f in _JUDGE),
        "bench/records/origin.py",
        "bench/workers/arm.py",
        "bench/workers/audit.py",
        "bench/workers/measure.py",
        "bench/workers/fitting.py",
    ),
    "speed": (*_MODEL, *(f"evaluation/{f}" for f in _PROCESS), "bench/workers/process_cells.py"),
    "memory": (*_MODEL, *(f"evaluation/{f}" for f in _PROCESS), "bench/workers/process_cells.py"),
}
MEASURED_WITH = ("torch", "transformers", "tokenizers", "numpy")  # numpy draws the items


@cache
def library_versions() -> dict[str, str]:
    return {name: _version(name) for name in MEASURED_WITH}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What holds for all cells of one call. dtype and attention are those in force, whoever chose them."""

    content: str  # hash of the model's directory, all that follows included: its name in reports and cards
    model: str  # hash of weights and configuration
    tokenizer: str
    template: str  # hash of the chat template; empty where there is none
    device: str  # its kind: cuda, whichever of several equal ones
    accelerator: str  # its name; empty for a CPU
    dtype: str
    attention: str
    threads: int
    seed: int
    versions: Mapping[str, str]  # of the libraries


@dataclass(frozen=True)
class CellInputs:
    """What holds for one cell. code maps a source file of the recipe or the task, or a file of data, to its hash."""

    kind: str  # quality, speed or memory
    recipe: str  # canonical line
    recipe_hash: str
    task: str
    task_version: str
    params: Mapping[str, Any]
    data: str  # hash of the items
    chunk: int | None  # as asked: the most tokens of a forward of scored text
    limit: int | None = None  # as asked: the most items
    code: Mapping[str, str] = field(default_factory=dict)
    fitted_on: str | None = None  # hash of the text an artifact was fitted on
    models: Mapping[str, str] = field(default_factory=dict)  # second models of the recipe -> hash of their contents


def cell_key(conditions: Conditions, cell: CellInputs) -> str:
    """The recipe counts by its hash, not by its spelling; files by their names and contents, not by their place."""
    inputs = {name: value for name, value in asdict(cell).items() if name != "recipe"}
    inputs["code"] = sorted([Path(file).name, hashed] for file, hashed in cell.code.items())
    facts: dict[str, Any] = {"conditions": asdict(conditions), "cell": inputs, "shared": shared_code(cell.kind)}
    if cell.kind != "quality":
        facts["machine"] = machine().hash
    return digest(facts)


def device_kind(device: str) -> tuple[str, str]:
    """'cuda:1' -> ('cuda', name of the device). Unequal ones in one machine are told apart by number."""
    kind = device.partition(":")[0]
    names = {"cuda": sorted(set(machine().gpus)), "mps": [machine().cpu]}.get(kind, [])
    return kind, ", ".join(names) if len(names) < 2 else f"{', '.join(names)}: {device}"


def digest(facts: Any) -> str:
    """sha256 of JSON facts in a canonical order."""
    text = json.dumps(facts, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def shared_code(kind: str = "quality") -> str:
    """Hash of the source that every measurement of this kind runs through."""
    files = sorted(f for name in SHARED[kind] for f in _sources(PACKAGE / name))
    return digest({str(f.relative_to(PACKAGE)): file_hash(f) for f in files})


def code_hashes(files: Iterable[str | Path]) -> dict[str, str]:
    """File -> hash; a file that is gone has the empty hash. Data may change while we run, source may not."""
    return {str(f): (file_hash if Path(f).suffix == ".py" else _file_hash)(Path(f)) for f in files}


@cache
def file_hash(path: Path) -> str:
    return _file_hash(path)


def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _sources(place: Path) -> Iterable[Path]:
    if place.is_file():
        return [place]
    return [f for f in place.rglob("*.py") if "tasks" not in f.parts or f.name.startswith("_")]
