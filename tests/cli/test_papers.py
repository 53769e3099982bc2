"""paretolm papers: what it prints and answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.catalogue.made import record

RECORDED = Path(__file__).parents[1] / "catalogue" / "recorded"


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
    assert "did you mean 'sync'?" in run("papers", "snyc", "x.xml")[2]
    assert run("papers", " ")[0] == 0


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
        (["sync", "nowhere.xml"], "there is no file nowhere.xml"),
        (["sync", "file:///etc/passwd"], "file:// is not read"),
        (["digest", "--since", "today", "--to", "x.html"], "write it as 2024-05-31"),
        (["digest", "--since", "2024-01-01", "--to", "x.txt"], "neither a page"),
        (["digest", "--since", "2024-01-01", "--to", "smtp://h"], "names one from="),
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


def test_what_feeds_list_stands_beside_the_entries(run, elsewhere: Path) -> None:
    answers = [
        run("papers", "sync", str(RECORDED / name)) for name in ("atom.xml", "category.rss", "daily.json", "atom.xml")
    ]
    mine = elsewhere / "data/paretolm/papers.jsonl"
    assert [code for code, *_ in answers] == [0, 0, 0, 0]
    assert [out for _, out, _ in answers] == [
        f"2 new, 1 known (1 of them told more fully now), 1 refused: {mine}\n",
        f"2 new, 1 known, 0 refused: {mine}\n",
        f"1 new, 1 known (1 of them told more fully now), 0 refused: {mine}\n",
        f"0 new, 3 known, 1 refused: {mine}\n",
    ]
    assert "entry 4 (Error)" in answers[0][2]
    assert "237 papers" in run("papers")[1]
    assert [p["id"] for p in json.loads(run("papers", "vaswani", "--json")[1])] == ["1706.03762"]
    assert "listed, not runnable here" in run("papers", "show", "hep-th/9711200")[1]
    assert "author = {Guangxuan Xiao and Yuandong Tian" in run("papers", "streaming-llm", "--bibtex")[1]
    assert {p["kind"] for p in json.loads(run("papers", "--family", "unknown", "--json")[1])} == {"listed"}
    assert len(json.loads(run("papers", "--kind", "listed", "--json")[1])) == 5
    assert len(json.loads(run("papers", "--similar", "think", "--limit", "3", "--json")[1])) == 3


def test_a_broken_feed_changes_nothing(run, elsewhere: Path) -> None:
    run("papers", "sync", str(RECORDED / "daily.json"), "--to", "mine.jsonl")
    before = (elsewhere / "mine.jsonl").read_bytes()
    text = (RECORDED / "atom.xml").read_text(encoding="utf-8")
    (elsewhere / "broken.xml").write_text(text[:3000], encoding="utf-8")
    code, out, err = run("papers", "sync", "broken.xml", "--to", "mine.jsonl")
    assert (code, out) == (1, "")
    assert "broken.xml is broken XML" in err
    assert (elsewhere / "mine.jsonl").read_bytes() == before
    (elsewhere / "none.json").write_text('[{"paper": {}}]', encoding="utf-8")
    code, out, err = run("papers", "sync", "none.json", "--to", "mine.jsonl", "--json")
    assert code == 1  # nothing of it could be used
    assert json.loads(out) == {
        "new": [], "known": 0, "completed": 0, "refused": ["entry 1: it has no title"], "file": "mine.jsonl",
    }  # fmt: skip
    assert "237 papers" not in run("papers")[1]
    assert "233 papers" in run("papers", "--listings", "mine.jsonl")[1]


def test_a_digest_is_a_page(run, elsewhere: Path) -> None:
    run("papers", "sync", str(RECORDED / "daily.json"))
    code, out, err = run("papers", "digest", "--since", "2024-01-01", "--to", "out/news.html")
    assert (code, out) == (0, "")
    assert err.startswith("1 new paper, ")
    text = (elsewhere / "out/news.html").read_text(encoding="utf-8")
    assert "Made Up Daily: A Paper Nobody Wrote" in text
    assert "claimed: " in text
    code, _, err = run("papers", "digest", "--since", "2999-01-01", "--to", "smtp://127.0.0.1:1/?from=a@b.c&to=d@e.f")
    assert code == 0
    assert "no mail was sent" in err


def test_a_search_takes_options_anywhere_and_commands_by_name_only(run) -> None:
    _, out, _ = run("papers", "attention", "--limit", "2", "sinks", "--json")
    assert len(json.loads(out)) == 2
    code, out, _ = run("papers", "--json", "sync")  # not the first word, so it is searched for
    assert code == 0
    assert isinstance(json.loads(out), list)


def test_the_site(run, elsewhere: Path) -> None:
    code, out, err = run("papers", "--family", "positions", "--site", "site")
    assert code == 0
    assert not out
    assert "page: site/index.html" in err
    assert (elsewhere / "site/index.html").read_text(encoding="utf-8").count('<article class="paper"') == 3
