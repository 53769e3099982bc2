"""The loop: stopped however and continued, a run ends with the same weights, bit for bit."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paretolm.errors import RunError
from paretolm.training.contracts import Batch
from paretolm.training.log import read_log
from paretolm.training.loop import Loop
from paretolm.training.objectives.next_token import NextToken
from paretolm.training.run import toml, train
from paretolm.training.settings import RunSettings
from tests.training import tiny

STEPS = 12


def same_end(to: Path, undisturbed: Path) -> bool:
    """Weights, optimizer states and what they were logged to do."""
    last = Path("checkpoints") / "0000012"
    assert tiny.files(to / last) == tiny.files(undisturbed / last)
    assert tiny.files(to / "model") == tiny.files(undisturbed / "model")
    losses = {r["step"]: r["loss"] for r in read_log(undisturbed / "log.jsonl") if "loss" in r}
    for kind in ("loss", "valid"):
        steps = [r["step"] for r in read_log(to / "log.jsonl") if kind in r]
        assert steps == sorted(set(steps)), "no step twice"
    ended = [r for r in read_log(to / "log.jsonl") if "loss" in r][-1]
    return ended["step"] == STEPS and math.isclose(ended["loss"], losses[STEPS], rel_tol=0.1)


# --- stopped in order ---


@pytest.mark.parametrize("steps", [5, 4])
def test_a_run_in_parts_ends_like_a_whole_one(text: Path, undisturbed: Path, tmp_path: Path, steps: int) -> None:
    to = tmp_path / "to"
    for done in range(steps, STEPS, steps):
        part = train(tiny.settings(), text, to, stop_after=steps)
        assert (part.step, part.model, part.interrupted) == (done, None, False)
        assert (part.tokens, part.valid.keys()) == (done * 4 * 32, {"all", "valid"})
        assert not (to / "model").exists()
    assert train(tiny.settings(), text, to, stop_after=steps).model == to / "model"
    assert same_end(to, undisturbed)


def signalled(monkeypatch: pytest.MonkeyPatch, at: int, numbers: list[int]) -> None:
    """The process gets signals in the middle of a step."""
    step = Loop._step

    def interrupted(self: Loop, batches: list[Batch]) -> Any:
        if self.step == at:
            for number in numbers:
                signal.raise_signal(number)
        return step(self, batches)

    monkeypatch.setattr(Loop, "_step", interrupted)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_the_step_at_hand(
    text: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    to, before = tmp_path / "to", signal.getsignal(number)
    with monkeypatch.context() as patch:
        signalled(patch, at=6, numbers=[number])
        part = train(tiny.settings(), text, to)
    assert (part.step, part.model, part.interrupted) == (7, None, True)
    assert (to / "checkpoints" / "0000007" / "optimizer.pt").exists()
    assert signal.getsignal(number) is before
    assert train(tiny.settings(), text, to).interrupted is False
    assert same_end(to, undisturbed)


def test_the_second_signal_stops_at_once(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signalled(monkeypatch, at=6, numbers=[signal.SIGINT, signal.SIGINT])
    with pytest.raises(KeyboardInterrupt):
        train(tiny.settings(), text, tmp_path / "to")
    assert [p.name for p in (tmp_path / "to" / "checkpoints").iterdir()] == ["0000004"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# --- killed ---

KILLED = """
import os, signal, sys
from paretolm.training import checkpoint
save = checkpoint.torch.save

def killed(state, path):
    if path.parent.name == ".0000008.partial":
        path.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    save(state, path)

