"""Checkpoints: directories that load like any model, with what the trainer needs to go on beside the weights.

Sequences and noise are functions of (seed, step), so the step is the position in the data and the state of all
random numbers at once."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError

import torch
from tokenizers import Tokenizer
from torch.optim import Optimizer

from ..bridge.fresh import Model, read_weights, write_model
from ..errors import RunError, UserError
from .files import NOT_WRITTEN, whole
from .settings import RunSettings
from .tokenizer import write_tokenizer

STATE = "optimizer.pt"
ABOUT = "trainer.json"
RECENT = 2  # checkpoints from which a run can go on


class Checkpoints:
    """The checkpoints of a run, named by the steps done."""

    def __init__(self, directory: Path, settings: RunSettings) -> None:
        self._directory, self._settings = directory, settings
        self._tokenizer: Tokenizer | None = None
        self._text = ""

    def describe(self, tokenizer: Tokenizer, text: str) -> None:
        """What checkpoints say of themselves; text identifies the tokens that are trained on."""
        self._tokenizer, self._text = tokenizer, text

    def check(self, text: str) -> None:
        """Raises UserError where the run here has other settings, or another text or tokenizer."""
        last = self.last()
        if last is None:
            return
        about = json.loads((last / ABOUT).read_text(encoding="utf-8"))
        other = ""
        if about["settings"] != self._settings.identity:
            other = f"settings ({self._difference()})"
        elif about["text"] != text:
            other = "text or with another tokenizer"
        if other:
            raise UserError(
                f"{self._directory.parent} holds a run of other {other}: give another --to, or remove that one"
            )

    def _difference(self) -> str:
        file = self._directory.parent / "run.toml"
        found = self._settings.difference(tomllib.loads(file.read_text(encoding="utf-8"))) if file.exists() else ""
        return found or "see run.toml there"

    def last(self) -> Path | None:
        """The newest from which a run can go on."""
        found = [p for p in self._all() if (p / STATE).exists()]
        return found[-1] if found else None

    def write(self, step: int, model: Model, optimizers: Sequence[Optimizer]) -> None:
        """All or nothing: a checkpoint appears under its name when it is complete.

        Raises RunError on a full disk; what was there before stays."""
        assert self._tokenizer is not None
        for left in self._directory.glob(".*.partial"):  # by a process that was killed
            shutil.rmtree(left)
        with whole(self._directory / f"{step:07d}") as partial:
            write_model(model, partial)
            write_tokenizer(self._tokenizer, partial, self._settings.sequence_length)
            torch.save([o.state_dict() for o in optimizers], partial / STATE)
            about = {"step": step, "settings": self._settings.identity, "text": self._text}
            (partial / ABOUT).write_text(json.dumps(about) + "\n", encoding="utf-8")
        self._forget()

    def read(self, path: Path, model: Model, optimizers: Sequence[Optimizer]) -> int:
        """The step done; weights and optimizer states are put in place. Raises RunError for a damaged checkpoint."""
        try:
            read_weights(model, path)
            states = torch.load(path / STATE, map_location="cpu", weights_only=True)
            for optimizer, state in zip(optimizers, states, strict=True):
                optimizer.load_state_dict(state)
            return int(json.loads((path / ABOUT).read_text(encoding="utf-8"))["step"])
        except (*NOT_WRITTEN, ValueError, KeyError, EOFError, UnpicklingError) as error:
            raise RunError(f"{path} is damaged: remove it, and the same command goes on from the one before") from error

    def _all(self) -> list[Path]:
        return sorted(p for p in self._directory.glob("[0-9]*") if (p / ABOUT).exists())

    def _forget(self) -> None:
        """Older checkpoints go; of those to keep the weights stay."""
        for path in self._all()[:-RECENT]:
            if int(path.name) in self._settings.checkpoints.keep:
                (path / STATE).unlink(missing_ok=True)
            else:
                shutil.rmtree(path)


def check_room(directory: Path, parameters: int, settings: RunSettings) -> None:
    """Raises UserError before any work where the disk cannot hold what is still to be written.

    Weights and two states of the optimizer in float32, once more while the newest is written; the weights of those to
    keep; the finished model in two bytes."""
    states, kept = RECENT + 1, len(settings.checkpoints.keep)
    need = parameters * (3 * 4 * states + 4 * kept + 2)
    have = sum(f.stat().st_size for kind in ("*.safetensors", "*.pt") for f in directory.rglob(kind))
    free = shutil.disk_usage(directory).free
    if free < need - have:
        raise UserError(
            f"{directory} has {free / 2**20:,.0f} MiB free, but the checkpoints of this run take another "
            f"{(need - have) / 2**20:,.0f} MiB: make room, or give another --to"
        )
