"""The log: no step twice, nothing that a killed process broke, a picture of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from paretolm.training.log import Log, plot, read_log


def record(step: int) -> dict[str, float]:
    return {"step": step, "loss": 5 / step, "tokens": step * 100}


def test_records_beyond_the_checkpoint_come_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with Log(path, 0) as log:
        assert log.kept == []
        for step in (1, 2, 3):
            log.write(record(step))
            assert len(read_log(path)) == step, "each is on the disk at once"
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    assert read_log(path) == [record(s) for s in (1, 2, 3)]
    with Log(path, 2) as log:
        assert log.kept == [record(1), record(2)]
        log.write(record(3))
    assert read_log(path) == [record(s) for s in (1, 2, 3)]
    assert [p.name for p in tmp_path.iterdir()] == ["log.jsonl"]


def test_no_log_is_an_empty_one(tmp_path: Path) -> None:
    assert read_log(tmp_path / "log.jsonl") == []


@pytest.mark.parametrize(
    "records",
    [
        [],
        [record(1)],
        [record(s) for s in range(1, 9)],
        [*map(record, range(1, 9)), *({**record(s), "valid": {"all": 2.0, "poems": 1.0}} for s in (2, 4))],
        [record(1), {"step": 1, "tokens": 1, "valid": {"all": 2.0}}, {"step": 2, "tokens": 2, "valid": {"poems": 2.0}}],
    ],
    ids=["empty", "one", "loss", "both", "domains change"],
)
def test_a_picture_is_drawn(tmp_path: Path, records: list[dict[str, float]]) -> None:
    assert plot(records, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not plot([record(1)], tmp_path / "loss.png")
    assert not (tmp_path / "loss.png").exists()
