"""The documentation says what the code does: examples run, links lead somewhere, what is named is there."""

import inspect
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import paretolm
from docs import generate
from paretolm import cli
from paretolm.recipes.index import method_names
from paretolm.recipes.recipe import Recipe
from tests import saboteurs

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LATER = {"docs/report.png"}  # drawn from a run of `make demo`

page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def fill(text: str) -> str:
    return generate.filled(text, "x", "new")


# --- generated parts ---


def test_markers_are_filled_and_filled_again():
    text = "a\n<!-- begin x -->\n<!-- end x -->\nb"
    assert fill(text) == fill(fill(text)) == "a\n<!-- begin x -->\nnew\n<!-- end x -->\nb"


@pytest.mark.parametrize("text", ["", "<!-- begin x -->", "<!-- end x --><!-- begin x -->", "<!-- begin x -->" * 2])
def test_markers_that_are_not_a_pair_are_an_error(text):
    with pytest.raises(ValueError, match="must stand once each"):
        fill(text)


def test_drift_is_found_and_mended(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "pages", lambda: {tmp_path / "page.md": "as the code has it\n"})
    assert generate.main(check=True) == 1
    assert "has drifted" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert generate.main(check=False) == 0
    assert generate.main(check=True) == 0


def test_every_method_stands_in_the_readme_and_has_a_section():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    methods = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
    for name in method_names():
        assert f"[`{name}`](docs/methods.md#{name})" in readme
        assert f"\n## {name}\n" in methods


# --- what pages name is there ---


@page
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if not target.startswith("https://") and target not in LATER:
            assert (path.parent / target).exists(), target


@page
def test_recipes_on_a_command_line_can_be_read(path):
    for command in commands(path):
        for line in re.findall(r"-m \"([^\"]+)\"", command):
            assert Recipe.parse(line).methods, line


@page
def test_flags_on_a_command_line_exist(path):
    known = get_command(cli._app([])).commands
    for command in commands(path):
        words = re.sub(r"\"[^\"]*\"|#.*", "", command).split()[1:]
        verb = known[words[0]]
        if words[1:2] and words[1] in getattr(verb, "commands", {}):
            verb = verb.commands[words[1]]
        flags = {flag for option in verb.params for flag in option.opts}
        assert {word for word in words if word.startswith("-")} <= flags, command


def commands(path: Path) -> list[str]:
    if path.name == "cli.md":
        return []
    text = "".join(blocks(path.read_text(encoding="utf-8"), "console"))
    return [line for line in text.splitlines() if line.startswith("paretolm ")]


def test_laws_name_tests_and_saboteurs_that_exist():
    text = (ROOT / "docs/laws.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| ")][2:]
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    bad = "".join(p.read_text(encoding="utf-8") for p in Path(inspect.getfile(saboteurs)).parent.glob("*.py"))
    assert len(rows) == 10
    for *_, named, saboteur, _ in rows:
        assert all(f"def {name}(" in tests for name in re.findall(r"`(\w+)`", named)), named
        assert all(f"class {name}(" in bad for name in re.findall(r"`(\w+)`", saboteur)), saboteur


def test_every_public_name_is_told_of():
    told = "".join(p.read_text(encoding="utf-8") for p in (*PAGES, *EXAMPLES, ROOT / "src/paretolm/errors.py"))
    assert not [name for name in paretolm.__all__ if not re.search(rf"\b{name}\b", told)]


# --- what pages and examples show runs ---


def test_the_readme_runs(capsys):
    (code,) = blocks((ROOT / "README.md").read_text(encoding="utf-8"), "python")
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert len(code.splitlines()) <= 10
    assert all(re.search(rf"'{counter}': [1-9]", printed) for counter in ("tokens_evicted", "weights_quantized"))


SHOWN = {
    "compare.py": r"window\(window=64\) +recall +\d+%",
    "export.py": r"in the weights: finequant\(.*still to apply: window\(window=256\)",
    "fit_knn_lm.py": r"knn-lm\(lmbda=0.9, k=1\): ' Okonkwo",
    "generate.py": r"streaming-llm {'tokens_evicted': [1-9]",
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs_and_is_short(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARETOLM_HOME", str(tmp_path / "home"))
    runpy.run_path(str(path), run_name="__main__")
    assert re.search(SHOWN[path.name], capsys.readouterr().out)
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 25


def test_the_method_of_the_contributing_page_is_found_and_obeys_every_law(tmp_path):
    """As a contributor would: two files into a copy of the repository, no list edited."""
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    example = ROOT / "examples" / "adding_a_method"
    shutil.copy(example / "key_norm.py", tmp_path / "src/paretolm/methods/keep")
    shutil.copy(example / "test_key_norm.py", tmp_path / "tests/methods/keep")
    tests = ["tests/methods/keep/test_key_norm.py", "tests/contract/test_laws.py"]
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            *tests,
            "-k",
            "key-norm or key_norm",
        ],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": "src", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
    )
    closing = ran.stdout.strip().splitlines()[-1]
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert int(re.match(r"(\d+) passed", closing)[1]) >= 20
