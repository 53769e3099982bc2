"""Checkpoints: which ones stay, and what happens where one cannot be written or read."""

from __future__ import annotations

import errno
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from paretolm.errors import RunError
from paretolm.training import checkpoint
from paretolm.training.run import train
from tests.training import tiny


def kept(to: Path) -> dict[str, bool]:
    """Checkpoints, and whether a run can go on from each."""
    return {p.name: (p / "optimizer.pt").exists() for p in sorted((to / "checkpoints").iterdir())}


def test_the_last_two_are_kept_and_those_asked_for(text: Path, undisturbed: Path, tmp_path: Path) -> None:
    settings = tiny.settings(checkpoints={"every": 2, "keep": [3, 4]})
    train(settings, text, tmp_path / "to")
    assert kept(tmp_path / "to") == {"0000003": False, "0000004": False, "0000010": True, "0000012": True}
    assert tiny.files(tmp_path / "to" / "model") == tiny.files(undisturbed / "model"), "saving changes nothing"
    assert set(tiny.files(tmp_path / "to" / "checkpoints" / "0000004")) == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "trainer.json",
    }  # fmt: skip


# --- a disk that is full ---


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Longer ones fail to be written, as on a full disk, whichever library writes them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("file", "failed"),
    [
        ("tokenizer/tokenizer.json", "tokenizer"),
        ("tokens/train/tokens.bin", "train"),
        ("checkpoints/0000012/model.safetensors", "0000004"),
        ("checkpoints/0000012/optimizer.pt", "0000004"),
    ],
)
def test_nothing_half_written_is_left(text: Path, undisturbed: Path, tmp_path: Path, file: str, failed: str) -> None:
    to = tmp_path / "to"
    size = (undisturbed / file).stat().st_size - 1
    with files_of_at_most(size), pytest.raises(RunError, match=f"{failed} could not be written: ") as raised:
        train(tiny.settings(), text, to)
    assert "\n" not in str(raised.value)
    assert not [p for p in to.rglob("*") if "partial" in p.name or p.name == failed]
    train(tiny.settings(), text, to)
    assert tiny.files(to / "model") == tiny.files(undisturbed / "model")


def test_the_last_checkpoint_stays(text: Path, undisturbed: Path, tmp_path: Path, monkeypatch: Any) -> None:
    to = tmp_path / "to"
    train(tiny.settings(), text, to, stop_after=6)
    before = tiny.files(to / "checkpoints")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.torch, "save", full)
        with pytest.raises(RunError, match="0000008 could not be written, the disk is full: make room"):
            train(tiny.settings(), text, to)
    assert tiny.files(to / "checkpoints") == before
    train(tiny.settings(), text, to)
    assert tiny.files(to / "model") == tiny.files(undisturbed / "model")


# --- a damaged checkpoint ---


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt"])
@pytest.mark.parametrize("left", [0.0, 0.5])
def test_a_damaged_checkpoint_is_named(text: Path, undisturbed: Path, tmp_path: Path, name: str, left: float) -> None:
    to = Path(shutil.copytree(undisturbed, tmp_path / "to"))
    damaged = to / "checkpoints" / "0000012" / name
    data = damaged.read_bytes()
    damaged.write_bytes(data[: int(len(data) * left)])
    with pytest.raises(
        RunError, match="0000012 is damaged: remove it, and the same command goes on from the one before"
    ):
        train(tiny.settings(), text, to)
    shutil.rmtree(damaged.parent)
    shutil.rmtree(to / "model")
    train(tiny.settings(), text, to)
    assert tiny.files(to / "model") == tiny.files(undisturbed / "model")
