"""A run in its directory: text to tokens, tokens to a model; the same call goes on where a killed one stopped."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from ..bridge.fresh import Model, new_model, write_model
from ..errors import UserError
from ..recipes.words import quoted
from . import log
from .checkpoint import Checkpoints, check_room
from .contracts import Source
from .corpus import Corpus
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
    """What a run ended with. model: its directory. valid: bits per byte by domain, empty without held-out text."""

    model: Path
    step: int
    loss: float
    tokens: int
    valid: dict[str, float]
    stopped: bool


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
    progress, corpus = progress or Progress(), Corpus.find(text, valid)
    with joined(device) as world:
        if not world.first:
            progress = Progress()
        to.mkdir(parents=True, exist_ok=True)
        with _alone(to, world):
            try:
                return _Run(settings, to, world, progress).go(corpus, tokenizer, dtype, stop_after)
            finally:
                progress.end()


@contextmanager
def _alone(to: Path, world: World) -> Iterator[None]:
    """Raises UserError where another process trains in the same directory."""
    if not world.first:
        yield
        return
    with (to / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process is training in {to}: wait for it, or give another --to") from None
        yield


class _Run:
    def __init__(self, settings: RunSettings, to: Path, world: World, progress: Progress) -> None:
        self.settings, self.to, self.world, self.progress = settings, to, world, progress
        self.checkpoints = Checkpoints(to / "checkpoints", settings)

    def go(self, corpus: Corpus, tokenizer: Path | None, dtype: torch.dtype | None, stop_after: int | None) -> Finished:
        if self.world.first:
            prepare(self.settings, self.to, corpus, tokenizer, self.checkpoints.check, self.progress)
        self.world.wait()
        own = read_tokenizer(self.to / "tokenizer")
        source = open_source(self.settings, self.to, own, self.progress)
        self.checkpoints.describe(own, source.text.identity)
        model = self._model(own)
        validator = self._validator(source, own)
        loop = Loop(self.settings, model, source, self.world, dtype, validator, self.checkpoints, self.progress)
        loop.restore()
        if self.world.first:
            (self.to / "run.toml").write_text(toml(self.settings), encoding="utf-8")
        loop.log_to(self.to / "log.jsonl")
        try:
            loop.run(stop_after)
        except Stopped:
            return self._finish(loop, model, own, stopped=True)
        return self._finish(loop, model, own, stopped=False)

    def _model(self, tokenizer: Tokenizer) -> Model:
        architecture = self.settings.architecture
        vocabulary, special = tokenizer.get_vocab_size(), special_ids(tokenizer)
        config = architecture.config(vocabulary, self.settings.sequence_length, special)
        model = new_model(architecture.model_type(), config, self.settings.seed)
        if self.world.first:
            check_room(self.to, model)
        return model.to(self.world.device)

    def _validator(self, source: Source, tokenizer: Tokenizer) -> Validator | None:
        home = self.to / "tokens" / "valid"
        if not home.exists() or not self.world.first:
            return None
        return Validator(TokenFile.open(home), source, token_bytes(tokenizer), self.settings.validation.sequences)

    def _finish(self, loop: Loop, model: Model, tokenizer: Tokenizer, stopped: bool) -> Finished:
        home = self.to / "model"
        if self.world.first:
            records = log.read_log(self.to / "log.jsonl")
            if not log.plot(records, self.to / "loss.png"):
                self.progress.say("no picture of the loss: pip install 'paretolm[train]' for matplotlib")
            if not stopped:
                write_model(model, home, torch.bfloat16)
                write_tokenizer(tokenizer, home, self.settings.sequence_length)
        self.world.wait()
        return Finished(home, loop.step, loop.loss, loop.tokens, loop.valid, stopped)


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
