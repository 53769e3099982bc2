"""tune on the command line: what is asked for arrives, files and exit codes follow, mistakes are one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paretolm.bench.tune import tune as bench
from tests.bench.tune.planted import tuned


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Requests that would have been searched; every search finds the planted best."""
    seen: list[Any] = []

    def run(asked: Any, progress: Any) -> Any:
        seen.append(asked)
        return tuned()

    monkeypatch.setattr(bench, "run", run)
    return seen


def test_what_is_asked_for_arrives(run: Any, tmp_path: Path, asked: list[Any]) -> None:
    call = ("tune", "m", "--kv", "25%", "--memory", "2GiB", "--latency", "80ms/token", "--context", "32k")
    more = (
        "--quality",
        "kl<0.02",
        "--quality",
        "ppl<1.05x",
        "--seed",
        "3",
        "--time",
        "60",
        "--text",
        "t.txt",
        "--workers",
        "2",
    )
    assert run(*call, *more, "-o", str(tmp_path / "out"), "-q")[0] == 0
    (one,) = asked
    assert (one.memory, one.kv, one.latency, one.context, one.time_s) == ("2GiB", "25%", "80ms/token", "32k", 60)
    assert one.quality == ("kl<0.02", "ppl<1.05x")
    assert (one.request.model, one.request.seed, one.request.text, one.request.workers) == ("m", 3, "t.txt", "2")


def test_the_page_and_the_recipe_lie_among_the_results_or_where_asked(
    run: Any, tmp_path: Path, asked: list[Any]
) -> None:
    code, out, err = run("tune", "--kv", "25%", "-o", str(tmp_path / "out"), "-q")
    assert code == 0
    assert "best recipe: " in out
    assert err == f"page: {tmp_path / 'out/tune.html'}\nrecipe: {tmp_path / 'out/recipe.toml'}\n"
    more = ("--report", str(tmp_path / "p.html"), "--to", str(tmp_path / "r.toml"))
    assert run("tune", "--kv", "25%", "-o", str(tmp_path / "out"), "-q", *more)[0] == 0
    assert (tmp_path / "p.html").read_text().startswith("<!doctype html>")
    assert "[[method]]" in (tmp_path / "r.toml").read_text()


def test_json_is_all_there_is_on_stdout(run: Any, tmp_path: Path, asked: list[Any]) -> None:
    _, out, _ = run("tune", "--kv", "25%", "-o", str(tmp_path / "out"), "-q", "--json")
    told = json.loads(out)
    assert told["best"]["line"] == "window(window=64) + kv-quant(bits=4)"
    assert told["recipe"] == str(tmp_path / "out/recipe.toml")


def test_no_recipe_is_exit_code_3_and_no_file(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "run", lambda asked, progress: tuned("0.1%"))
    code, out, _ = run("tune", "--kv", "0.1%", "-o", str(tmp_path / "out"), "-q")
    assert code == 3
    assert "--kv 0.1% binds: " in out
    assert not (tmp_path / "out/recipe.toml").exists()


def test_ctrl_c_says_where_to_go_on(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(asked: Any, progress: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "run", stopped)
    told = "stopped; what was scored is in out, and the same call continues there\n"
    assert run("tune", "--kv", "25%", "-o", "out", "-q") == (130, "", told)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((), "nothing is limited: give --memory 2GiB, --kv 25%, --latency 80ms/token or --quality 'kl<0.02'"),
        (("--quality", "kll<1"), "--quality knows no 'kll'; did you mean 'kl'?"),
        (("--kv", "25"), "--kv is a size like 2GiB or 512MiB, or a share like 25%, not '25'"),
        (("--kv", "25%", "--time", "0"), "--time is 0; it must be above 0 seconds"),
    ],
)
def test_a_mistake_is_one_sentence(run: Any, tmp_path: Path, given: tuple[str, ...], sentence: str) -> None:
    assert run("tune", "-o", str(tmp_path / "out"), *given) == (2, "", f"error: {sentence}\n")
    assert not (tmp_path / "out").exists()
