"""paretolm train: a small language model from text."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import Device, Json, Quiet

if TYPE_CHECKING:
    from ..training.run import Finished

Run = Annotated[str, typer.Argument(help="A run of the package (toy, draft, reference, ...) or a .toml file.")]
To = Annotated[Path, typer.Option(help="Directory of the run.", show_default=False)]
Text = Annotated[
    Path | None,
    typer.Option(help="A .txt or .jsonl file (or .jsonl.zst), or a directory of them; by default a sample."),
]
Valid = Annotated[Path | None, typer.Option(help="Held-out text; by default the files called valid.*")]
Tokenizer = Annotated[Path | None, typer.Option(help="A tokenizer to use; by default one is trained.")]
Changes = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Changes a setting. Repeatable.")]
StopAfter = Annotated[int | None, typer.Option(min=1, help="Steps of this call; the next one goes on.")]
Compute = Annotated[
    str | None, typer.Option("--dtype", help="To compute in: float32, bfloat16; by default bfloat16 on cuda only.")
]


def command(
    run: Run,
    to: To,
    text: Text = None,
    valid: Valid = None,
    tokenizer: Tokenizer = None,
    changes: Changes = None,
    stop_after: StopAfter = None,
    device: Device = "cpu",
    dtype: Compute = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a small language model; the same command goes on where a stopped or killed one was.

    The directory gets run.toml, tokenizer, tokens, checkpoints, log.jsonl, loss.png and at the end model, which
    loads like any. Files, folders and splits called valid, test, eval, ... are never trained on. On several GPUs:
    torchrun --nproc-per-node 4 -m paretolm train ...
    """
    # read once, when torch is: threads that spin lose most of a shared machine
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from ..training.settings import read_run

    settings = read_run(run, changes or [])
    from ..bridge.loading import as_dtype
    from ..reference import text_path
    from ..training.allocator import keep_freed_memory
    from ..training.progress import progress_for
    from ..training.run import train

    keep_freed_memory()
    options = {"valid": valid, "tokenizer": tokenizer, "device": device, "stop_after": stop_after}
    kind = None if dtype is None else as_dtype(dtype)
    done = train(settings, text or text_path(), to, dtype=kind, progress=progress_for(quiet), **options)  # type: ignore[arg-type]
    if os.environ.get("RANK", "0") == "0":  # of several processes one speaks
        _tell(done, settings.steps, as_json)
    if done.interrupted:
        sys.exit(130)


def _tell(done: Finished, steps: int, as_json: bool) -> None:
    if as_json:
        facts = {"step": done.step, "loss": done.loss, "tokens": done.tokens, "valid": done.valid}
        print(json.dumps({**facts, "model": str(done.model) if done.model else None}))
        return
    bits = f", {done.valid['all']:.3f} bits per byte on held-out text" if done.valid else ""
    tail = f"model in {done.model}" if done.model else "stopped; the same command goes on"
    print(f"step {done.step} of {steps}, loss {done.loss:.3f}{bits}: {tail}")
