"""paretolm claims: what it prints, writes and answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from paretolm import papers
from tests.papers.conftest import made_papers, world  # noqa: F401


def last_line(text: str) -> object:
    return json.loads(text.strip().splitlines()[-1])


def test_the_list(run) -> None:
    code, out, _ = run("claims", "streaming_llm", "--list", "--json")
    found = last_line(out)
    assert code == 0
    assert found["streaming-llm"]["family"] == "cache"
    assert len(found["streaming-llm"]["claims"]) == len(papers.find("streaming-llm").claims)


def test_an_unknown_paper_is_a_mistake_with_the_nearest_match(run) -> None:
    code, _, err = run("claims", "streaming")
    assert code == 2
    assert "did you mean 'streaming-llm'?" in err


@pytest.mark.usefixtures("made_papers")
def test_failures_and_verdicts_are_told_and_written(run, elsewhere: Path) -> None:
    code, out, err = run("claims", "bad", "hungry", "--json", "-q")
    assert code == 1
    bad, hungry = last_line(out)
    assert [c["state"] for c in bad["claims"]] == ["failed", "reproduced", "failed"]
    assert "hungry: 1 not run" in err
    assert json.loads((elsewhere / "results/claims/bad.json").read_text()) == bad
    assert "the lamp went out" in (elsewhere / "results/claims/index.html").read_text()
    code, out, _ = run("claims", "hungry", "-o", "other", "--store", "rows", "-q")
    assert code == 0
    assert hungry["claims"][0]["state"] == "not run"
    assert "not run" in out
    assert [p.name for p in sorted(Path("other").iterdir())] == ["hungry.json", "index.html"]
