"""A run in its directory: text to tokens, tokens to a model; the same call goes on where a killed one stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from ..bridge.fresh import Model, new_model, write_model
from ..errors import UserError
from ..files import locked
from ..recipes.words import quoted
from . import log
from .checkpoint import Checkpoints, check_room
from .contracts import Source
from .corpus import Corpus
from .files import unwritten, whole
from .loop import Loop, Stopped
from .prepare import open_source, prepare
from .progress import Progress
from .settings import RunSettings
from .tokenizer import read_tokenizer, special_ids, token_bytes, write_tokenizer
from .tokens import TokenFile
from .validation import Validator
from .world import World, joined


@dataclass(frozen=True)
class Finished:
    """What a call ended with. model: its directory, None before the run is done. valid: bits per byte by domain,
    empty without held-out text. interrupted: by a signal rather than after the steps asked for."""

    model: Path | None
    step: int
    loss: float
    tokens: int
    valid: dict[str, float]
    interrupted: bool


def train(
    settings: RunSettings,
    text: Path,
    to: Path,
    *,
    valid: Path | None = None,
    tokenizer: Path | None = None,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    stop_after: int | None = None,
    progress: Progress | None = None,
) -> Finished:
    """Trains on `text` into the directory `to`: run.toml, tokenizer, tokens, checkpoints, log.jsonl, model.

    dtype: in which the model computes (weights and optimizer stay float32); bfloat16 on CUDA, else float32.
    stop_after: steps after which this call stops although the run is not done; the next one goes on.
    Raises UserError and TextError for settings or text that cannot work, RunError for a loss that is no number
    or a full disk; what was written last stays."""
    if dtype not in (None, torch.float32, torch.bfloat16):
        raise UserError(f"a model is trained in float32 or bfloat16, not {dtype}".replace("torch.", ""))
    if to.exists() and not to.is_dir():
        raise UserError(f"{to} is a file: a run needs a directory of its own")
    progress, corpus = progress or Progress(), Corpus.find(text, valid)
    with joined(device) as world:
        if not world.first:
            progress = Progress()
        try:
            to.mkdir(parents=True, exist_ok=True)
            with _alone(to, world):
                return _Run(settings, to, world, progress).go(corpus, tokenizer, dtype, stop_after)
        except OSError as error:
            raise unwritten(error, Path(error.filename or to)) from error
        finally:
            progress.end()


@contextmanager
def _alone(to: Path, world: World) -> Iterator[None]:
    """Raises UserError where another process trains in the same directory."""
    if not world.first:
        yield
        return

    def refuse() -> None:
        raise UserError(f"another process is training in {to}: wait for it, or give another --to")

    with locked(to / ".lock", waiting=refuse):
        yield


class _Run:
    def __init__(self, settings: RunSettings, to: Path, world: World, progress: Progress) -> None:
        self.settings, self.to, self.world, self.progress = settings, to, world, progress
        self.checkpoints = Checkpoints(to / "checkpoints", settings)

    def go(self, corpus: Corpus, tokenizer: Path | None, dtype: torch.dtype | None, stop_after: int | None) -> Finished:
        if self.settings.batch_size % self.world.size:
            raise UserError(
                f"batch_size {self.settings.batch_size} cannot be shared evenly by {self.world.size} processes"
            )
        if self.world.first:
            self._check_room(tokenizer)
            prepare(self.settings, self.to, corpus, tokenizer, self.checkpoints, self.progress)
        self.world.wait()
        own = read_tokenizer(self.to / "tokenizer")
        source = open_source(self.settings, self.to, own, self.progress)
        self.checkpoints.describe(own, source.text.identity)
        model = self._model(own.get_vocab_size(), special_ids(own)).to(self.world.device)
        validator = self._validator(source, own)
        loop = Loop(self.settings, model, source, self.world, dtype, validator, self.checkpoints, self.progress)
        loop.restore()
        if self.world.first:
            (self.to / "run.toml").write_text(toml(self.settings), encoding="utf-8")
        with loop.logging(self.to / "log.jsonl"):
            return self._run(loop, stop_after, own)

    def _run(self, loop: Loop, stop_after: int | None, tokenizer: Tokenizer) -> Finished:
        begun, interrupted = loop.step, False
        try:
            loop.run(stop_after)
        except Stopped as stopped:
            interrupted = stopped.interrupted
        home, done = self.to / "model", loop.step == self.settings.steps
        if self.world.first:
            if not log.plot(log.read_log(self.to / "log.jsonl"), self.to / "loss.png"):
                self.progress.say("no picture of the loss: pip install 'paretolm[train]' for matplotlib")
            if done and (loop.step > begun or not home.exists()):
                with whole(home) as partial:
                    write_model(loop.model, partial, torch.bfloat16)
                    write_tokenizer(tokenizer, partial, self.settings.sequence_length)
        self.world.wait()
        return Finished(home if done else None, loop.step, loop.loss, loop.tokens, loop.valid, interrupted)

    def _check_room(self, tokenizer: Path | None) -> None:
        """Before anything is read or written; the model is made without memory, of the largest vocabulary it may get."""
        vocabulary = self.settings.tokenizer.vocab_size
        if tokenizer is not None:
            vocabulary = read_tokenizer(tokenizer).get_vocab_size()
        with torch.device("meta"):
            model = self._model(vocabulary, {"bos": 0, "eos": 1, "pad": 2})
        check_room(self.to, model.num_parameters(), self.settings)

    def _model(self, vocabulary: int, special: Mapping[str, int]) -> Model:
        architecture = self.settings.architecture
        config = architecture.config(vocabulary, self.settings.sequence_length, special)
        return new_model(architecture.model_type(), config, self.settings.seed)

    def _validator(self, source: Source, tokenizer: Tokenizer) -> Validator | None:
        home = self.to / "tokens" / "valid"
        if not home.exists() or not self.world.first:
            return None
        return Validator(TokenFile.open(home), source, token_bytes(tokenizer), self.settings.validation.sequences)


def toml(settings: RunSettings) -> str:
    """The settings as the file that `read_run` reads back."""
    plain, tables = [], []
    for key, value in settings.table().items():
        if isinstance(value, dict):
            tables.append(f"\n[{key}]\n" + "".join(f"{k} = {_value(v)}\n" for k, v in value.items()))
        else:
            plain.append(f"{key} = {_value(value)}\n")
    return "".join(plain + tables)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)
