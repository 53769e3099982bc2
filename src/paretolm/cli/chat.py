"""paretolm chat: a conversation with a model under a recipe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CallError, ParetoError, nearest
from ._options import Attention, Device, Dtype, Model, Seed, Stats, options, sampling

if TYPE_CHECKING:
    from torch import Tensor

    from ..recipes.session import Generation, Session
    from ..serving.conversation import Conversation

HELP = """/stats    tokens a second and bytes of the cache, after every answer or no longer
/system   TEXT stands before the conversation from now on; none without TEXT
/reset    forget what was said
/exit     end, as Ctrl-D does; Ctrl-C ends an answer"""


def command(
    model: Model = "reference",
    recipe: Annotated[str, typer.Option("--recipe", "-m", help="A recipe, or a .toml file.")] = "",
    system: Annotated[str | None, typer.Option(help="Stands before the conversation.")] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", "-n", min=1, help="Of one answer.")] = 256,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 0.7,
    top_p: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    stats: Stats = False,
    seed: Seed = 0,
    device: Device = "cpu",
    dtype: Dtype = None,
    attention: Attention = None,
) -> None:
    """Talk with a model under a recipe, line by line; /help lists what else can be said. Reads pipes as well."""
    from ..recipes.convert import load
    from ..recipes.recipe import Recipe
    from ..serving.conversation import Conversation, has_template

    lm = load(model, recipe or None, **options(device, dtype, attention))
    with Recipe.parse(lm.recipe_left).apply(lm) as session:
        if session.tokenizer is None:
            raise CallError(f"{model} came without a tokenizer, so there is nothing to talk with")
        if not has_template(session.tokenizer):
            aside(f"{model} has no chat template: it reads the conversation as lines of a dialogue")
        talk = Talk(
            session, Conversation(session.tokenizer, system), max_new_tokens, sampling(temperature, top_p), seed, stats
        )
        talk.run(sys.stdin.isatty())


def aside(text: str) -> None:
    """To people, beside the answers."""
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print(text, style="dim", markup=False)


@dataclass
class Talk:
    """A conversation at work."""

    session: Session
    conversation: Conversation
    max_new_tokens: int
    sampling: dict[str, Any]
    seed: int
    stats: bool
    _warned: bool = False

    def run(self, interactive: bool) -> None:
        """Line by line until the input ends or /exit. A mistake ends a pipe, and costs a person one line."""
        read = reader(interactive)
        while True:
            try:
                line = read()
            except KeyboardInterrupt:
                aside("\n/exit or Ctrl-D ends")
                continue
            if line is None or line.strip() == "/exit":
                return
            try:
                self.hear(line.strip())
            except ParetoError as error:
                if not interactive:
                    raise
                aside(f"error: {error}")

    def hear(self, line: str) -> None:
        """One line: a command, or something said."""
        if not line:
            return
        if not line.startswith("/"):
            self.answer(line)
            return
        word, _, rest = line[1:].partition(" ")
        does: dict[str, Callable[[], None]] = {
            "help": lambda: aside(HELP),
            "stats": self._toggle,
            "reset": self.conversation.reset,
            "system": lambda: setattr(self.conversation, "system", rest.strip() or None),
        }
        if word not in does:
            raise CallError(f"there is no command /{word}{nearest(word, [*does, 'exit'])}")
        does[word]()

    def _toggle(self) -> None:
        self.stats = not self.stats

    def answer(self, text: str) -> None:
        """Streams the answer to stdout. Ctrl-C ends it; what was printed up to there counts as said."""
        from ..serving.conversation import stops
        from ..serving.streaming import Streamed

        ids = self.conversation.asked(text)
        self._check_length(ids)
        ends = stops(self.session.tokenizer)
        streamer = Streamed(self.session.tokenizer, lambda piece: print(piece, end="", flush=True), ends)
        done: Generation | None = None
        try:
            done = self.session.generate(
                ids,
                max_new_tokens=self.max_new_tokens,
                stop=ends,
                seed=self.seed + len(self.conversation.said),
                streamer=streamer,
                **self.sampling,
            )
        except KeyboardInterrupt:
            aside(" [stopped]")
        print(flush=True)
        self.conversation.answered(text, streamer.text)
        if self.stats and done:
            aside(told(self.session, done))

    def _check_length(self, ids: Tensor) -> None:
        view, most = self.session.lm.view, ids.shape[1] + self.max_new_tokens
        if most <= view.trained_length:
            return
        if view.rope is None:
            raise CallError(
                f"the conversation and an answer take up to {most} tokens, and the model has positions for "
                f"{view.trained_length}: /reset, or give a smaller --max-new-tokens"
            )
        if not self._warned:
            self._warned = True
            aside(f"from here on the text may pass the {view.trained_length} tokens the model was trained on; /reset")


def reader(interactive: bool) -> Callable[[], str | None]:
    """What gives the next line, None at the end."""
    if not interactive:
        return lambda: sys.stdin.readline() or None
    with suppress(ImportError):  # not on every system
        import readline  # noqa: F401  # arrow keys and history

    def ask() -> str | None:
        try:
            return input("> ")
        except EOFError:
            print()
            return None

    return ask


def told(session: Session, done: Generation) -> str:
    """Tokens a second, and what the cache held in the end beside the untouched model's."""
    from ..serving.figures import dense_bytes

    tokens = done.prompt_length + len(done.ids) - 1
    whole = dense_bytes(session, tokens)
    held = session.last_stream.kv_bytes if session.last_stream else whole
    speed = len(done.ids) / done.seconds if done.seconds else 0.0
    said = f"{len(done.ids)} tokens, {speed:.1f} a second"
    if held is None:
        return said
    said += f"; cache of {tokens} tokens {held / 2**20:.2f} MiB"
    return f"{said}, {held / whole:.0%} of the untouched model's" if whole else said
