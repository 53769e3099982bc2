"""A run in its directory: what it leaves, what it refuses, and that a refusal changes nothing."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import paretolm
from paretolm.errors import RunError, TextError, UserError
from paretolm.training import run
from paretolm.training.log import Log, read_log
from paretolm.training.loop import Loop
from paretolm.training.run import train
from paretolm.training.settings import read_run
from paretolm.training.world import World
from tests.evaluation.judging import document
from tests.training import tiny


@pytest.fixture
def copy(undisturbed: Path, tmp_path: Path) -> Path:
    """A finished run that may be changed."""
    return Path(shutil.copytree(undisturbed, tmp_path / "copy"))


def unchanged(place: Path, before: dict[str, bytes]) -> bool:
    return {k: v for k, v in tiny.files(place).items() if k != ".lock"} == {
        k: v for k, v in before.items() if k != ".lock"
    }


# --- what it leaves ---


def test_a_finished_run_leaves_everything(undisturbed: Path) -> None:
    assert {p.name for p in undisturbed.iterdir()} == {
        ".lock", "run.toml", "tokenizer", "tokens", "checkpoints", "log.jsonl", "loss.png", "model"
    }  # fmt: skip
    assert read_run(str(undisturbed / "run.toml")) == tiny.settings()
    assert not list(undisturbed.rglob("*.partial"))
    assert {p.name for p in (undisturbed / "checkpoints").iterdir()} == {"0000008", "0000012"}
    about = json.loads((undisturbed / "checkpoints" / "0000012" / "trainer.json").read_text())
    tokens = json.loads((undisturbed / "tokens" / "train" / "about.json").read_text())
    assert about == {"step": 12, "settings": tiny.settings().identity, "text": tokens["identity"]}


def test_a_finished_model_loads_and_speaks(undisturbed: Path) -> None:
    lm = paretolm.load(str(undisturbed / "model"))
    last = tiny.weights(undisturbed / "checkpoints" / "0000012")
    for name, tensor in tiny.weights(undisturbed / "model").items():
        assert torch.equal(tensor, last[name].bfloat16())
    assert lm.view.trained_length == 32
    with paretolm.recipe("streaming-llm(sinks=1, window=8)").apply(lm) as session:
        assert session.generate("The river", max_new_tokens=4).ids.numel() == 4


def test_a_checkpoint_loads_too(undisturbed: Path) -> None:
    assert paretolm.load(str(undisturbed / "checkpoints" / "0000008")).tokenizer is not None


def test_the_model_learns(undisturbed: Path) -> None:
    losses = [r["loss"] for r in read_log(undisturbed / "log.jsonl") if "loss" in r]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.2


def test_the_same_command_on_a_finished_run_changes_nothing(copy: Path, text: Path) -> None:
    before = tiny.files(copy)
    done = train(tiny.settings(), text, copy)
    records = read_log(copy / "log.jsonl")
    assert (done.step, done.model, done.interrupted) == (12, copy / "model", False)
    assert (done.loss, done.valid) == (records[-2]["loss"], records[-1]["valid"])
    assert unchanged(copy, before)


def test_a_finished_model_that_was_removed_comes_again(copy: Path, text: Path, undisturbed: Path) -> None:
    shutil.rmtree(copy / "model")
    train(tiny.settings(), text, copy)
    assert tiny.files(copy / "model") == tiny.files(undisturbed / "model")


def test_micro_batches_and_names_may_change(copy: Path, text: Path) -> None:
    assert train(tiny.settings(micro_batch_size=4, name="other"), text, copy).step == 12


def test_a_run_may_lie_among_its_texts(tmp_path: Path) -> None:
    place = tiny.text(tmp_path / "text")
    assert train(tiny.settings(), place, place / "run", stop_after=1).step == 1
    assert train(tiny.settings(), place, place / "run", stop_after=1).step == 2


# --- what it refuses, before anything is changed ---


def other_tokenizer(place: Path) -> Path:
    from paretolm.training.tokenizer import train_tokenizer

    train_tokenizer([document(3)], 280).save(str(place / "other.json"))
    return place / "other.json"


@pytest.mark.parametrize("what", ["settings", "text", "validation", "tokenizer"])
def test_another_run_in_the_same_directory_is_refused(copy: Path, text: Path, tmp_path: Path, what: str) -> None:
    before, settings, options = tiny.files(copy), tiny.settings(), {}
    if what == "settings":
        settings = tiny.settings(optimizer={"lr": 0.01})
    elif what == "text":
        text = tiny.text(tmp_path / "other", first=50)
    elif what == "validation":
        options = {"valid": tiny.lines(tmp_path / "v.jsonl", [{"text": document(7)}])}
    else:
        options = {"tokenizer": other_tokenizer(tmp_path)}
    said = "settings (optimizer.lr is 0.02 there, not 0.01)" if what == "settings" else "text or with another tokenizer"
    with pytest.raises(
        UserError, match=re.escape(f"holds a run of other {said}: give another --to, or remove that one")
    ):
        train(settings, text, copy, **options)
    assert unchanged(copy, before)


def test_two_runs_in_one_directory_are_refused(copy: Path, text: Path) -> None:
    before = tiny.files(copy)
    with (copy / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"another process is training in .*: wait for it, or give another --to"):
            train(tiny.settings(), text, copy)
    assert unchanged(copy, before)
    train(tiny.settings(), text, copy)


@pytest.mark.parametrize("free", [0, 10_000])
def test_too_little_room_is_refused_before_any_work(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    with pytest.raises(UserError, match=r"MiB free, but the checkpoints of this run take another .* MiB: make room"):
        train(tiny.settings(), text, tmp_path / "to")
    assert {p.name for p in (tmp_path / "to").iterdir()} == {".lock"}


def test_room_that_is_already_taken_is_not_asked_for_again(
    copy: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = sum(t.numel() for t in tiny.weights(copy / "model").values())
    need = number * (3 * 4 * 3 + 2)
    have = sum(p.stat().st_size for kind in ("*.safetensors", "*.pt") for p in copy.rglob(kind))
    assert 0 < have < need
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=need - have))
    assert train(tiny.settings(), text, copy).step == 12
    with pytest.raises(UserError, match="make room"):
        train(tiny.settings(checkpoints={"keep": [4]}), text, copy)


def test_text_that_is_too_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("A few words only. " * 9)
    with pytest.raises(TextError, match="at least 20 are needed: give more text or a smaller sequence_length"):
        train(tiny.settings(), tmp_path / "text", tmp_path / "to")
    (tmp_path / "text" / "a.txt").write_text(" \n")
    with pytest.raises(TextError, match="the text is empty"):
        train(tiny.settings(), tmp_path / "text", tmp_path / "to")
    assert not (tmp_path / "to" / "checkpoints").exists()


def test_calls_that_cannot_work_are_refused(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").touch()
    for said, options in (
        ("taken is a file", {"to": tmp_path / "taken"}),
        ("there is no device 'gpu' here", {"device": "gpu"}),
        ("there is no device 'cuda:9' here", {"device": "cuda:9"}),
        ("trained in float32 or bfloat16, not float16", {"dtype": torch.float16}),
        ("trained in float32 or bfloat16, not auto", {"dtype": "auto"}),
    ):
        with pytest.raises(UserError, match=said):
            train(tiny.settings(), text, **{"to": tmp_path / "to", **options})  # type: ignore[arg-type]

    @contextmanager
    def three(device: str) -> Any:
        yield World(torch.device("cpu"), 0, 3)

    monkeypatch.setattr(run, "joined", three)
    with pytest.raises(UserError, match="batch_size 4 cannot be shared evenly by 3 processes"):
        train(tiny.settings(), text, tmp_path / "to")


# --- what an earlier call left ---


def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end after their text was prepared, without a checkpoint."""

    def fails(*_: object) -> None:
        raise RunError("broken off")

    monkeypatch.setattr(Loop, "run", fails)


