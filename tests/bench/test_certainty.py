"""How sure numbers are is said aloud, in the table and in the report."""

from __future__ import annotations

from dataclasses import replace

from paretolm.bench.report.certainty import certainty
from paretolm.bench.report.render import render
from paretolm.bench.report.table import remarks, table
from paretolm.bench.results.types import FEW, CellResult, Comparison, Decision, Estimate, Metric
from tests.bench.synthetic import comparison


def shown(found: Comparison) -> str:
    return "\n".join(str(cell) for column in table(found).columns for cell in column.cells)


def with_cells(*cells: CellResult) -> Comparison:
    """The untouched model without numbers, and recipes with one cell each."""
    found = comparison(1 + len(cells))
    recipes = [replace(found.recipes[0], cells=())]
    recipes += [replace(r, cells=(c,)) for r, c in zip(found.recipes[1:], cells, strict=True)]
    return replace(found, recipes=tuple(recipes))


def cell(effect: float | None = 0.6, documents: int = 40, decision: Decision | None = None) -> CellResult:
    note = FEW if documents < 20 else ""
    value = Estimate(18.4, 17.0, 20.0, "", documents, documents, note)
    delta = Estimate(1.0, 0.4, 1.6, "%", documents, documents, note)
    return CellResult(
        "perplexity", "done", metrics=(Metric("perplexity", False, value, delta, effect),), decision=decision
    )


def test_too_few_documents_are_said_aloud() -> None:
    few, enough = with_cells(cell(documents=12), cell(documents=17)), with_cells(cell())
    assert "too few documents for intervals one can trust (below 20): perplexity (12)" in remarks(few)
    assert shown(few).count(FEW) == 2
    assert render(few).count(FEW) == 3
    assert not [line for line in remarks(enough) if FEW in line]
    assert FEW not in shown(enough)
    assert FEW not in render(enough)


def test_the_smallest_differences_stand_beside_the_table() -> None:
    found = with_cells(cell(0.6), cell(1.25), cell(None))
    said = "smallest difference that would be seen four times in five: perplexity 0.60 to 1.2%"
    assert said in remarks(found)
    assert said in render(found)
    assert not certainty(with_cells(cell(None)))


def test_what_was_decided_and_what_cannot_be() -> None:
    decision = Decision("same", 0.01, "share", 64, 400, 64, 88.0, 80.0, 0.05, 2)
    last = replace(decision, word="undecided", items=400, documents=400)
    found = with_cells(cell(None, decision=decision), cell(None, decision=last))
    assert "same within 0.01 (after 64 of 400)" in shown(found)
    assert "undecided at 0.01 (all 400)" in render(found)
    first, second = certainty(found)  # ((1+x)^619 - 1) / (619 x) = 80.3 at x = 0.01 / 0.99, and 79.7 for 618
    assert "with a chance of 95%" in first
    assert second == (
        "perplexity: 400 documents cannot show that a recipe is the same within 0.01; 618 could, if none differed at all"
    )
    assert len(certainty(with_cells(cell(None, decision=decision)))) == 1, "it was shown"
    nats = replace(last, unit="nats/token", documents=28)
    _, few = certainty(with_cells(cell(None, decision=nats)))
    assert (
        few
        == (  # 20 to learn bounds from, then 3 ((4/3)^23 - 1) / 23 = 97; 3 ((4/3)^22 - 1) / 22 = 76 is short of 80
            "perplexity: 28 documents cannot show that a recipe is the same within 0.01; 42 could, if none differed at all"
        )
    )
