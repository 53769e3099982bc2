"""Experiments at work. What is finished is kept: a bench's cells in the store of `paretolm compare`, the findings of
a study or a direct measurement beside them, until code, model or data change."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..bench.compare import run as run_bench
from ..bench.desk import Request
from ..bench.progress import Progress
from ..bench.records.keys import PACKAGE, digest, file_hash, library_versions, shared_code
from ..bench.records.relay import opened, publish
from ..bridge.content import content_hash
from ..bridge.locate import locate
from ..evaluation.source import TextSource
from ..files import locked, write_asked
from ..studies.study import Number, Place
from .claim import DATA, Bench, Direct, Experiment, Rerun
from .found import Found

# What findings go through beside the shared code; a study or a direct measurement names the rest.
_STATISTICS = (
    "bench/results/estimates.py", "evaluation/statistics.py", "evaluation/summary.py", "evaluation/spread.py",
    "studies/study.py", "papers/numbers.py",
)  # fmt: skip


@dataclass(frozen=True)
class Spot:
    """Where checks work. store: directory of rows and stopped work; data: the directory of sets given by path."""

    store: Path
    data: Path | None = None
    threads: int = 1
    progress: Progress = field(default_factory=Progress)

    def lacking(self, experiment: Experiment) -> list[str]:
        """What it needs below the data directory and is not there."""
        return [n for n in experiment.needs_data if self.data is None or not (self.data / n).exists()]

    def filled(self, line: str) -> str:
        return line.replace(DATA, str(self.data)) if self.data else line


@dataclass(frozen=True)
class Outcome:
    """numbers by name; keys of the cells or findings they were drawn from; models: name -> hash of its contents."""

    numbers: Mapping[str, Number]
    keys: Sequence[str]
    models: Mapping[str, str]


def carry_out(experiment: Experiment, spot: Spot) -> Outcome:
    """Raises UserError and RunError, of the bench or the study."""
    return _bench(experiment, spot) if isinstance(experiment, Bench) else _findings(experiment, spot)


def described(experiment: Experiment) -> str:
    """One line for people."""
    match experiment:
        case Bench():
            return f"{', '.join(experiment.recipes)} on {', '.join(experiment.tasks)}"
        case Rerun():
            return f"study {experiment.study} of {', '.join(experiment.models)}"
        case Direct():
            said = (experiment.work.__doc__ or experiment.work.__name__).partition("\n")[0].strip()
            return f"{said} Models: {', '.join(experiment.models)}."


def _bench(experiment: Bench, spot: Spot) -> Outcome:
    """A cell that failed is an error only where its rows are asked for: recipes on tasks make cells nobody needs."""
    tasks = tuple(spot.filled(line) for line in experiment.tasks)
    request = Request(
        model=spot.filled(experiment.model),
        recipes=experiment.recipes,
        tasks=tasks,
        text=experiment.text and spot.filled(experiment.text),
        output=spot.store,
        dtype=experiment.dtype,
        threads=spot.threads,
        seed=experiment.seed,
        limit=experiment.limit,
    )
    comparison = run_bench(request, spot.progress)
    found = Found(comparison, experiment.recipes, experiment.tasks)
    return Outcome(dict(experiment.measure(found)), found.keys, {experiment.model: comparison.model_hash})


def _findings(experiment: Rerun | Direct, spot: Spot) -> Outcome:
    models = tuple(spot.filled(m) for m in experiment.models)
    text = experiment.text and spot.filled(experiment.text)
    hashes = {name: content_hash(locate(m)) for name, m in zip(experiment.models, models, strict=True)}
    place = Place(models, text, spot.store, progress=spot.progress)
    key = digest(_facts(experiment, hashes, spot, text))
    rows = spot.store / "claims" / f"{key[:16]}.jsonl"
    with locked(rows.with_suffix(".lock")), opened(spot.store / "claims.sqlite") as store:
        known = store.recall(key)
        if known is None:
            known = _found(experiment, place, spot)
            write_asked(rows, known.pop("rows"), "another -o")
            publish(spot.store, rows)
            store.remember(key, known)
    return Outcome({name: Number(**number) for name, number in known["numbers"].items()}, [key], hashes)


def _found(experiment: Rerun | Direct, place: Place, spot: Spot) -> dict[str, Any]:
    if isinstance(experiment, Direct):
        findings = experiment.work(place)
    else:
        from .. import studies

        study = studies.parse(spot.filled(experiment.study))
        study.check(place)
        findings = study.run(place)
    return {"numbers": {name: asdict(n) for name, n in findings.numbers.items()}, "rows": findings.lines()}


def _facts(experiment: Rerun | Direct, models: Mapping[str, str], spot: Spot, text: str | None) -> dict[str, Any]:
    """Everything the numbers depend on."""
    if isinstance(experiment, Direct):
        own = [PACKAGE / name for name in experiment.uses]
        what = f"{experiment.work.__qualname__} {_working_code(experiment)}"
    else:
        from .. import studies

        study = studies.parse(spot.filled(experiment.study))
        own, what = [PACKAGE / name for name in study.sources()], experiment.study
    given = [spot.data / name for name in experiment.needs_data if spot.data]
    files = sorted(f for place in (*own, *(PACKAGE / n for n in _STATISTICS), *given) for f in _files(place))
    return {
        "what": what,
        "models": dict(models),
        "text": TextSource.open(text).data_hash,
        "code": {str(f): file_hash(f) for f in files},
        "shared": shared_code(),
        "versions": library_versions(),
    }


def _working_code(experiment: Direct) -> str:
    """Hash of the file of a direct measurement, without what it says of the paper: a sentence mended measures
    nothing again."""
    tree = ast.parse(Path(sys.modules[experiment.work.__module__].__file__ or "").read_bytes())
    said = [n for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "PAPER"]
    return digest(ast.dump(ast.Module([n for n in tree.body if n not in said], [])))


def _files(place: Path) -> list[Path]:
    return [place] if place.is_file() else [f for f in place.rglob("*") if f.is_file() and f.suffix != ".pyc"]
