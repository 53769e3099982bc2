"""The study: models side by side, foretold from ten runs and held against runs of other lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paretolm import studies
from paretolm.errors import UserError
from paretolm.evaluation.roofline import MIB, Roofline
from paretolm.studies import idealized_runtime as module
from paretolm.studies.study import Findings, Place
from tests.contract.tiny import tiny

LAYERS = {None: 2, 4: 4, 8: 8}


@pytest.fixture
def model(tmp_path: Path) -> str:
    tiny("llama").model.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Jobs that were asked for. A run takes 1 ms a layer and prompt token and 10 ms a layer and further token alone;
    by the clock twice that."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    jobs: list[Any] = []

    def timed(job: str, arguments: dict[str, Any], threads: int) -> dict[str, Any]:
        jobs.append((job, arguments, threads))
        layers = LAYERS[arguments["layers"]]
        alone = [[layers * 1e-3 * p, layers * (1e-3 * p + 1e-2 * (o - 1))] for p, o in arguments["requests"]]
        shape = {"weight_bytes": 1e6, "flops_per_token": 1e6, "dtype": "float32"}
        return {"runs": [[[2 * f, 2 * t], [f, t]] for f, t in alone], "parameters": layers * 10**6, "shape": shape}

    monkeypatch.setattr(module, "run_forked", timed)
    roof = Roofline("m", "cpu", 1, ((MIB, 1e9),), {"float32": 1e9})
    monkeypatch.setattr(module, "load_roofline", lambda *_: roof)
    return jobs


def run(line: str, model: str, tmp_path: Path) -> Findings:
    return studies.parse(line).run(Place((model,), output=tmp_path / "out"))


LINE = "idealized-runtime(output=8, layers='4, 8')"


def test_three_models_stand_side_by_side(asked: list[Any], model: str, tmp_path: Path) -> None:
    found = run(LINE, model, tmp_path)
    table, requests = found.tables
    assert [row[0] for row in table.rows] == [model, f"{model}, 4 layers", f"{model}, 8 layers"]
    by_name = [dict(zip((c.name for c in table.columns), row, strict=True)) for row in table.rows]
    for row in by_name:
        assert row["ratio"] == pytest.approx(2), "the clock of a busy machine over what the fit foretells"
        assert row["largest error"] == pytest.approx(0, abs=1e-6)
        assert row["by the clock"] == pytest.approx(50)
        assert 0 < row["roofline"] < row["idealized"] < row["measured"]
    assert by_name[2]["idealized"] == pytest.approx(4 * by_name[0]["idealized"])
    assert len(requests.rows) == 3 * 6
    assert found.numbers["error"].value == pytest.approx(0, abs=1e-6)
    assert found.numbers["largest error by the clock"].value == pytest.approx(50)
    assert found.numbers["within 10%, error"].value == 100
    assert found.numbers["within 10%, error by the clock"].value == 0
    assert len(found.rows) == 18


def test_ten_runs_are_fitted_among_the_others_and_in_one_process(asked: list[Any], model: str, tmp_path: Path) -> None:
    run(LINE, model, tmp_path)
    assert len(asked) == 3
    job, arguments, threads = asked[0]
    assert (job, threads) == ("paretolm.evaluation.idealized_runtime:time_job", 1)
    requests = [tuple(r) for r in arguments["requests"]]
    fitted = set(module.fitting_requests(128, 8, 10))
    assert sum(r in fitted for r in requests) == 10
    assert len(requests) == 10 + 6 * 3
    assert {r in fitted for r in requests[:14]} == {True, False}, "not one after the other"
    run(LINE, model, tmp_path)
    assert len(asked) == 3, "what was timed is kept"


def test_several_threads_have_only_the_clock(asked: list[Any], model: str, tmp_path: Path) -> None:
    found = run("idealized-runtime(output=8, threads=2)", model, tmp_path)
    row = dict(zip((c.name for c in found.tables[0].columns), found.tables[0].rows[0], strict=True))
    assert row["ratio"] == pytest.approx(1)
    assert asked[0][2] == 2


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("idealized-runtime(output=8, layers='4, many')", "no list of layer counts"),
        ("idealized-runtime(output=64)", "reads 128 tokens; with output=64 it needs 256"),
        ("idealized-runtime(runs=11)", "11"),
    ],
)
def test_what_cannot_be_met_is_said(asked: list[Any], model: str, tmp_path: Path, line: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        run(line, model, tmp_path)
    assert not asked
