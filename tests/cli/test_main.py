"""The command line: exit codes that scripts can trust, one sentence a mistake, data on stdout alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from paretolm import cli
from paretolm.bench import compare as bench
from paretolm.cli._lists import split
from paretolm.errors import CellError
from tests.bench.synthetic import comparison


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


# --- verbs ---


def test_every_file_is_a_verb() -> None:
    assert {"compare", "run", "fit", "export", "methods"} <= set(cli.verbs())
    assert not [v for v in cli.verbs() if v.startswith("_")]


def test_help_names_every_verb(run: Any) -> None:
    for arguments in ([], ["--help"]):
        code, out, _ = run(*arguments)
        assert code == 0
        assert all(verb in out for verb in cli.verbs())


@pytest.mark.parametrize("verb", cli.verbs())
def test_every_verb_has_help(run: Any, verb: str) -> None:
    code, out, err = run(verb, "--help")
    assert (code, err) == (0, "")
    assert f"paretolm {verb}" in out


def test_version(run: Any) -> None:
    assert run("--version")[:2] == (0, "0.1.0\n")


def test_an_unknown_verb_suggests_the_nearest(run: Any) -> None:
    assert run("compar") == (2, "", "error: there is no command 'compar'; did you mean 'compare'?\n")


def test_an_unknown_option_is_exit_code_2(run: Any) -> None:
    code, out, err = run("compare", "--recipes", "h2o")
    assert (code, out) == (2, "")
    assert "No such option" in err


def test_a_traceback_only_for_those_who_ask(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" not in run("methods", "show", "h3o")[2]
    monkeypatch.setenv("PARETOLM_DEBUG", "1")
    code, _, err = run("methods", "show", "h3o")
    assert code == 2
    assert "Traceback" in err


# --- mistakes ---


def damage(model: Path, how: str) -> None:
    weights = model / "model.safetensors"
    if how == "no config":
        (model / "config.json").unlink()
    elif how == "truncated":
        weights.write_bytes(weights.read_bytes()[:-1000])
    else:
        weights.rename(model / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("how", "said"),
    [("no config", "holds no config.json"), ("truncated", "model.safetensors"), ("pickle", "only as a pickle")],
)
def test_a_damaged_model_is_one_sentence(run: Any, model: Path, how: str, said: str) -> None:
    damage(model, how)
    one_sentence(run("compare", str(model)), said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "stremaing-llm"], "did you mean 'streaming-llm'?"),
        (["-m", "h2o(budget=25%"], "never closed"),
        (["-m", "h2o("], "never closed"),
        (["-t", "recal"], "did you mean 'recall'?"),
        (["--text", "empty.txt"], "empty.txt"),
        (["--text", "nowhere"], "no text at nowhere"),
        (["nothing"], "neither a directory nor a hub id"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(run: Any, arguments: list[str], said: str) -> None:
    Path("empty.txt").write_text("  \n")
    one_sentence(run("compare", *arguments), said)


def test_a_results_file_that_cannot_be_used_is_no_mistake_of_the_call(run: Any) -> None:
    Path("taken").write_text("")
    code, out, err = run("compare", "-o", "taken")
    assert (code, out) == (1, "")
    assert "--output_path" in err


def one_sentence(answer: tuple[int, str, str], said: str) -> None:
    code, out, err = answer
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1


# --- compare ---


def test_compare_prints_a_table_and_writes_a_report(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(bench, "run", lambda request, progress: asked.append(request) or comparison(3))
    code, out, err = run(
        "compare", "some", "-m", "h2o", "-m", "window(window=8)", "-t", "recall(repeats=2, seed=1),speed",
        "-t", "perplexity", "-L", "5", "--seed", "3", "--output_path", "there", "--json", "-q",
    )  # fmt: skip
    assert code == 0
    (request,) = asked
    assert (request.model, request.recipes) == ("some", ("h2o", "window(window=8)"))
    assert request.tasks == ("recall(repeats=2, seed=1)", "speed", "perplexity")
    assert (request.limit, request.seed, request.output) == (5, 3, Path("there"))
    answer = json.loads(out)  # nothing else
    assert len(answer["recipes"]) == 3
    assert err == "report: there/report.html\n"
    assert Path(answer["report"]).read_text().startswith("<!doctype html>")


def test_the_table_says_what_failed_and_what_cannot_be_seen(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "run", lambda request, progress: comparison())
    code, out, _ = run("compare", "--report", "mine.html")
    assert code == 1, "a cell failed"
    assert Path("mine.html").exists()
    for words in (
        "lm-infinite: recall: out of memory asking for 2.0 GiB",
        "n/a: recall does not see a way of decoding",
        "giraffe(scale=4): perplexity: giraffe changed nothing",
        "*: this task sees only a part of the recipe",
        "31 cells measured, 4 read from .paretolm/results.sqlite, in 3 min 32 s",
        "+540.0%",
        "did not act",
        "on the frontier",
    ):
        assert words in out, words


def test_ctrl_c_says_where_it_continues(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(request: object, progress: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "run", stopped)
    assert run("compare") == (
        130,
        "",
        "stopped; what was finished is in .paretolm, and the same call continues there\n",
    )


def test_work_that_fails_is_exit_code_1(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(request: object, progress: object) -> None:
        raise CellError("the model could not be loaded")

    monkeypatch.setattr(bench, "run", failed)
    assert run("compare") == (1, "", "error: the model could not be loaded\n")


def test_no_colour_where_none_is_wanted(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "run", lambda request, progress: comparison(3))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[3" not in run("compare")[1]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        (["a,b"], ["a", "b"]),
        (["a(x=1, y=2),b", "c"], ["a(x=1, y=2)", "b", "c"]),
        ([" a , ,b "], ["a", "b"]),
        (["a(x=1"], ["a(x=1"]),
    ],
)
def test_lists_are_parted_outside_of_brackets(values: list[str], expected: list[str]) -> None:
    assert split(values) == expected


# --- methods ---


def test_methods_are_listed_and_shown(run: Any) -> None:
    code, out, _ = run("methods")
    assert code == 0
    known = {m["name"] for m in json.loads(run("methods", "--json")[1])}
    assert {"h2o", "kv-quant", "knn-lm"} <= known
    assert all(name in out for name in known)
    code, out, _ = run("methods", "show", "h2o")
    assert code == 0
    assert "https://arxiv.org/abs/2306.14048" in out
    assert json.loads(run("methods", "show", "h2o", "--json")[1])["knobs"][0]["name"] == "budget"
