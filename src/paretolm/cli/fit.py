"""paretolm fit: what a method learns from text, kept for later runs."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from ._options import Attention, Device, Dtype, Json, Model, Quiet, Text, options


def command(
    model: Model = "reference",
    recipe: Annotated[str, typer.Option("--recipe", "-m", help="Methods of it that need fitting are fitted.")] = "",
    text: Text = None,
    budget: Annotated[int | None, typer.Option(min=1, help="Tokens of text at most.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also where an artifact for this text is there.")] = False,
    device: Device = "cpu",
    dtype: Dtype = None,
    attention: Attention = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit the methods of a recipe on text; `run` and `compare` find the artifacts by model, method and text.

    Only documents that are not judged are read: those of split fit, or a fifth of the text, as in `compare`.
    """
    from ..bench.workers.fitting import fit_model

    def tell(sentence: str) -> None:
        if not quiet:
            print(sentence, file=sys.stderr)

    fitted = fit_model(model, recipe, text, budget=budget, again=again, tell=tell, **options(device, dtype, attention))
    if as_json:
        print(json.dumps(fitted))
        return
    for line, facts in fitted.items():
        print(f"{line}: {', '.join(f'{name} {shape}' for name, shape in facts.items())}")
