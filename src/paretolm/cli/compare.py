"""paretolm compare: quality, memory and speed of recipes side by side."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._lists import split
from ._options import Attention, Device, Dtype, Json, Model, Quiet, Seed, Text, Verbose, Workers

if TYPE_CHECKING:
    from ..bench.desk import Request
    from ..bench.results.types import Comparison

Recipes = Annotated[
    list[str] | None,
    typer.Option("--recipe", "-m", help="'h2o(budget=25%) + kv-quant(bits=4)', or a .toml file. Repeatable."),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option("--tasks", "-t", help="perplexity,recall(repeats=5),speed,memory; llm-kick. Repeatable."),
]
Shelf = Annotated[
    list[str] | None,
    typer.Option("--shelf", help="Every method of a shelf: keep, attend, attend/masks, prompt, ... Repeatable."),
]
Budgets = Annotated[
    list[str] | None,
    typer.Option("--budget", help="With --shelf: what a method may hold or read, 10%,25%,256tok. Repeatable."),
]
Context = Annotated[int | None, typer.Option(min=64, help="Tokens of a text, of perplexity and recall.")]
Output = Annotated[
    Path, typer.Option("--output_path", "--output-path", "-o", help="Where results are kept and reused.")
]
Report = Annotated[Path | None, typer.Option(help="The HTML report; by default report.html among the results.")]
Title = Annotated[str, typer.Option(help="Heads the report.")]
Threads = Annotated[int | None, typer.Option(min=1, help="By default all that may be used; on a cluster 1 a worker.")]
Limit = Annotated[int | None, typer.Option("--limit", "-L", min=1, help="Items a task at most.")]
Chunk = Annotated[int | None, typer.Option(min=1, help="Tokens a forward of scored text at most.")]
UntilSure = Annotated[
    bool,
    typer.Option(
        "--until-sure",
        help="Stop scoring a recipe on a task once its difference is known to lie within --margin or beyond.",
    ),
]
Margin = Annotated[
    float | None,
    typer.Option(
        help="With --until-sure: the difference that does not matter, in the unit of a task's first metric: 0.01 "
        "(by default) is one point of accuracy, and 0.01 nats a token, that is 1% of perplexity."
    ),
]
Alpha = Annotated[
    float | None,
    typer.Option(help="With --until-sure: the chance that any decision on a task is wrong; by default 0.05."),
]


def command(
    model: Model = "reference",
    recipe: Recipes = None,
    tasks: Tasks = None,
    shelf: Shelf = None,
    budget: Budgets = None,
    context: Context = None,
    text: Text = None,
    output: Output = Path(".paretolm"),
    report: Report = None,
    title: Title = "",
    device: Device = "cpu",
    dtype: Dtype = None,
    attention: Attention = None,
    threads: Threads = None,
    workers: Workers = None,
    seed: Seed = 0,
    limit: Limit = None,
    chunk: Chunk = None,
    until_sure: UntilSure = False,
    margin: Margin = None,
    alpha: Alpha = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure recipes side by side: quality, memory and speed, against the untouched model.

    Without arguments: a dozen recipes on the embedded model and text. What is measured already is not measured
    again; a stopped run continues where it stood.
    """
    from ..bench.compare import asked_sure
    from ..bench.desk import Request
    from ..bench.sweep import Sweep

    recipes, lines, words = tuple(recipe or ()), tuple(split(tasks or ())), None if text is None else str(text)
    sweep = Sweep(tuple(split(shelf or ())), tuple(split(budget or ())), context)
    sure = asked_sure(until_sure, margin, alpha)
    opening = (model, recipes, lines, words, output, device, dtype, attention, threads)
    request = Request(*opening, seed, limit, chunk, title, sure, sweep, workers)
    found = _measured(request, quiet, verbose)
    folder = output.parent if output.suffix == ".sqlite" else output
    _print(found, report or folder / "report.html", as_json)
    raise typer.Exit(1 if found.failures else 0)


def _measured(request: Request, quiet: bool, verbose: bool) -> Comparison:
    from ..bench.compare import run
    from ..bench.progress import progress_for

    try:
        return run(request, progress_for(quiet, verbose))
    except KeyboardInterrupt:
        print(f"stopped; what was finished is in {request.output}, and the same call continues there", file=sys.stderr)
        raise typer.Exit(130) from None


def _print(found: Comparison, report: Path, as_json: bool) -> None:
    from ..bench.report.render import write
    from ..bench.report.table import show

    write(found, report)
    if as_json:
        print(json.dumps({**found.to_dict(), "report": str(report)}))
    else:
        show(found)
    print(f"report: {report}", file=sys.stderr)
