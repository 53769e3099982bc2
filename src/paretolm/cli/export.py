"""paretolm export: a model with a recipe in its weights, as a directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ._options import Attention, Device, Dtype, Json, Model, options


def command(
    model: Model,
    out: Annotated[Path, typer.Argument(help="A directory that does not exist yet.")],
    recipe: Annotated[str, typer.Option("--recipe", "-m", help="A recipe, or a .toml file.")] = "",
    device: Device = "cpu",
    dtype: Dtype = None,
    attention: Attention = None,
    as_json: Json = False,
) -> None:
    """Write a model with a recipe in it; what cannot go into the weights is in force when it is opened."""
    from ..recipes.export import export

    place = export(model, recipe, out, **options(device, dtype, attention))
    size = sum(f.stat().st_size for f in place.iterdir())
    print(json.dumps({"path": str(place), "bytes": size}) if as_json else f"{place}: {size:,} bytes")
