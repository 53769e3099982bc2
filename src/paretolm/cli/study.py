"""paretolm study: one paper's comparison, rerun on models and text at hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import Attention, Device, Dtype, Json, Quiet, Text, Verbose, options

if TYPE_CHECKING:
    from ..studies.study import Findings, Study

Line = Annotated[str | None, typer.Argument(metavar="STUDY", help="'castillo' or 'castillo(samples=10)'.")]
Models = Annotated[
    list[str] | None, typer.Argument(metavar="[MODEL]...", help="'reference' (embedded), directories, or hub ids.")
]
Output = Annotated[
    Path, typer.Option("--output_path", "--output-path", "-o", help="Where results are kept, and stopped work.")
]


def command(
    study: Line = None,
    models: Models = None,
    text: Text = None,
    output: Output = Path(".paretolm"),
    device: Device = "cpu",
    dtype: Dtype = None,
    attention: Attention = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Rerun one paper's comparison and print its tables. Without STUDY: list them.

    STUDY.json, STUDY.jsonl (every item) and STUDY.html come to lie in the output directory; a stopped study
    continues where it stood.
    """
    from .. import studies
    from ..bench.progress import progress_for

    if study is None:
        _list(as_json)
        return
    from ..studies.page import show, write
    from ..studies.study import Place

    asked = studies.parse(study)
    chosen = tuple(models or ("reference",))
    progress = progress_for(quiet, verbose)
    at = Place(chosen, None if text is None else str(text), output, options(device, dtype, attention), progress)
    asked.check(at)
    with progress.showing():
        found = asked.run(at)
    page = write(asked, at, found)
    if as_json:
        print(json.dumps(_plain(asked, at.models, found)))
    else:
        show(found)
    print(f"page: {page}", file=sys.stderr)


def _plain(study: Study, models: tuple[str, ...], found: Findings) -> dict[str, object]:
    return {"study": study.name, "models": list(models), **found.to_dict()}


def _list(as_json: bool) -> None:
    from rich.table import Table

    from .. import studies
    from ..bench.report.table import console

    found = {name: studies.summary(name) for name in studies.names()}
    if as_json:
        print(json.dumps(found))
        return
    table = Table("study", "what it does", box=None, pad_edge=False)
    for name, summary in found.items():
        table.add_row(name, summary)
    console().print(table)
