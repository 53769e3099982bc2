"""paretolm card: what a model is and what it was measured to do, beside other models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import Attention, Device, Dtype, Json, Quiet, Text, Verbose, options

if TYPE_CHECKING:
    from ..cards.measure import Measured

Models = Annotated[list[str], typer.Argument(metavar="MODEL...", help="'reference', directories, or hub ids.")]
Window = Annotated[int | None, typer.Option(min=8, help="Tokens, for bits per byte; by default the trained length.")]
Characters = Annotated[int, typer.Option(min=1, help="Of each document, for bits per byte.")]
Trials = Annotated[int, typer.Option(min=10, help="Questions of recall, a phrasing and number of facts.")]
Blimp = Annotated[Path | None, typer.Option(help="A folder with pairs.jsonl and paradigms.jsonl.")]
Items = Annotated[int, typer.Option(min=1, help="Pairs of each paradigm of BLiMP.")]
Run = Annotated[Path | None, typer.Option(help="Directory that `paretolm train` wrote, for settings and curves.")]
Draft = Annotated[str | None, typer.Option(help="A smaller model of the same tokenizer.")]
To = Annotated[Path | None, typer.Option(help="Where the card goes; with several models a folder each in it.")]
License = Annotated[
    str | None, typer.Option("--license", help="Of the weights, as the page is to name it: apache-2.0.")
]


def command(
    models: Models,
    text: Text = None,
    window: Window = None,
    characters: Characters = 24_000,
    trials: Trials = 100,
    blimp: Blimp = None,
    items: Items = 20,
    run: Run = None,
    draft: Draft = None,
    to: To = None,
    license_: License = None,
    device: Device = "cpu",
    dtype: Dtype = None,
    attention: Attention = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure models side by side: bits per byte, recall, texts beyond the trained length, grammar, samples.

    Documents with a field domain are also told apart by it. Differences from the first model are paired by
    document. With --to every model gets a card: card.json, README.md and figures.
    """
    from ..bench.progress import progress_for
    from ..cards.make import Order, make_cards
    from ..cards.table import show

    order = Order(models, text, window, characters, trials, blimp, items, run, draft, to, license_)
    found = make_cards(order, options(device, dtype, attention), progress_for(quiet, verbose))
    if as_json:
        print(json.dumps({"cards": [m.card for m in found], "seconds": [m.seconds for m in found]}))
    else:
        show(found)
    if not quiet:
        _tell(found)


def _tell(found: list[Measured]) -> None:
    """What each part took."""
    from ..bench.report.text import seconds

    for each in found:
        parts = ", ".join(f"{part.replace('_', ' ')} {seconds(s)}" for part, s in each.seconds.items())
        print(f"{each.card['model']['name']}: {parts}", file=sys.stderr)
