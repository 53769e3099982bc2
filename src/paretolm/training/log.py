"""What a run leaves to read: log.jsonl, one line a record, and a picture of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..files import write_whole


class Log:
    """Records with a step each; those beyond the step a run goes on from are dropped, as they come again."""

    def __init__(self, path: Path, step: int) -> None:
        self.kept = [r for r in read_log(path) if r["step"] <= step]
        write_whole(path, "".join(json.dumps(r) + "\n" for r in self.kept))
        self._file = path.open("a", encoding="utf-8")

    def write(self, record: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a full disk was told of by the write before
            self._file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a log; a line that a killed process left half-written is passed over."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def plot(records: list[dict[str, Any]], path: Path) -> bool:
    """Loss by tokens read, and bits per byte on held-out text, as PNG or SVG. False without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    losses = [r for r in records if "loss" in r]
    valid = [r for r in records if "valid" in r]
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([r["tokens"] / 1e6 for r in losses], [r["loss"] for r in losses], lw=0.8, color="#0072B2")
    left.set(xlabel="million tokens", ylabel="loss (nats a token)", title="training", yscale="log")
    for name in valid[-1]["valid"] if valid else ():
        line = [(r["tokens"] / 1e6, r["valid"][name]) for r in valid if name in r["valid"]]
        style = {"lw": 2, "color": "black"} if name == "all" else {"lw": 0.9}
        right.plot(*zip(*line, strict=True), label=name, **style)
    right.set(xlabel="million tokens", ylabel="bits per byte", title="held-out text")
    if valid:
        right.legend(fontsize=7, frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    return True
