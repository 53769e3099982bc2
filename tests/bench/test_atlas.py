"""The failure atlas: harm planted in one kind of items is found there, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest

from paretolm.bench.plan import Cell
from paretolm.bench.records.store import CellRecord, Scored
from paretolm.bench.results.atlas import WORST, atlas, document_labels
from paretolm.bench.results.gather import Measured
from paretolm.bench.results.pockets import Atlas, from_plain, hurt
from paretolm.evaluation._files import Raw
from paretolm.evaluation.rows import Row
from paretolm.evaluation.source import TextSource

DOCUMENTS = {f"d{i}": {"code": "code" if i % 4 == 0 else "prose", "digits": "some"} for i in range(40)}


def measured(recipe: str, value: Callable[[int, int], float], metric: str = "nll", **facts: object) -> Measured:
    """Two rows of each of forty documents; value(document, position)."""
    items = [
        Scored(
            f"i{i}",
            f"d{i}",
            [Row(f"i{i}", f"d{i}", metric, value(i, p), 1.0, {"position": p}) for p in (0, 256)],
            facts,
        )
        for i in range(40)
    ]
    return Measured(Cell(recipe, "perplexity", "k" * 64), CellRecord("k" * 64, "done", {}), items)


def noise(i: int, p: int) -> float:
    return float(np.random.default_rng([i, p]).normal(3.0, 0.5))


def made(extra: Callable[[int, int], float], metric: str = "nll") -> Atlas:
    own = measured("r", lambda i, p: noise(i, p) + extra(i, p), metric)
    found = atlas("r", "perplexity", metric, own, measured("dense", noise, metric), DOCUMENTS)
    assert found is not None
    return found


def pockets(found: Atlas) -> dict[tuple[str, str], float]:
    return {(p.trait, p.value): p.loss for p in found.pockets}


def test_planted_harm_is_found_in_its_pocket() -> None:
    found = made(lambda i, p: 1.0 if i % 4 == 0 else 0.0)
    assert pockets(found)["code", "code"] == pytest.approx(1.0)
    assert pockets(found)["code", "prose"] == pytest.approx(0.0, abs=1e-9)
    assert found.loss == pytest.approx(0.25)
    assert [(p.trait, p.value) for _, p in hurt([found])] == [("code", "code")]


def test_harm_by_a_tag_of_the_rows() -> None:
    found = made(lambda i, p: 0.5 if p == 256 else 0.0)
    assert pockets(found)["position", "256"] == pytest.approx(0.5)
    assert pockets(found)["position", "0"] == pytest.approx(0.0, abs=1e-9)
    order = [p.value for p in found.pockets if p.trait == "position"]
    assert order == ["0", "256"]


def test_no_harm_no_pocket() -> None:
    found = made(lambda i, p: float(np.random.default_rng([9, i, p]).normal(0, 0.1)))
    assert len(hurt([found])) <= 1
    assert not hurt([made(lambda i, p: 0.0)])


def test_a_metric_where_more_is_better_turns_the_sign() -> None:
    found = made(lambda i, p: -1.0 if i % 4 == 0 else 0.0, metric="answer_logprob")
    assert pockets(found)["code", "code"] == pytest.approx(1.0)


def test_every_pocket_leads_to_its_worst_rows() -> None:
    found = made(lambda i, p: i / 40)
    (code,) = [p for p in found.pockets if (p.trait, p.value) == ("code", "code")]
    assert len(code.worst) == WORST
    assert [h.loss for h in code.worst] == sorted((h.loss for h in code.worst), reverse=True)
    assert code.worst[0].doc == "d36"
    assert code.worst[0].value - code.worst[0].untouched == pytest.approx(36 / 40)
    assert found.cell == "k" * 64


def test_a_trait_with_one_value_is_left_out() -> None:
    assert all(p.trait != "digits" for p in made(lambda i, p: 1.0).pockets)


def test_items_of_a_set_of_their_own_have_the_traits_written_with_them() -> None:
    def facts(i: int) -> dict[str, object]:
        return {"traits": {"code": "code" if i < 20 else "prose"}, "prompt": 100 if i % 2 else 300}

    def items(shift: float) -> Measured:
        found = [
            Scored(f"i{i}", f"q{i}", [Row(f"i{i}", f"q{i}", "acc", shift * (i < 20) + 0.5)], facts(i))
            for i in range(40)
        ]
        return Measured(Cell("r", "t", "k"), CellRecord("k", "done", {}), found)

    found = atlas("r", "t", "acc", items(-0.5), items(0.0), {})
    assert found is not None
    assert pockets(found)["code", "code"] == pytest.approx(0.5)
    assert {p.value for p in found.pockets if p.trait == "length"} == {"under 256", "256 to 1,023"}


def test_without_common_rows_there_is_none() -> None:
    other = measured("dense", noise, "kl")
    assert atlas("r", "t", "nll", measured("r", noise), other, {}) is None


def test_it_is_kept_as_plain_data() -> None:
    found = made(lambda i, p: i / 40)
    assert from_plain(json.loads(json.dumps(asdict(found)))) == found


def test_labels_of_documents() -> None:
    raws = [Raw(f"a{i}", f"Text {i} of words.", "", domain="news") for i in range(25)]
    labels = document_labels(TextSource.of(raws, "x"))
    assert set(labels) <= {f"a{i}" for i in range(25)}
    assert next(iter(labels.values())) == {"digits": "many", "code": "prose", "script": "latin", "domain": "news"}
