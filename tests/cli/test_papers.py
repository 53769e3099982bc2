"""paretolm papers: what it prints and answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.catalogue.made import record


def test_the_list_is_dated_the_newest_first(run) -> None:
    code, out, _ = run("papers")
    days = [line.strip() for line in out.splitlines() if line[:2] == "20" and len(line.split()) == 1]
    assert code == 0
    assert len(days) > 100
    assert days == sorted(set(days), reverse=True)
    assert "232 papers" in out


def test_words_filters_and_json(run) -> None:
    code, out, _ = run("papers", "attention", "sinks", "--family", "cache,attention", "--json")
    found = json.loads(out)
    assert code == 0
    assert found[0]["id"] == "streaming-llm"
    assert found[0]["runs"]["methods"] == ["streaming-llm"]
    assert "reproduced" in found[0]["verdicts"]
    assert {paper["family"] for paper in found} <= {"cache", "attention"}
    _, out, _ = run("papers", "--since", "2025-06-01", "--need", "none", "--json")
    assert all(p["date"] >= "2025-06" and not p["needs"] for p in json.loads(out))


def test_by_family(run) -> None:
    _, out, _ = run("papers", "--family", "positions", "--family", "survey", "--by", "family")
    heads = [line.strip() for line in out.splitlines() if line and not line.startswith(" ")]
    assert heads[:2] == ["positions", "survey"]
    assert "11 papers" in heads[-1]


def test_one_paper_beside_what_the_user_measured(run, elsewhere: Path) -> None:
    (elsewhere / "results/claims").mkdir(parents=True)
    (elsewhere / "results/claims/think.json").write_text(json.dumps(record("think", "partly")), encoding="utf-8")
    for call in (["think"], ["show", "think"], ["show", "2407.21018"]):
        code, out, _ = run("papers", *call)
        assert code == 0
        assert "partly: claim 0" in out
        assert 'paretolm compare -m "think"' in out


def test_neighbours_and_what_no_paper_has_a_word_of(run) -> None:
    _, out, _ = run("papers", "--similar", "spectr", "--limit", "5", "--json")
    found = [paper["id"] for paper in json.loads(out)]
    assert len(found) == 5
    assert "spectr" not in found
    assert {"rsd", "dyspec", "judge-decoding"} & set(found)
    code, out, err = run("papers", "zyzzyva")
    assert code == 0
    assert "no paper has a word of 'zyzzyva'" in err
    assert "0 papers" in out


def test_bibtex(run) -> None:
    code, out, _ = run("papers", "--bibtex", "e2-llm")
    assert code == 0
    assert "eprint = {2401.06951}" in out


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (["show", "streaming"], "did you mean 'streaming-llm'?"),
        (["show"], "takes the id of one paper"),
        (["--by", "dya"], "did you mean 'day'?"),
        (["--similar", "thinkk"], "did you mean 'think'?"),
        (["words", "--similar", "think"], "takes no words"),
        (["--slot", "kep"], "did you mean 'keep'?"),
    ],
)
def test_mistakes_are_sentences(run, call: list[str], told: str) -> None:
    code, _, err = run("papers", *call)
    assert code == 2
    assert told in err


def test_the_catalogue_loads_no_torch() -> None:
    code = (
        "import sys\nfrom paretolm.cli import main\n"
        "try: main(['papers', 'show', 'think'])\nexcept SystemExit: print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.splitlines()[-1] == "False"


def test_the_site(run, elsewhere: Path) -> None:
    code, out, err = run("papers", "--family", "positions", "--site", "site")
    assert code == 0
    assert not out
    assert "page: site/index.html" in err
    assert (elsewhere / "site/index.html").read_text(encoding="utf-8").count('<article class="paper"') == 3
