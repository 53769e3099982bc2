"""The budget of sizes: a file of at most 300 lines, a function of at most 40."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILE, FUNCTION = 300, 40
FILES = sorted((ROOT / "src").rglob("*.py"))


def long_functions(source: str) -> Iterator[str]:
    """'name (lines)' of each function over the budget, its docstring and decorators not counted."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            told = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            documented = first.end_lineno - first.lineno + 1 if told else 0
            lines = node.end_lineno - node.lineno + 1 - documented
            if lines > FUNCTION:
                yield f"{node.name} ({lines} lines)"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_files_and_functions_stay_small(path):
    source = path.read_text(encoding="utf-8")
    num_lines = len(source.splitlines())
    assert num_lines <= FILE
    assert not list(long_functions(source))


def test_a_long_function_is_seen():
    body = "\n".join("    x = 1" for _ in range(FUNCTION))
    assert list(long_functions(f"def f():\n{body}")) == ["f (41 lines)"]
    assert not list(long_functions(f'def f():\n    """One.\n\n    Two.\n    """\n{body[: -len("    x = 1") - 1]}'))


def test_there_is_something_to_measure():
    assert len(FILES) > 100
