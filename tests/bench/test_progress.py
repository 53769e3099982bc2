"""Progress: on stderr, quiet where nobody looks, and right about how much is done."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from paretolm.bench.progress import BarProgress, LineProgress, Progress, progress_for

EVENTS: list[dict[str, Any]] = [
    {"event": "progress", "cell": "a", "done": 1, "total": 2},
    {"event": "progress", "cell": None, "done": 1, "total": 2},
    {"event": "note", "text": "fitting knn-lm on 3 documents"},
    {"event": "done", "cell": "a"},
    {"event": "failed", "cell": "b", "reason": "out of memory"},
]


def heard(progress: Progress) -> None:
    with progress.showing():
        progress.plan({"a": "dense: recall", "b": "h2o: recall"})
        for event in EVENTS:
            progress.hear(event)


def test_lines(capsys: pytest.CaptureFixture[str]) -> None:
    heard(LineProgress(verbose=True))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "fitting knn-lm on 3 documents",
        "[1/2] dense: recall",
        "[2/2] h2o: recall: failed, out of memory",
    ]


def test_a_bar_counts_shares_of_cells(capsys: pytest.CaptureFixture[str]) -> None:
    progress = BarProgress()
    progress.plan({"a": "dense: recall", "b": "[bold]: recall"})
    progress.hear(EVENTS[0])
    task = progress._bar.tasks[0]
    assert (task.total, task.completed) == (2, 0.5)
    for event in EVENTS[1:]:
        progress.hear(event)
    assert progress._bar.tasks[0].completed == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "[bold]: recall: failed, out of memory" in err


def test_nothing_is_said_where_nobody_looks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard(Progress())
    assert capsys.readouterr() == ("", "")
    assert type(progress_for(quiet=False, verbose=False)) is Progress
    assert type(progress_for(quiet=False, verbose=True)) is LineProgress
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert type(progress_for(quiet=False, verbose=False)) is BarProgress
    assert type(progress_for(quiet=True, verbose=True)) is Progress
