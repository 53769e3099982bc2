"""paretolm tune: the best recipe within limits, or the limit that binds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import Attention, Device, Dtype, Json, Model, Quiet, Seed, Text, Verbose, Workers

if TYPE_CHECKING:
    from ..bench.tune.tune import Asked
    from ..bench.tune.types import Tuned

Memory = Annotated[
    str | None, typer.Option(help="Weights, cache and what methods hold: 2GiB, or 50% of the untouched model's.")
]
Kv = Annotated[str | None, typer.Option("--kv", help="The cache alone: 25% of the untouched model's, or 64MiB.")]
Latency = Annotated[str | None, typer.Option(help="A generated token: 80ms/token, or 12tok/s.")]
Quality = Annotated[
    list[str] | None,
    typer.Option(help="'kl<0.02', 'ppl<1.05x' (of the untouched model's), 'top1>98%', 'recall>0.9'. Repeatable."),
]
Context = Annotated[str | None, typer.Option(help="Tokens at which all limits hold: 4096, 32k; by default as trained.")]
Output = Annotated[
    Path, typer.Option("--output_path", "--output-path", "-o", help="Where results are kept and reused.")
]
Report = Annotated[Path | None, typer.Option(help="The HTML page; by default tune.html among the results.")]
To = Annotated[Path | None, typer.Option(help="Where the recipe is written; by default recipe.toml among the results.")]
Threads = Annotated[int | None, typer.Option(min=1, help="By default all that may be used.")]
Time = Annotated[float | None, typer.Option(help="Seconds after which no further recipes are taken up.")]


def command(
    model: Model = "reference",
    memory: Memory = None,
    kv: Kv = None,
    context: Context = None,
    latency: Latency = None,
    quality: Quality = None,
    text: Text = None,
    output: Output = Path(".paretolm"),
    report: Report = None,
    to: To = None,
    device: Device = "cpu",
    dtype: Dtype = None,
    attention: Attention = None,
    threads: Threads = None,
    workers: Workers = None,
    seed: Seed = 0,
    time: Time = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Search for the best recipe within limits, and prove it in fresh processes on text the search has not seen.

    What is measured already is not measured again; a stopped search continues where it stood. Exit code 0: a recipe
    was found; 3: none meets the limits, and it is said which one binds and what comes nearest.
    """
    from ..bench.desk import Request
    from ..bench.tune.tune import Asked

    words = None if text is None else str(text)
    request = Request(model, (), (), words, output, device, dtype, attention, threads, seed, workers=workers)
    found = _found(Asked(request, context, memory, kv, latency, tuple(quality or ()), time), quiet, verbose)
    folder = output.parent if output.suffix == ".sqlite" else output
    _print(found, report or folder / "tune.html", to or folder / "recipe.toml", as_json)
    raise typer.Exit(0 if found.best else 3)


def _found(asked: Asked, quiet: bool, verbose: bool) -> Tuned:
    from ..bench.progress import progress_for
    from ..bench.tune.tune import run

    try:
        return run(asked, progress_for(quiet, verbose))
    except KeyboardInterrupt:
        print(
            f"stopped; what was scored is in {asked.request.output}, and the same call continues there", file=sys.stderr
        )
        raise typer.Exit(130) from None


def _print(found: Tuned, report: Path, to: Path, as_json: bool) -> None:
    from ..bench.tune.page import write
    from ..bench.tune.recipe_file import save

    write(found, report)
    recipe = save(found, to) if found.best else None
    if as_json:
        print(json.dumps({**found.to_dict(), "report": str(report), "recipe": recipe and str(recipe)}))
    else:
        from ..bench.tune.table import show

        show(found)
    print(f"page: {report}", file=sys.stderr)
    if recipe:
        print(f"recipe: {recipe}", file=sys.stderr)
