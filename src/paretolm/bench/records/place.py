"""Where results lie."""

from __future__ import annotations

from pathlib import Path


def store_file(output: Path) -> Path:
    """The results file that `output` is, or that lies in the directory `output`."""
    return output if output.suffix == ".sqlite" else output / "results.sqlite"
