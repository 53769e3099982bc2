"""The best recipe as a file that `run`, `chat`, `serve` and `compare` take."""

from __future__ import annotations

from pathlib import Path

from ...files import write_asked
from .table import check_words
from .types import Tuned


def save(found: Tuned, path: Path) -> Path:
    """Writes the recipe with its proof as comments. Raises StoreError."""
    from ...recipes import toml
    from ...recipes.recipe import Recipe

    assert found.best is not None
    told = [f"{found.best.line}", f"found for {found.model} at {found.context:,} tokens, on {found.text}"]
    told += [": ".join(word for word in _words(found, number) if word) for number in range(len(found.best.checks))]
    head = "".join(f"# {' '.join(line.split())}\n" for line in told)
    return write_asked(path, f"{head}\n{toml.write(Recipe.parse(found.best.line).methods)}", "another --to")


def _words(found: Tuned, number: int) -> tuple[str, str]:
    """('--kv 25%', '19.0%, untouched 100%, counted')."""
    assert found.best is not None
    limit, value, interval, dense, count, _ = check_words(found, found.best.checks[number])
    return limit, f"{value} {interval}, untouched {dense}, {count}".replace(" ,", ",")
