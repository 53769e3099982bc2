"""An entry beside what runs here and what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from paretolm import catalogue
from paretolm.catalogue import joined
from paretolm.catalogue.joined import Runs, measured, runs, states
from paretolm.catalogue.listing import detail, show_list, summary
from paretolm.errors import StoreError

from .made import entry, record


def test_methods_are_found_by_id_and_by_arxiv_id() -> None:
    assert runs(catalogue.find("streaming-llm")) == Runs(methods=("streaming-llm",), checked=True)
    assert runs(catalogue.find("draft-approx")).methods == ("specpc", "draft-approx")
    assert set(runs(catalogue.find("prflash-saq")).methods) == {"prflash", "saq", "alibi"}
    assert runs(catalogue.find("needle-threading")).usage == [
        "paretolm compare -t needle-threading", "paretolm study needle-threading",
    ]  # fmt: skip
    assert not runs(catalogue.find("pointer-networks")).any


def test_a_baseline_stands_for_no_entry() -> None:
    assert not runs(entry("made", arxiv="2301.00774")).any  # sparsegpt


def test_what_the_user_measured_goes_before_what_is_shipped(tmp_path: Path) -> None:
    come = measured(tmp_path / "none")
    assert states(come["think"])
    (tmp_path / "think.json").write_text(json.dumps(record("think", "not")), encoding="utf-8")
    beside = measured(tmp_path)
    assert states(beside["think"]) == ["not"]
    assert beside["ems"] is come["ems"]
    (tmp_path / "ems.json").write_text("{", encoding="utf-8")
    with pytest.raises(StoreError, match="no record of a check"):
        measured(tmp_path)


def test_without_shipped_records_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined, "_PLACES", (tmp_path / "a", tmp_path / "b"))
    joined.shipped.cache_clear()
    try:
        assert measured(tmp_path / "c") == {}
    finally:
        joined.shipped.cache_clear()


def test_verdicts_are_counted_in_their_order() -> None:
    assert summary(record("a", "not", "reproduced", "failed", "reproduced")) == (
        "2 reproduced, 1 not reproduced, 1 failed"
    )
    assert summary(None) == ""


def test_a_detail_has_usage_knobs_and_claim_beside_measurement() -> None:
    one = catalogue.find("streaming-llm")
    lines = list(detail(one, runs(one), record("streaming-llm", "partly")))
    for told in (
        '  paretolm compare -m "streaming-llm"',
        "partly: claim 0",
        "  claimed: twice (7B; table 1)",
        "  measured: speed: 2.00 x [1.50, 2.50]",
    ):
        assert told in lines
    assert any(line.startswith("  sinks = 4") for line in lines)


def test_a_detail_says_what_is_missing() -> None:
    nothing = list(detail(entry("a"), Runs(), None))
    assert "Nothing of it runs here yet." in nothing
    unmeasured = list(detail(entry("a"), Runs(tasks=("a",), checked=True), None))
    assert "Its claims have a check that was not run: paretolm claims a" in unmeasured


def test_a_list_by_day_ends_with_what_has_no_date(capsys: pytest.CaptureFixture[str]) -> None:
    found = [entry("undated"), entry("old", date="2001-01-01"), catalogue.find("think")]
    show_list(found, {"old": record("old", "partly")}, "day")
    words = capsys.readouterr().out.split()
    order = ["2024-07-30", "think", "2001-01-01", "old", "partly", "unknown", "undated"]
    assert [word for word in words if word in order] == order
    assert " ".join(words).endswith("3 papers; of 1 something runs here")
