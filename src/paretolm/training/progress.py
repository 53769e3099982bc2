"""What a run tells people while it works: a bar in a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

_LINES_EVERY = 15.0  # seconds


class Progress:
    """Says nothing."""

    def begin(self, label: str, total: float, done: float = 0) -> None:
        """A new piece of work."""

    def advance(self, done: float, facts: Mapping[str, str] | None = None) -> None:
        """How much of it is done by now."""

    def say(self, text: str) -> None: ...
    def end(self) -> None: ...


class Lines(Progress):
    """Now and then a line with what is done and the time that is left."""

    def begin(self, label: str, total: float, done: float = 0) -> None:
        self._label, self._total, self._first = label, total, done
        self._start = self._told = time.monotonic()

    def advance(self, done: float, facts: Mapping[str, str] | None = None) -> None:
        now = time.monotonic()
        if now - self._told < _LINES_EVERY and done < self._total:
            return
        self._told = now
        left = (now - self._start) / max(done - self._first, 1e-9) * (self._total - done)
        told = "".join(f", {name} {value}" for name, value in (facts or {}).items())
        self.say(f"{self._label} {done:,.0f}/{self._total:,.0f}{told}, {clock(left)} left")

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Bar(Progress):
    def __init__(self) -> None:
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._bar: Any = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}{task.fields[facts]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=_stderr(),
        )

    def begin(self, label: str, total: float, done: float = 0) -> None:
        self._bar.start()
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
        self._task = self._bar.add_task(label, total=total, completed=done, facts="")

    def advance(self, done: float, facts: Mapping[str, str] | None = None) -> None:
        told = "".join(f"  {name} {value}" for name, value in (facts or {}).items())
        self._bar.update(self._task, completed=done, facts=told)

    def say(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def end(self) -> None:
        self._bar.stop()


def _stderr() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def clock(seconds: float) -> str:
    """1:02:03, or 2:03."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def progress_for(quiet: bool) -> Progress:
    if quiet:
        return Progress()
    return Bar() if sys.stderr.isatty() else Lines()
