"""docs/reliability.md names tests that exist, and all of those that were written for it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text(encoding="utf-8")
OWN = ("cache_keys", "catalogue", "chat_templates", "data", "model_dirs", "recipes", "runs", "store")
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)


def found_in(path: Path) -> set[str]:
    """Names of the test functions that pytest would collect."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_test_that_is_named_exists() -> None:
    assert len(NAMED) > 80
    missing = [f"{file}::{name}" for file, name in NAMED if name not in found_in(TESTS / file)]
    assert not missing


def test_every_test_of_a_fault_is_named() -> None:
    named = set(NAMED)
    for name in OWN:
        file = f"faults/test_{name}.py"
        assert not {test for test in found_in(TESTS / file) if (file, test) not in named}, file


def test_every_row_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if re.match(r"\| (?!fault|change|---|what)", line)]
    figures = [row for row in rows if re.search(r"\| [\d.]+ \|$", row)]
    assert len(rows) > 60
    assert not [row for row in rows if row not in figures and not re.search(r"\.py::test_", row)]
