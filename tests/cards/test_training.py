"""A run's directory as a card has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from paretolm.cards.training import POINTS, training
from paretolm.errors import UserError
from tests.cards.made import run_folder


def test_settings_and_curves(tmp_path: Path) -> None:
    found = training(run_folder(tmp_path))
    assert found["settings"] == {"steps": 1000, "text": "corpus", "optimizer.name": "muon", "optimizer.lr": 0.01}
    assert (found["steps"], found["tokens"]) == (1000, 64_000)
    assert found["valid"] == [[500, 1.9], [1000, 1.4]]
    assert found["valid_last"] == {"all": 1.4, "code": 1.1}


def test_a_long_curve_becomes_means_of_neighbours(tmp_path: Path) -> None:
    found = training(run_folder(tmp_path))["loss"]
    assert len(found) == POINTS
    assert found[0] == pytest.approx([3, 5 - 0.003])  # steps 1 to 5
    assert found[-1] == pytest.approx([998, 5 - 0.998])


def test_a_short_curve_stays_as_it_is(tmp_path: Path) -> None:
    run_folder(tmp_path)
    (tmp_path / "log.jsonl").write_text('{"step": 10, "loss": 6.0}\n{"step": 20, "loss": 5.0}\n')
    assert training(tmp_path)["loss"] == [[10, 6.0], [20, 5.0]]


@pytest.mark.parametrize("missing", ["log.jsonl", "run.toml"])
def test_a_directory_that_holds_no_run_is_refused(tmp_path: Path, missing: str) -> None:
    (run_folder(tmp_path) / missing).unlink()
    with pytest.raises(UserError, match=f"{missing}.*give the directory that `paretolm train` wrote"):
        training(tmp_path)
