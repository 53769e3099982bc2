"""Options that several verbs share, spelled as lm_eval and vLLM spell them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Model = Annotated[str, typer.Argument(help="'reference' (embedded), a directory, or a hub id.")]
Device = Annotated[str, typer.Option(help="Where the model runs: cpu, cuda, mps.")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16, ...; by default as the model was saved.")]
Attention = Annotated[
    str | None, typer.Option("--attn-implementation", help="sdpa, eager, ...; by default the model's own.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout, and nothing else.")]
Stats = Annotated[bool, typer.Option("--stats", help="Tokens a second and bytes of the cache, on stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="More progress, also where stderr is no terminal.")]
Seed = Annotated[int, typer.Option(min=0, help="Draws items, and samples.")]
Workers = Annotated[
    str | None,
    typer.Option(
        help="Processes on this machine, by default as many as suit the model; or a Ray cluster: ray, or ray://HOST:PORT."
    ),
]
Text = Annotated[Path | None, typer.Option(help="A .txt or .jsonl file, or a directory of them.")]


def options(device: str, dtype: str | None, attention: str | None) -> dict[str, str | None]:
    """What `paretolm.load` takes."""
    return {"device": device, "dtype": dtype, "attn_implementation": attention}


def sampling(temperature: float, top_p: float | None) -> dict[str, Any]:
    """What `generate` takes; nothing where it is greedy."""
    if not temperature:
        return {}
    return {"do_sample": True, "temperature": temperature} | ({} if top_p is None else {"top_p": top_p})
