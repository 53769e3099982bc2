"""A text, and a run on it that nothing disturbed; neither is to be changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from paretolm.training.run import train
from tests.training import tiny


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="session")
def undisturbed(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the tiny run, from its first step to its last."""
    to = tmp_path_factory.mktemp("undisturbed")
    assert train(tiny.settings(), text, to).model == to / "model"
    return to
