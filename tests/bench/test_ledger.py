"""The byte ledger as people read it: measured, predicted, and by how much it is off."""

from __future__ import annotations

from dataclasses import replace

from paretolm.bench.report.ledger import cell, columns, ledger_table
from paretolm.bench.report.render import render
from paretolm.bench.results.types import Booked
from tests.bench.synthetic import comparison

MIB = 2**20
DENSE = (
    Booked("weights", 32 * MIB, 32 * MIB, 32 * MIB, 0),
    Booked("cache", 4 * MIB, 3 * MIB, 3.5 * MIB, 0.5 * MIB),
    Booked("index", 0, 0, 0, 0),
    Booked("unexplained", -0.25 * MIB),
)


def made():
    found = comparison(3)
    memory = {"steady_total_bytes": 35.75 * MIB, "steady_kv_bytes": 4 * MIB, "peak_kv_bytes": 11 * MIB}
    dense = replace(found.recipes[0], ledger=DENSE, memory=memory)
    return replace(found, recipes=(dense, *found.recipes[1:]))


def test_the_entries_add_up_to_the_total_that_is_shown() -> None:
    found = made()
    assert sum(b.measured for b in found.recipes[0].ledger) == found.recipes[0].memory["steady_total_bytes"]


def test_a_cell_has_the_prediction_and_the_difference_below() -> None:
    dense = made().recipes[0]
    assert cell(dense, "weights") == ["32.0 MiB", "32.0 MiB", "±0"]
    assert cell(dense, "cache") == ["4.00 MiB", "3.00 MiB to 3.50 MiB", "+512 KiB"]
    assert cell(dense, "unexplained") == ["-256 KiB"]
    assert cell(dense, "draft") == ["–"]


def test_entries_of_nothing_have_no_column() -> None:
    assert columns(made().recipes) == ["weights", "cache", "unexplained"]
    missing = replace(made().recipes[0], ledger=(Booked("index", 0, 5.0, 5.0, -5.0),))
    assert columns([missing]) == ["index"], "it should hold something"


def test_the_table_has_the_recipes_that_were_weighed() -> None:
    found = ledger_table(made().recipes)
    assert found is not None
    shown = {str(c.header): [str(x) for x in c.cells] for c in found.columns}
    assert shown["recipe"] == ["dense"]
    assert shown["steady"] == ["35.8 MiB"]
    assert shown["activations"] == ["7.00 MiB"]
    assert ledger_table(comparison(3).recipes) is None


def test_the_report_has_it_too() -> None:
    page = render(made())
    assert "<h3>Ledger</h3>" in page
    assert "3.00 MiB to 3.50 MiB" in page
    assert "<h3>Ledger</h3>" not in render(comparison(3))
