"""paretolm rerun: a stored measurement once more, from its record alone."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import Json, Quiet, Verbose

if TYPE_CHECKING:
    from ..bench.records.store import Store
    from ..bench.rerun import Repeated

Name = Annotated[str | None, typer.Argument(metavar="[ID]", help="A cell's key or its beginning, or a run's number.")]
Output = Annotated[Path, typer.Option("--output_path", "--output-path", "-o", help="Where results are kept.")]


def command(
    name: Name = None,
    output: Output = Path(".paretolm"),
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure a stored cell, or all cells of a run, again and compare every row. Without ID: list them.

    Nothing is written. On a CPU with as many threads the rows must be equal to the last bit; what else has changed
    since is said. Where model or text are not what they were, nothing is measured. Of speed the intervals are
    compared. Exit code 0: all equal; 1: not; 2: no such cell or run.
    """
    from ..bench.progress import progress_for
    from ..bench.records.store import Store
    from ..bench.rerun import find, rerun, results_file

    with Store(results_file(output)) as store:
        if name is None:
            _list(store, as_json)
            return
        progress = progress_for(quiet, verbose)
        with progress.showing():
            found = rerun(store, find(store, name), progress)
    if as_json:
        print(json.dumps([one.to_dict() for one in found]))
    else:
        for one in found:
            print(told(one))
    raise typer.Exit(0 if found and all(one.state == "equal" for one in found) else 1)


def told(one: Repeated) -> str:
    """The cell, what came of it, and why, a line each."""
    lines = [f"{one.key[:12]}  {one.recipe}: {one.task}"]
    match one.state:
        case "equal" if one.kind == "speed":
            lines.append("  the intervals overlap")
        case "equal":
            lines.append(f"  equal to the last bit in all of {one.num_rows} rows")
        case "differs" if one.kind == "speed":
            lines.append("  the intervals do not overlap")
        case "differs":
            gap = f", by {one.largest:.3g} at most ({one.where})" if one.where else ""
            lines.append(f"  different: {one.num_different} of {one.num_rows} rows differ{gap}")
        case "gone":
            lines.append("  not measured: what it was measured on is not what it was")
        case "failed":
            lines.append("  not compared")
    return "\n".join([*lines, *(f"  {why}" for why in one.why), *(f"  since then changed, {n}" for n in one.new)])


def _list(store: Store, as_json: bool) -> None:
    from rich.table import Table

    from ..bench.report.table import console

    runs, cells = store.runs(), store.cells(store.cell_keys())
    if as_json:
        plain = [{"id": r.id, "started": r.started, "finished": r.finished, **r.request} for r in runs]
        print(json.dumps({"runs": plain, "cells": {c.key: {"state": c.state, **c.meta} for c in cells.values()}}))
        return
    table = Table("run", "began", "model", "cells", box=None, pad_edge=False)
    for run in runs:
        began = datetime.fromtimestamp(run.started).isoformat(" ", timespec="seconds")
        table.add_row(str(run.id), began, str(run.request.get("model")), str(len(run.request.get("cells", ()))))
    console().print(table)
    table = Table("cell", "state", "recipe", "task", box=None, pad_edge=False)
    for cell in cells.values():
        table.add_row(cell.key[:12], cell.state, str(cell.meta.get("recipe")), str(cell.meta.get("task")))
    console().print(table)
