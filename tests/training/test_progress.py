"""What a run says while it works."""

from __future__ import annotations

import pytest

from paretolm.training import progress
from paretolm.training.progress import Bar, Lines, Progress, clock, progress_for


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (59.6, "1:00"), (123, "2:03"), (3723, "1:02:03"), (-1, "0:00")]
)
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_lines_come_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    lines = Lines()
    lines.begin("step", 1000, done=200)
    for done in range(210, 1001, 10):
        now[0] += 1.0
        lines.advance(done, {"loss": "3.1"})
    out, err = capsys.readouterr()
    assert out == ""
    told = err.splitlines()
    assert told[0] == "step 350/1,000, loss 3.1, 1:05 left", "15 seconds for 150 steps: 65 for the other 650"
    assert told[-1] == "step 1,000/1,000, loss 3.1, 0:00 left"
    assert len(told) == 6


def test_a_bar_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar()
    bar.end()
    bar.say("[held out] a.txt")
    bar.begin("encoding", 10)
    bar.advance(5)
    bar.begin("step", 10, done=3)
    bar.advance(4, {"loss": "3.1"})
    bar.end()
    out, err = capsys.readouterr()
    assert out == ""
    assert "[held out] a.txt\n" in err
    assert "4/10  loss 3.1" in err


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(progress_for(True)) is Progress
    quiet = Progress()
    quiet.begin("step", 10)
    quiet.advance(5, {})
    quiet.say("a")
    quiet.end()
    assert capsys.readouterr() == ("", "")
    assert isinstance(progress_for(False), Lines)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert isinstance(progress_for(False), Bar)
