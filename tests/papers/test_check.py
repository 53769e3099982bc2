"""A check from end to end: numbers from rows of the store, resumption, and failures that stay with their claims."""

from __future__ import annotations

import json
import re
import signal
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from paretolm.bench.progress import Progress
from paretolm.bench.records.store import Store
from paretolm.errors import CellError, UserError
from paretolm.papers.check import check, summary
from paretolm.papers.experiments import Spot, carry_out, described
from paretolm.papers.records import read_records
from paretolm.papers.run import Call, run
from tests.papers import made
from tests.papers.made import WINDOW

pytestmark = pytest.mark.usefixtures("made_papers")


def finished(store: Path) -> dict[str, float | None]:
    with Store(store / "results.sqlite") as opened:
        keys = [k for (k,) in opened._db.execute("SELECT key FROM cells")]
        return {k: r.finished for k, r in opened.cells(keys).items()}


def test_a_check_is_not_measured_twice(tmp_path: Path) -> None:
    spot = Spot(tmp_path / "store")
    before = len(made.counted())
    record = check("good", spot)
    assert [c["state"] for c in record["claims"]] == ["reproduced", "reproduced"]
    bench, direct = record["claims"]
    assert list(bench["numbers"]) == ["held", "plain"]
    assert bench["numbers"]["held"]["low"] == bench["numbers"]["held"]["value"] < 50
    assert len(bench["keys"]) == 2
    assert direct["numbers"]["mean"]["value"] == 2.0
    assert direct["limits"][0]["outcome"] == "met"
    assert json.loads(json.dumps(record)) is not None

    first = finished(spot.store)
    again = check("good", spot)
    assert finished(spot.store) == first
    assert len(made.counted()) == before + 1
    assert [c["numbers"] for c in again["claims"]] == [c["numbers"] for c in record["claims"]]


def test_rows_of_a_direct_measurement_are_kept(tmp_path: Path) -> None:
    outcome = carry_out(made.direct(made.work), Spot(tmp_path))
    (key,) = outcome.keys
    lines = (tmp_path / "claims" / f"{key[:16]}.jsonl").read_text().splitlines()
    assert [json.loads(line)["value"] for line in lines] == [1.0, 2.0, 3.0]


def test_a_direct_measurement_is_done_again_for_other_code_or_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = made.direct(made.work)
    (key,) = carry_out(experiment, Spot(tmp_path)).keys
    assert list(carry_out(experiment, Spot(tmp_path)).keys) == [key]
    text = Path(experiment.text or "")
    other = tmp_path / "other.jsonl"
    other.write_text(text.read_text().replace("river", "brook"))
    monkeypatch.setenv(made.TEXT, str(other))
    assert list(carry_out(made.direct(made.work), Spot(tmp_path)).keys) != [key]
    monkeypatch.setattr("paretolm.papers.experiments.shared_code", lambda: "other code")
    assert list(carry_out(experiment, Spot(tmp_path)).keys) != [key]


def test_what_fails_fails_for_its_claims_alone(tmp_path: Path) -> None:
    record = check("bad", Spot(tmp_path))
    assert [c["state"] for c in record["claims"]] == ["failed", "reproduced", "failed"]
    assert record["claims"][0]["why"] == "the lamp went out"
    assert "KeyError" in record["claims"][2]["why"]
    assert summary(record).startswith("bad: 2 failed, 1 reproduced (")


def test_a_recipe_that_cannot_stand_is_a_failure(tmp_path: Path) -> None:
    from dataclasses import replace

    impossible = replace(made.bench(), recipes=("gemfilter(filter_layer=99)",))
    with pytest.raises((CellError, UserError)):
        carry_out(impossible, Spot(tmp_path))


def test_a_cell_that_nobody_reads_may_fail(tmp_path: Path) -> None:
    """A decoding loop that draws nothing is refused by a task that samples."""
    from dataclasses import replace

    sampled = "generation-quality(prompts=2, length=24, max_new_tokens=4, temperature=1.0)"
    bench, loop = made.bench(), "contrastive-search(k=2)"
    both = {"recipes": (WINDOW, loop), "tasks": (*bench.tasks, sampled)}
    outcome = carry_out(
        replace(bench, **both, measure=lambda found: {"plain": found.mean("nll", WINDOW, bench.tasks[0])}),
        Spot(tmp_path),
    )
    assert outcome.numbers["plain"].value > 1
    with pytest.raises(CellError, match=rf"^{re.escape(loop)} on generation-quality.*: failed, "):
        carry_out(
            replace(bench, **both, measure=lambda found: {"plain": found.mean("rep_4", loop, sampled)}), Spot(tmp_path)
        )


def test_data_that_is_not_there_is_no_verdict(tmp_path: Path) -> None:
    (claim,) = check("hungry", Spot(tmp_path))["claims"]
    assert claim["state"] == "not run"
    assert claim["why"] == "needs no_such_set in the directory given as --data"
    (tmp_path / "data" / "no_such_set").mkdir(parents=True)
    (claim,) = check("hungry", Spot(tmp_path, tmp_path / "data"))["claims"]
    assert claim["state"] == "reproduced"


def test_checks_side_by_side_survive_one_that_kills_its_process(tmp_path: Path) -> None:
    heard: list[str] = []

    class Listening(Progress):
        def finish(self, key: str) -> None:
            heard.append(f"{key} done")

        def fail(self, key: str, reason: str) -> None:
            heard.append(f"{key} failed")

    call = Call(("deadly", "good"), tmp_path / "out", tmp_path / "store", workers=2)
    deadly, good = run(call, Listening())
    assert deadly["claims"][0]["state"] == "failed"
    assert "SIGKILL" in deadly["claims"][0]["why"]
    assert [c["state"] for c in good["claims"]] == ["reproduced", "reproduced"]
    assert [r["id"] for r in read_records(tmp_path / "out")] == ["deadly", "good"]
    assert sorted(heard) == ["deadly failed", "good done"]


def test_all_ends_when_it_is_stopped(tmp_path: Path) -> None:
    """Ctrl-C reaches the process that waits; the others end with it, and what is written is whole."""

    class Stopping(Progress):
        def note(self, text: str) -> None:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(Call(("good",), tmp_path / "out", tmp_path / "store", workers=1), Stopping())
    for record in (tmp_path / "out").glob("*.json"):  # the worker may have ended first
        assert json.loads(record.read_text())["id"] == "good"
    mine = [p for p in psutil.Process().children(recursive=True) if "made_worker" in words_of(p)]
    assert not psutil.wait_procs(mine, timeout=10)[1]


def words_of(process: psutil.Process) -> str:
    with suppress(psutil.Error):  # it may just have ended
        return " ".join(process.cmdline())
    return ""


def test_an_unknown_paper_is_named_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no claims are checked of 'bogus'"):
        run(Call(("good", "bogus"), tmp_path, tmp_path), Progress())
    assert not list(tmp_path.iterdir())


def test_an_experiment_in_a_line() -> None:
    assert described(made.bench()) == "window(window=32) on perplexity(length=96, streams=20, context=0.9, audit=0)"
    assert described(made.direct(made.work)).startswith("Three values. Models: ")
