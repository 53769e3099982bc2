"""The loop: sequences to gradients to steps, with a log, validation, checkpoints and an orderly stop."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..bridge.fresh import Model
from ..errors import RunError
from .checkpoint import Checkpoints
from .contracts import Batch, Sampled, Source
from .log import Log
from .progress import Progress
from .settings import RunSettings
from .validation import Validator
from .world import World

LOG_EVERY = 10  # steps


class Stopped(Exception):
    """The run ended early, with a checkpoint. interrupted: by a signal."""

    def __init__(self, interrupted: bool) -> None:
        super().__init__()
        self.interrupted = interrupted


class Loop:
    """One process's part of a run. step: steps done; loss: mean of the last logged ones; valid: bits per byte."""

    def __init__(
        self,
        settings: RunSettings,
        model: Model,
        source: Source,
        world: World,
        dtype: torch.dtype | None,
        validator: Validator | None,
        checkpoints: Checkpoints,
        progress: Progress,
    ) -> None:
        self.settings, self.model, self.world, self.progress = settings, model.train(), world, progress
        self.dtype = dtype or (torch.bfloat16 if world.device.type == "cuda" else torch.float32)
        self.validator, self.checkpoints = validator, checkpoints
        self.optimizers = settings.optimizer.make(model)
        self.rates = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.sequence = settings.data.open(source)
        self.step, self.loss, self.valid = 0, math.nan, {}  # type: ignore[var-annotated]
        self.log: Log | None = None
        self._forward: nn.Module = torch.compile(model) if settings.compile else model  # type: ignore[assignment]
        self._asked_to_stop = False

    @property
    def tokens(self) -> int:
        """Tokens read so far by all devices."""
        return self.step * self.settings.batch_size * self.settings.sequence_length

    def restore(self) -> None:
        """Goes on from the newest checkpoint, where there is one."""
        last = self.checkpoints.last()
        if last is not None:
            self.step = self.checkpoints.read(last, self.model, self.optimizers)
            if self.world.first:
                self.progress.say(f"going on after step {self.step}")
        self.world.share_weights(self.model)

    @contextmanager
    def logging(self, path: Path) -> Iterator[None]:
        """Where the first process logs; what stands there of the steps done is taken for known."""
        if not self.world.first:
            yield
            return
        with Log(path, self.step) as self.log:
            for record in self.log.kept:
                self.loss, self.valid = record.get("loss", self.loss), record.get("valid", self.valid)
            yield

    def run(self, stop_after: int | None = None) -> None:
        """Steps until the run is done. Raises Stopped after a signal or `stop_after` steps, RunError for a loss
        that is no finite number."""
        settings, first = self.settings, self.step
        self.progress.begin("step", settings.steps, self.step)
        with self._signals(), ThreadPoolExecutor(1) as ahead:
            waiting = ahead.submit(self._batches, self.step)
            losses: list[Tensor] = []
            start, since = time.monotonic(), self.step
            while self.step < settings.steps:
                batches = waiting.result()
                waiting = ahead.submit(self._batches, self.step + 1)
                loss, norm = self._step(batches)
                losses.append(loss)
                self.step += 1
                interrupted = self.world.any(self._asked_to_stop)
                ends = interrupted or self.step == settings.steps or self.step - first == stop_after
                saves = ends or self.step % settings.checkpoints.every == 0 or self.step in settings.checkpoints.keep
                checks = ends or self.step % settings.validation.every == 0
                if saves or checks or self.step % LOG_EVERY == 0:
                    self._report(losses, norm, (time.monotonic() - start) / (self.step - since))
                    losses.clear()
                if checks:
                    self._validate()
                if saves:
                    self._save()
                if saves or checks:
                    start, since = time.monotonic(), self.step
                if ends and self.step < settings.steps:
                    raise Stopped(interrupted)

    def _batches(self, step: int) -> list[Batch]:
        """This process's sequences of a step, in batches that are read at once."""
        settings = self.settings
        first = step * settings.batch_size
        mine = range(first + self.world.rank, first + settings.batch_size, self.world.size)
        found = [self.sequence(n) for n in mine]
        size = settings.micro_batch_size
        return [_stacked(found[i : i + size]) for i in range(0, len(found), size)]

    def _step(self, batches: list[Batch]) -> tuple[Tensor, Tensor]:
        """One step of all optimizers; the loss and the norm of the gradients, each a scalar."""
        settings, device = self.settings, self.world.device
        count = sum(len(b.ids) for b in batches)
        total = torch.zeros((), device=device)
        torch.manual_seed(hash((settings.seed, self.step)) % 2**63)  # for objectives that draw
        for batch in batches:
            positions = None if batch.positions is None else batch.positions.to(device, non_blocking=True)
            moved = Batch(batch.ids.to(device, non_blocking=True), positions)
            with torch.autocast(device.type, self.dtype, enabled=self.dtype is not torch.float32):
                loss = settings.objective.loss(self._forward, moved) * (len(batch.ids) / count)
            loss.backward()
            total += loss.detach()
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        self.world.average([*gradients, total])
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip or math.inf)
        scale = settings.schedule.scale(self.step, settings.steps)
        for optimizer, rates in zip(self.optimizers, self.rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * scale
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return total, norm

    def _report(self, losses: list[Tensor], norm: Tensor, seconds: float) -> None:
        """Logs the mean of the losses since the last time. Raises RunError where it, or a weight, is no number."""
        self.loss = float(torch.stack(losses).mean())
        weights = all(bool(p.isfinite().all()) for p in self.model.parameters())
        if not (math.isfinite(self.loss) and math.isfinite(float(norm)) and weights):
            raise RunError(
                f"by step {self.step} the loss is {self.loss:.4g}, the gradients' norm {float(norm):.4g} and the weights "
                f"are {'numbers' if weights else 'no numbers'}; checkpoints up to then are kept: give smaller learning "
                "rates (--set optimizer.lr=...) and another --to"
            )
        pace = self.settings.batch_size * self.settings.sequence_length / seconds
        if self.log is None:
            return
        rate = self.settings.schedule.scale(self.step - 1, self.settings.steps)
        facts = {"loss": self.loss, "lr": rate, "tokens": self.tokens, "tokens_per_second": pace}
        self.log.write({"step": self.step, **facts, "grad_norm": float(norm)})
        told = {"loss": f"{self.loss:.3f}", "tokens/s": f"{pace:,.0f}"}
        self.progress.advance(self.step, told | ({"bits/byte": f"{self.valid['all']:.3f}"} if self.valid else {}))

    def _validate(self) -> None:
        if self.validator is not None:
            self.model.eval()
            with torch.autocast(self.world.device.type, self.dtype, enabled=self.dtype is not torch.float32):
                self.valid = self.validator.measure(self.model, self.world.device)
            self.model.train()
            assert self.log is not None
            self.log.write({"step": self.step, "tokens": self.tokens, "valid": self.valid})
        self.world.wait()

    def _save(self) -> None:
        if self.world.first:
            self.checkpoints.write(self.step, self.model, self.optimizers)
        self.world.wait()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the run after the step at hand; the same one again ends it at once."""

        def ask(number: int, _: Any) -> None:
            self._asked_to_stop = True
            signal.signal(number, before[signal.Signals(number)])

        before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _stacked(sequences: list[Sampled]) -> Batch:
    ids = torch.from_numpy(np.stack([s.ids for s in sequences]))
    if sequences[0].positions is None:
        return Batch(ids)
    return Batch(ids, torch.from_numpy(np.stack([s.positions for s in sequences if s.positions is not None])))
