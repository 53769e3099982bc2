"""Numbers drawn from rows: against hand calculations, in the units people read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from paretolm.bench.records.store import Scored, Store
from paretolm.bench.results.types import CellResult
from paretolm.errors import CellError
from paretolm.evaluation.rows import Row
from paretolm.papers.found import Found
from paretolm.papers.numbers import exact, mean, median, share
from paretolm.papers.timing import faster, turns

DOCS = 24


@pytest.fixture
def found(tmp_path: Path) -> Found:
    """dense and 'own' on one task: own is right where dense is, but for the first two of 24 documents."""
    path = tmp_path / "results.sqlite"
    cells = {"dense": [1.0] * DOCS, "own": [0.0, 0.0] + [1.0] * (DOCS - 2)}
    with Store(path) as store:
        store.plan({name: {} for name in cells})
        for name, hits in cells.items():
            store.claim([name])
            size = 1000 if name == "dense" else 250
            store.add(
                (
                    name,
                    Scored(
                        f"i{i}", f"d{i}", [Row(f"i{i}", f"d{i}", "recall", h, 1.0, {"depth": i % 2})], facts(size, i)
                    ),
                )
                for i, h in enumerate(hits)
            )
            store.finish(name)
    results = {
        name: SimpleNamespace(
            cells=(CellResult("recall", "done", key=name), CellResult("speed", "did not act", "idle"))
        )
        for name in cells
    }
    comparison = SimpleNamespace(store=str(path), conditions={"seed": 0}, recipe=results.__getitem__)
    return Found(comparison, ("own",), ("recall", "speed"))  # type: ignore[arg-type]


def facts(size: int, number: int) -> dict[str, object]:
    """The item of the longest prompt is the last."""
    return {
        "kv_bytes": size * (number + 1),
        "weight_bytes": size,
        "prompt": number,
        "counters": {"own": {"acted": number}},
    }


def test_shares_are_percents_and_differences_points(found: Found) -> None:
    own = found.mean("recall", "own", "recall")
    assert (own.unit, own.n) == ("%", DOCS)
    assert own.value == pytest.approx(100 * 22 / 24)
    change = found.change("recall", "own", task="recall")
    assert (change.value, change.unit) == (pytest.approx(-100 * 2 / 24), "points")
    assert change.low is not None
    assert change.low < change.value


def test_a_part_of_the_rows(found: Found) -> None:
    even = found.mean("recall", "own", "recall", lambda row: row.tags["depth"] == 0)
    assert even.value == pytest.approx(100 * 11 / 12)
    assert "too few" in even.note


def test_bytes_and_counters(found: Found) -> None:
    assert found.held("own", task="recall") == exact(25.0, "%")
    assert found.weights("own", task="recall") == exact(25.0, "%")
    assert found.counted("own", "own", "acted", "recall")["i3"] == 3
    assert found.keys == ["dense", "own"]


def test_what_was_not_measured_is_an_error(found: Found) -> None:
    with pytest.raises(CellError, match="no nll was measured"):
        found.mean("nll", "own", "recall")
    with pytest.raises(CellError, match="own on speed: did not act, idle"):
        found.speed("own")


def test_perplexities_differ_in_percent() -> None:
    from paretolm.papers.numbers import change, of_rows

    base = [Row(f"i{i}", f"d{i}", "nll", 1.0 + i / 10) for i in range(20)]
    own = [Row(r.item, r.doc, r.metric, r.value + 0.5) for r in base]
    assert change(own, base).value == pytest.approx(64.872, abs=1e-3)  # 100 (e^0.5 - 1)
    assert of_rows(base).value == pytest.approx(7.029, abs=1e-3)  # e^1.95


def test_means_shares_and_medians() -> None:
    assert mean([1.0, 3.0], ["a", "b"], weights=[3, 1]).value == 1.5
    assert mean([1.0, 3.0], ["a", "a"]).low is None
    found = share([True] * 30, [str(i) for i in range(30)])
    assert found.low == pytest.approx(88.43, abs=0.01)  # Clopper and Pearson: 0.025 ** (1 / 30)
    assert share([True, False], ["a", "a"]).low is None
    assert (median([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]).value, median([1.0, 2.0]).note) == (
        4.0,
        "repeats, 50% interval",
    )


def test_turns_alternate_and_the_first_does_not_count() -> None:
    heard: list[str] = []
    seconds = turns({name: lambda n=name: heard.append(n) for name in "ab"}, 2)  # type: ignore[misc]
    assert heard == ["b", "a", "a", "b", "b", "a"]
    assert {name: len(found) for name, found in seconds.items()} == {"a": 2, "b": 2}
    assert faster([1.0, 2.0], [10.0, 10.0], 3).value == 22.5