def test_what_a_run_without_checkpoints_left_is_not_taken_for_the_next(
    text: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "to"
    with monkeypatch.context() as patch:
        broken(patch)
        for settings, other in (
            (tiny.settings(), tiny.text(tmp_path / "other", first=50)),
            (tiny.settings(tokenizer={"vocab_size": 280}), text),
        ):
            with pytest.raises(RunError, match="broken off"):
                train(settings, other, to)
    train(tiny.settings(), text, to)
    assert tiny.files(to / "model") == tiny.files(undisturbed / "model")
    assert tiny.files(to / "tokens") == tiny.files(undisturbed / "tokens")


def test_validation_text_of_an_earlier_call_is_forgotten(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        broken(patch)
        with pytest.raises(RunError, match="broken off"):
            train(tiny.settings(), text, tmp_path / "to")
    assert (tmp_path / "to" / "tokens" / "valid").exists()
    done = train(tiny.settings(), text / "train.jsonl", tmp_path / "to", stop_after=1)
    assert done.valid == {}


def test_a_validation_file_may_say_its_split(text: Path, tmp_path: Path) -> None:
    valid = tiny.lines(tmp_path / "v.jsonl", [{"text": document(9), "split": "valid", "domain": "own"}])
    done = train(tiny.settings(), text / "train.jsonl", tmp_path / "to", valid=valid, stop_after=1)
    assert set(done.valid) == {"all", "own"}


def test_held_out_lines_of_one_file_are_for_validation(tmp_path: Path) -> None:
    told = [{"text": document(i), "split": "eval" if i > 8 else "fit"} for i in range(10)]
    done = train(tiny.settings(), tiny.lines(tmp_path / "a.jsonl", told), tmp_path / "to", stop_after=1)
    assert done.valid["all"] == done.valid["a"] > 0
    assert len(json.loads((tmp_path / "to" / "tokens" / "train" / "about.json").read_text())["names"]) == 1


def test_a_disk_that_is_full_for_the_log_is_one_sentence(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Log, "write", full)
        with pytest.raises(RunError, match="the disk is full: make room, and the same command goes on"):
            train(tiny.settings(), text, tmp_path / "to")
    assert train(tiny.settings(), text, tmp_path / "to").step == 12


def test_what_is_not_read_is_said(text: Path, tmp_path: Path) -> None:
    told: list[str] = []
    place = Path(shutil.copytree(text, tmp_path / "text"))
    (place / "test.txt").write_text("never read")
    progress = SimpleNamespace(say=told.append, begin=lambda *_: None, advance=lambda *_: None, end=lambda: None)
    train(tiny.settings(), place, tmp_path / "to", stop_after=1, progress=progress)  # type: ignore[arg-type]
    assert "held out and not read: test.txt" in told
