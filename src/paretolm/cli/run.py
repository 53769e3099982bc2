"""paretolm run: generate once under a recipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CallError
from ._options import Attention, Device, Dtype, Json, Seed, Stats, options, sampling
from .chat import told

if TYPE_CHECKING:
    from ..recipes.session import Generation


def command(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL] PROMPT", help="One word is the prompt; '-' reads stdin.")
    ] = None,
    recipe: Annotated[str, typer.Option("--recipe", "-m", help="A recipe, or a .toml file.")] = "",
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", "-n", min=1)] = 128,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 0.0,
    top_p: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    stop: Annotated[list[str] | None, typer.Option(help="Ends the text. Repeatable.")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    dtype: Dtype = None,
    attention: Attention = None,
    stats: Stats = False,
    as_json: Json = False,
) -> None:
    """Continue a prompt under a recipe; the text is streamed to stdout."""
    model, prompt = model_and_prompt(words or [])
    from ..recipes.convert import load
    from ..recipes.recipe import Recipe
    from ..serving.streaming import Streamed

    lm = load(model, recipe or None, **options(device, dtype, attention))
    with Recipe.parse(lm.recipe_left).apply(lm) as session:
        if session.tokenizer is None:
            raise CallError(f"{model} came without a tokenizer, so there is no text to continue or to print")
        printer = None if as_json else Streamed(session.tokenizer, lambda text: print(text, end="", flush=True))
        asked = {"max_new_tokens": max_new_tokens, "stop": stop, "seed": seed, **sampling(temperature, top_p)}
        done = session.generate(prompt, streamer=printer, **asked)
        counters = {**lm.counters, **session.counters}
        if not as_json:
            print(flush=True)
        if stats:
            print(told(session, done), file=sys.stderr)
    if as_json:
        print(json.dumps(_facts(done, counters)))


def _facts(done: Generation, counters: Mapping[str, Any]) -> dict[str, Any]:
    facts = {"text": done.text, "prompt_tokens": done.prompt_length, "new_tokens": len(done.ids)}
    return {**facts, "forwards": done.forwards, "seconds": done.seconds, "counters": counters}


def model_and_prompt(words: list[str]) -> tuple[str, str]:
    """One word is the prompt for the embedded model; none, or '-', takes the prompt from stdin."""
    if len(words) > 2:
        raise CallError(f"give a model and one prompt in quotes, not {len(words)} words")
    model, prompt = ("reference", "-") if not words else ("reference", words[0]) if len(words) == 1 else words
    if prompt == "-":
        if sys.stdin.isatty():
            raise CallError("a prompt is missing: give it as the last word, or on stdin")
        prompt = sys.stdin.read()
    return model, prompt
