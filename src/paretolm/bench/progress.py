"""What is going on, for people: on stderr, with the time that is left."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class Progress:
    """Hears what a comparison does; this one says nothing."""

    def plan(self, labels: Mapping[str, str]) -> None:
        """Cells to be measured, key -> label."""

    def update(self, key: str, share: float) -> None:
        """How much of a cell is done, 0 to 1."""

    def finish(self, key: str) -> None: ...
    def fail(self, key: str, reason: str) -> None: ...
    def note(self, text: str) -> None:
        """One sentence about what happens now."""

    @contextmanager
    def showing(self) -> Iterator[None]:
        yield

    def hear(self, event: Mapping[str, Any]) -> None:
        """An event of the worker."""
        match event["event"]:
            case "progress" if event["cell"] and event["total"]:
                self.update(event["cell"], event["done"] / event["total"])
            case "done":
                self.finish(event["cell"])
            case "failed":
                self.fail(event["cell"], event["reason"])
            case "note":
                self.note(event["text"])


class LineProgress(Progress):
    """A line a finished cell, for logs."""

    def __init__(self, verbose: bool = False) -> None:
        self.verbose = verbose
        self._labels: dict[str, str] = {}
        self._done, self._last = 0, ""

    def plan(self, labels: Mapping[str, str]) -> None:
        self._labels |= labels

    def finish(self, key: str) -> None:
        self._done += 1
        self._say(f"[{self._done}/{len(self._labels)}] {self._labels.get(key, key)}")

    def fail(self, key: str, reason: str) -> None:
        self._done += 1
        self._say(f"[{self._done}/{len(self._labels)}] {self._labels.get(key, key)}: failed, {reason}")

    def note(self, text: str) -> None:
        if self.verbose and text != self._last:
            self._say(text)
        self._last = text

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class BarProgress(Progress):
    """One bar over all cells, what is measured now, and failures above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._console = Console(stderr=True)
        self._bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("getting ready", total=None)
        self._labels: dict[str, str] = {}
        self._shares: dict[str, float] = {}

    @contextmanager
    def showing(self) -> Iterator[None]:
        with self._bar:
            yield

    def plan(self, labels: Mapping[str, str]) -> None:
        self._labels |= labels
        self._bar.update(self._task, total=len(self._labels))

    def update(self, key: str, share: float) -> None:
        self._shares[key] = share
        self._bar.update(self._task, completed=sum(self._shares.values()), description=_cut(self._labels.get(key, "")))

    def finish(self, key: str) -> None:
        self.update(key, 1.0)

    def fail(self, key: str, reason: str) -> None:
        self._console.print(
            f"{self._labels.get(key, key)}: failed, {reason}", style="red", markup=False, soft_wrap=True
        )
        self.update(key, 1.0)

    def note(self, text: str) -> None:
        self._bar.update(self._task, description=_cut(text))


def _cut(text: str, width: int = 44) -> str:
    return f"{text[: width - 1]}…" if len(text) > width else text.ljust(width)


def progress_for(quiet: bool, verbose: bool) -> Progress:
    """A bar for a terminal, lines with -v elsewhere, nothing when quiet or when nobody looks."""
    if quiet:
        return Progress()
    if sys.stderr.isatty():
        return BarProgress()
    return LineProgress(verbose) if verbose else Progress()
