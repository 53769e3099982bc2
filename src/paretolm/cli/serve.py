"""paretolm serve: a model under a recipe, for OpenAI's clients."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import CallError, UserError
from ._options import Attention, Device, Dtype, Model, options

if TYPE_CHECKING:
    from socket import socket

    from ..bridge.lm import LM
    from ..recipes.recipe import Recipe
    from ..serving.limits import Limits

KEY = "PARETOLM_API_KEY"
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
Host = Annotated[str, typer.Option(help="Address to listen on; any but this machine's own needs --api-key.")]
Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--api-key", help=f"Clients must send one of them; by default ${KEY}. Repeatable.", show_default=False
    ),
]
Hosts = Annotated[
    list[str] | None,
    typer.Option("--allowed-host", help="A name the server is reached by, beside localhost. Repeatable."),
]
Results = Annotated[Path, typer.Option(help="Where `paretolm compare` keeps what was measured.")]
Unmeasured = Annotated[bool, typer.Option("--unmeasured", help="Also a recipe that was never measured on this model.")]
Name = Annotated[str, typer.Option("--served-model-name", help="By default MODEL.")]
Length = Annotated[
    int | None,
    typer.Option("--max-model-len", min=2, help="Tokens of a prompt and its answer; by default as it was trained."),
]
Waiting = Annotated[int, typer.Option("--max-waiting", min=0, help="Requests that may wait; others are sent away.")]
Texts = Annotated[int, typer.Option("--max-texts", min=1, help="Answers of one request: n times its prompts.")]
Body = Annotated[int, typer.Option("--max-body-bytes", min=1, help="Of one request.")]
Seconds = Annotated[float, typer.Option("--max-seconds", min=0.1, help="Of one request, its waiting included.")]
Drain = Annotated[float, typer.Option("--drain-seconds", min=1, help="For what still runs when the server ends.")]
Connections = Annotated[int, typer.Option("--max-connections", min=1, help="At a time; others are sent away.")]
Patience = Annotated[
    float,
    typer.Option("--patience-seconds", min=0.1, help="For a client to send a head or a body, or to go on reading."),
]


def command(
    model: Model = "reference",
    recipe: Annotated[str, typer.Option("--recipe", "-m", help="A recipe, or a .toml file.")] = "",
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    api_key: Keys = None,
    allowed_host: Hosts = None,
    results: Results = Path(".paretolm"),
    unmeasured: Unmeasured = False,
    served_model_name: Name = "",
    max_model_len: Length = None,
    max_waiting: Waiting = 32,
    max_texts: Texts = 8,
    max_body_bytes: Body = 1 << 20,
    max_seconds: Seconds = 300.0,
    drain_seconds: Drain = 30.0,
    max_connections: Connections = 512,
    patience_seconds: Patience = 30.0,
    device: Device = "cpu",
    dtype: Dtype = None,
    attention: Attention = None,
) -> None:
    """Serve a model under a recipe: a page to talk to it, and completions, chat, models for OpenAI's clients.

    One request is written at a time, and clients take turns. system_fingerprint names the recipe by its hash.
    """
    _check_installed()
    from ..recipes.convert import load
    from ..recipes.recipe import Recipe
    from ..serving.limits import Limits
    from ..serving.server import listen

    keys, hosts = _doors(host, api_key, allowed_host)
    asked, known = Recipe.parse(recipe), None if unmeasured else results
    _check(model, asked, known)
    with listen(host, port) as place:
        lm = load(model, recipe or None, **options(device, dtype, attention))
        if not recipe:
            _check(model, Recipe.parse(lm.recipe_left), known)
        limits = Limits(max_model_len or lm.view.trained_length, max_body_bytes, texts=max_texts, waiting=max_waiting)
        limits = replace(limits, seconds=max_seconds, drain=drain_seconds)
        limits = replace(limits, connections=max_connections, patience=patience_seconds)
        _serve(lm, asked, Door(place, host, keys, hosts), served_model_name or model, limits)


def _check(model: str, recipe: Recipe, results: Path | None) -> None:
    """Raises UserError for a recipe without a row in results; None asks for none."""
    from ..serving.measured import check_measured

    if results is not None:
        check_measured(model, recipe, results)


@dataclass(frozen=True)
class Door:
    """Where requests come in, and whose."""

    place: socket
    host: str
    keys: tuple[str, ...]
    names: frozenset[str] | None  # that the server is reached by, None for any

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.place.getsockname()[1]}/"


def _serve(lm: LM, asked: Recipe, door: Door, name: str, limits: Limits) -> None:
    from ..recipes.recipe import Recipe
    from ..serving.app import Served
    from ..serving.models import side_by_side
    from ..serving.server import serve

    left = Recipe.parse(lm.recipe_left)
    whole = left if asked.is_dense else asked
    with side_by_side(lm) as (session, untouched):
        if session.tokenizer is None:
            raise CallError(f"{name} came without a tokenizer, so there is no text to read or to write")
        served = Served(session, name, f"recipe-{whole.hash}", limits, door.keys, door.names, untouched)
        told = f"{name} under {whole}" if whole.methods else name
        ready = f"{told}: {door.url} to talk to it, {door.url}v1 for OpenAI's clients (Ctrl-C ends)"
        serve(served, door.place, lambda: print(ready, file=sys.stderr, flush=True))


def _doors(host: str, keys: list[str] | None, hosts: list[str] | None) -> tuple[tuple[str, ...], frozenset[str] | None]:
    """Keys, and names that a Host header may have. Raises UserError where other machines could come in without one."""
    from ..serving.server import is_loopback

    found = tuple(keys or filter(None, [os.environ.get(KEY)]))
    if any(not key.strip() or not key.isascii() for key in found):
        raise UserError("an API key must be of ASCII letters, digits or signs, and not be empty")
    local = is_loopback(host)
    if not found and not local:
        raise UserError(f"{host} can be reached from other machines: give --api-key, or set {KEY}")
    return found, LOCAL | {h.lower() for h in hosts or ()} if local or hosts else None


def _check_installed() -> None:
    try:
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserError(f"serving needs {error.name}: pip install 'paretolm[serve]' first") from None
