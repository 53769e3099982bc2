"""Fragile Mastery: indices with known answers, and a specialist that is really tuned."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from paretolm.errors import TextError
from paretolm.evaluation.source import TextSource
from paretolm.studies import fragile_mastery as fm
from paretolm.studies.study import Place
from tests.evaluation import judging
from tests.training.test_tuning import fresh

Raw = judging.Raw


def source() -> TextSource:
    """Two domains of their own words, each with text to tune on."""
    raws = []
    for domain, word in (("red", "rose"), ("blue", "sky")):
        for i in range(12):
            text = " ".join(f"{word} {n % 7} {word} of {i}." for n in range(60))
            raws.append(Raw(f"{domain}{i}", text, "", domain=domain, split="fit" if i < 4 else "eval"))
    return TextSource.of(raws, "two")


def scores(nll: float, head: float = 1.0) -> dict[str, float]:
    return {"head": head, "nll": nll, "tokens": 10.0}


def test_indices_by_hand() -> None:
    documents = source().eval_documents
    of = {"red": (3.0, 2.5), "blue": (2.0, 2.2)}  # untouched, tuned for red
    found = {
        fm.UNTOUCHED: [scores(of[d.domain][0]) for d in documents],
        "red": [scores(of[d.domain][1]) for d in documents],
    }
    found[fm.ROUTED] = found["red"]
    n = fm.FragileMastery()._findings(documents, ["red"], found).numbers
    assert n["red: gain in the target"].value == pytest.approx(0.5)
    assert n["red: loss elsewhere"].value == pytest.approx(0.2)
    assert n["red: DSI"].value == pytest.approx(math.exp(0.7))
    assert n["red: GG"].value == pytest.approx(2.2 - 2.5)
    assert n["red: CDTR"].value == pytest.approx(math.exp(-0.2))
    assert n["smallest loss elsewhere"] == n["red: loss elsewhere"]
    assert "too few" in n["red: gain in the target"].note


def test_the_router_takes_the_best_beginning() -> None:
    found = fm.routed({"a": [scores(1.0, 0.5), scores(5.0, 9.0)], "b": [scores(2.0, 0.6), scores(3.0, 0.1)]})
    assert [s["nll"] for s in found[fm.ROUTED]] == [1.0, 3.0]


def test_domains_need_text_to_tune_on() -> None:
    assert sorted(fm.chosen(source(), 2)) == ["blue", "red"]
    with pytest.raises(TextError, match=r"2 domains .* 3 are needed"):
        fm.chosen(source(), 3)


def test_a_specialist_gains_in_its_domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Place, "content", lambda self, model: model)
    monkeypatch.setattr(Place, "source", source())
    monkeypatch.setattr(Place, "load", lambda self, model: fresh())
    study = fm.FragileMastery(domains=2, steps=15, batch_size=4, length=32, lr=0.01, characters=1000)
    found = study.run(Place(("tiny",), output=tmp_path))
    for domain in ("red", "blue"):
        assert (found.numbers[f"{domain}: gain in the target"].low or 0) > 0
        assert found.numbers[f"{domain}: DSI"].value > 1
    assert {r["model"] for r in found.rows} == {"untouched", "red", "blue", "routed"}


def test_too_little_text_is_told(tmp_path: Path) -> None:
    study = fm.FragileMastery(length=4096)
    with pytest.raises(TextError, match="tokens to tune on, less than a sequence of 4096"):
        study._sequences(judging.tokenizer(), [d for d in source().fit_documents if d.domain == "red"][:1])
