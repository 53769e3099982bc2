"""Models side by side."""

from __future__ import annotations

import re

import pytest

from paretolm.cards.measure import Measured, measure
from paretolm.cards.table import lines, paired, show
from tests.cards.made import other, request


@pytest.fixture(scope="module")
def two(measured: Measured) -> list[Measured]:
    return [measured, measure(other(0.3), request())]


def test_the_difference_is_paired_by_document(two: list[Measured]) -> None:
    first, second = paired(two)
    values = [m.card["text"]["bits_per_byte"]["value"] for m in two]
    assert [first.mean, second.mean] == pytest.approx(values, rel=1e-5)
    assert second.delta == pytest.approx(values[1] - values[0], abs=1e-4)
    assert second.delta_low < second.delta < second.delta_high


def test_a_line_has_a_word_for_each_model(two: list[Measured]) -> None:
    found = dict(lines(two))
    assert all(len(cells) == 2 for cells in found.values())
    bits = found["bits per byte"]
    assert bits[0] == f"{two[0].card['text']['bits_per_byte']['value']:.3f}"
    assert re.fullmatch(r"\d\.\d{3} \([+-]\d\.\d{3} \[[+-]\d\.\d{3}, [+-]\d\.\d{3}\]\)", bits[1])
    assert found["BLiMP"][1] == "–"


def test_the_table_names_what_was_left_out(two: list[Measured], capsys: pytest.CaptureFixture[str]) -> None:
    show(two)
    out = capsys.readouterr().out
    assert "bits per byte" in out
    assert "minus tiny, paired by document" in out
    assert "tiny: recall was left out: recall: a text of" in out
