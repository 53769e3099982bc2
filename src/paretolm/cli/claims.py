"""paretolm claims: what papers claim, beside what is measured here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._options import Json, Quiet, Verbose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Papers, as --list has them; by default all.")]
Output = Annotated[
    Path, typer.Option("--output_path", "--output-path", "-o", help="Where the verdicts and their page are written.")
]
Rows = Annotated[Path, typer.Option("--store", help="Where rows are kept and reused, and stopped work.")]
Data = Annotated[Path | None, typer.Option(help="Directory of the sets that some checks need.")]
Workers = Annotated[
    str, typer.Option(help="Checks side by side, one thread each; or a Ray cluster: ray, or ray://HOST:PORT.")
]
Listing = Annotated[bool, typer.Option("--list", help="List the papers and their claims; nothing is run.")]


def command(
    ids: Ids = None,
    output: Output = Path("results/claims"),
    store: Rows = Path(".paretolm"),
    data: Data = None,
    workers: Workers = "2",
    listing: Listing = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Check what papers claim on the embedded models: claimed beside measured, with a verdict.

    ID.json for each paper and index.html over all of them come to lie in the output directory. What is measured
    already is not measured again; a stopped run continues where it stood.
    """
    from .. import papers
    from ..bench.progress import progress_for
    from ..papers.run import called, run

    asked = tuple(dict.fromkeys(i.replace("_", "-") for i in ids or papers.names()))
    if listing:
        _list(asked, as_json)
        return
    try:
        records = run(called(asked, output, store, data, workers), progress_for(quiet, verbose))
    except KeyboardInterrupt:
        print(f"stopped; what was finished is in {store}, and the same call continues there", file=sys.stderr)
        raise typer.Exit(130) from None
    _show(records, output, as_json)
    raise typer.Exit(1 if any(c["state"] == "failed" for r in records for c in r["claims"]) else 0)


def _show(records: Sequence[Mapping[str, Any]], output: Path, as_json: bool) -> None:
    from ..papers.check import summary
    from ..papers.page import write_page
    from ..papers.table import show

    page = write_page(output)
    if as_json:
        print(json.dumps(records))
    else:
        show(records)
    for record in records:
        print(summary(record), file=sys.stderr)
    print(f"page: {page}", file=sys.stderr)


def _list(asked: Sequence[str], as_json: bool) -> None:
    from rich.table import Table

    from .. import papers
    from ..bench.report.table import console

    found = {name: papers.find(name) for name in asked}
    if as_json:
        plain = {
            name: {"title": p.title, "family": p.family, "claims": [c.says for c in p.claims], "data": p.needs_data}
            for name, p in found.items()
        }
        print(json.dumps(plain))
        return
    table = Table("id", "family", "paper", "claims", "needs --data with", box=None, pad_edge=False)
    for name, paper in found.items():
        table.add_row(name, paper.family, paper.title, str(len(paper.claims)), ", ".join(paper.needs_data))
    console().print(table)
