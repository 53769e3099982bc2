"""A process forked from one that has only imported: as isolated as a fresh one."""

from __future__ import annotations

import pytest

from paretolm.errors import CellError, RecipeError
from paretolm.evaluation.forked import run_forked

from .test_isolated import JOBS


def test_answers_come_back() -> None:
    assert run_forked(f"{JOBS}:add", {"a": 2, "b": 3}) == 5


def test_nothing_of_one_run_is_left_for_the_next() -> None:
    first, second = (run_forked(f"{JOBS}:count_calls", {}) for _ in range(2))
    assert first["calls"] == second["calls"] == 1
    assert first["pid"] != second["pid"]


def test_a_users_mistake_is_the_error_it_was() -> None:
    with pytest.raises(RecipeError, match="snapvk"):
        run_forked(f"{JOBS}:mistake", {})


def test_a_killed_process_is_told_of() -> None:
    with pytest.raises(CellError, match="SIGKILL"):
        run_forked(f"{JOBS}:killed", {})


def test_the_time_limit_holds() -> None:
    with pytest.raises(CellError, match=r"limit of 0\.5 s"):
        run_forked(f"{JOBS}:sleep", {"seconds": 60}, timeout_s=0.5)