checkpoint.torch.save = killed
from paretolm.cli import main
main(["train", *sys.argv[1:], "-q"])
"""


def test_a_killed_run_goes_on_where_it_was(text: Path, undisturbed: Path, tmp_path: Path) -> None:
    """Killed in the middle of a checkpoint, with a log that is ahead of the one before."""
    to, run = tmp_path / "to", tmp_path / "tiny.toml"
    run.write_text(toml(tiny.settings()))
    call = [sys.executable, "-c", KILLED, str(run), "--text", str(text), "--to", str(to)]
    ended = subprocess.run(call, check=False, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert {p.name for p in (to / "checkpoints").iterdir()} == {"0000004", ".0000008.partial"}
    assert read_log(to / "log.jsonl")[-1]["step"] == 8
    assert train(tiny.settings(), text, to).step == STEPS
    assert {p.name for p in (to / "checkpoints").iterdir()} == {"0000008", "0000012"}
    assert same_end(to, undisturbed)


# --- what is no number ---


def poison(monkeypatch: pytest.MonkeyPatch, at: int, what: Any) -> None:
    """From some call of the objective on, its loss is multiplied."""
    calls, loss = [0], NextToken.loss

    def poisoned(self: NextToken, model: nn.Module, batch: Batch) -> Tensor:
        calls[0] += 1
        found = loss(self, model, batch)
        return found * what if calls[0] >= at else found

    monkeypatch.setattr(NextToken, "loss", poisoned)


def finite(checkpoint: Path) -> bool:
    return all(bool(t.isfinite().all()) for t in tiny.weights(checkpoint).values())


@pytest.mark.parametrize("at", [11, 12, 16])
def test_a_loss_that_is_no_number_keeps_the_last_good_checkpoint(
    text: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    to = tmp_path / "to"
    with monkeypatch.context() as patch:
        poison(patch, at, math.nan)  # two calls a step: in the step after the first checkpoint, up to the next one
        with pytest.raises(RunError, match=r"by step 8 the loss is nan, .* give smaller learning rates"):
            train(tiny.settings(), text, to)
    assert [p.name for p in (to / "checkpoints").iterdir()] == ["0000004"]
    assert finite(to / "checkpoints" / "0000004")
    train(tiny.settings(), text, to)
    assert same_end(to, undisturbed)


@pytest.mark.parametrize("optimizer", [{"name": "adamw", "lr": 1e30}, {"lr": 1e30, "adamw_lr": 1e30}])
def test_a_wild_learning_rate_stops_the_run(text: Path, tmp_path: Path, optimizer: dict[str, Any]) -> None:
    with pytest.raises(RunError, match="give smaller learning rates"):
        train(tiny.settings(optimizer=optimizer, checkpoints={"every": 1}), text, tmp_path / "to")
    saved = list((tmp_path / "to" / "checkpoints").glob("*"))
    assert len(saved) < 3
    assert all(finite(s) for s in saved)
    assert not (tmp_path / "to" / "model").exists()


def test_weights_that_broke_in_the_last_step_are_not_saved(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = torch.optim.AdamW.step

    def breaks(self: torch.optim.AdamW, *args: Any) -> None:
        step(self, *args)
        self.param_groups[0]["params"][0].data.fill_(math.inf)

    monkeypatch.setattr(torch.optim.AdamW, "step", breaks)
    with pytest.raises(RunError, match=r"by step 1 the loss is [\d.]+, .* and the weights are no numbers"):
        train(tiny.settings(steps=1), text, tmp_path / "to")
    assert not (tmp_path / "to" / "checkpoints").exists()


# --- one step ---


def weights_after(settings: RunSettings, text: Path, to: Path, **options: Any) -> dict[str, Tensor]:
    train(settings, text, to, **options)
    return tiny.weights(to / "checkpoints" / f"{settings.steps:07d}")


def test_micro_batches_add_up_to_the_batch(text: Path, tmp_path: Path) -> None:
    whole, parts = (
        weights_after(tiny.settings(steps=2, micro_batch_size=size), text, tmp_path / str(size)) for size in (4, 1)
    )
    start = weights_after(tiny.settings(steps=2, optimizer={"lr": 0, "adamw_lr": 0}), text, tmp_path / "start")
    for name in whole:
        torch.testing.assert_close(whole[name], parts[name], rtol=1e-3, atol=1e-5)
        assert not torch.equal(whole[name], start[name]), "each was turned"


def test_a_step_is_the_optimizer_on_the_mean_gradient(text: Path, tmp_path: Path) -> None:
    """Plain AdamW, made by hand for one step: the first one moves by lr times the sign of the clipped gradient."""
    knobs = {"name": "adamw", "lr": 0.01, "weight_decay": 0.0}
    table = {k: v for k, v in tiny.TABLE.items() if k != "optimizer"} | {"optimizer": knobs, "steps": 1}
    from paretolm.training.settings import settings_of

    one = settings_of({**table, "schedule": {"name": "warmup-stable-decay", "warmup": 0, "decay": 0}}, "one")
    zero = settings_of({**table, "optimizer": {**knobs, "lr": 0.0}}, "zero")
    moved, start = weights_after(one, text, tmp_path / "one"), weights_after(zero, text, tmp_path / "zero")
    for name, tensor in moved.items():
        steps = (tensor - start[name]).abs()
        torch.testing.assert_close(steps.max().item(), 0.01, rtol=1e-3, atol=0)
        assert (steps <= 0.01 * (1 + 1e-3)).all()


def test_bfloat16_trains_float32_weights(text: Path, undisturbed: Path, tmp_path: Path) -> None:
    half = weights_after(tiny.settings(), text, tmp_path / "to", dtype=torch.bfloat16)
    assert {t.dtype for t in half.values()} == {torch.float32}
    loss, full = (
        [r["loss"] for r in read_log(place / "log.jsonl") if "loss" in r] for place in (tmp_path / "to", undisturbed)
    )
    assert loss != full
    assert loss == pytest.approx(full, rel=0.01)
