"""A directory appears when it is complete, and a disk that does not take it is one sentence."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors import SafetensorError

from paretolm.errors import RunError
from paretolm.training import files
from paretolm.training.files import whole


def test_a_directory_replaces_the_one_before(tmp_path: Path) -> None:
    for word in ("old", "new"):
        with whole(tmp_path / "there" / "dir") as partial:
            (partial / word).write_text(word)
            assert not (tmp_path / "there" / "dir" / word).exists()
    assert [p.name for p in tmp_path.rglob("*")] == ["there", "dir", "new"]


def fill(directory: Path, error: Exception) -> None:
    with whole(directory) as partial:
        (partial / "new").touch()
        raise error


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FULL, "dir could not be written, the disk is full: make room, and the same command goes on"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied"), "dir could not be written: Permission denied; where"),
        (
            RuntimeError("enforce fail. unexpected pos\n1 2 3"),
            "dir could not be written: enforce fail. unexpected pos;",
        ),
    ],
)
def test_a_failed_write_leaves_what_was_there(tmp_path: Path, error: Exception, said: str) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "old").touch()
    with pytest.raises(RunError) as raised:
        fill(tmp_path / "dir", error)
    assert said in str(raised.value)
    assert [p.name for p in tmp_path.rglob("*")] == ["dir", "old"]


def test_a_full_disk_is_known_whatever_the_library_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    assert "the disk is full" in str(files.unwritten(RuntimeError("unexpected pos"), tmp_path / "not" / "there"))


def test_other_errors_are_not_taken_for_the_disk(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        fill(tmp_path / "dir", KeyError("a bug"))
    assert not list(tmp_path.iterdir())
