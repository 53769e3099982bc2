"""The user's file: what is new, what is known, and that it is whole whatever happens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretolm import catalogue
from paretolm.catalogue import shelf
from paretolm.catalogue.facts import Facts
from paretolm.catalogue.shelf import add, beside, merge, place, read, unknown
from paretolm.errors import StoreError

from .made import entry

DAY = "2024-09-03"
A = Facts("Caches, Sinks & Streams", "2401.00001", authors=("Jane Doe",), published="2024-01-01")


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PARETOLM_PAPERS", str(tmp_path / "mine.jsonl"))
    assert place() == tmp_path / "mine.jsonl"
    monkeypatch.delenv("PARETOLM_PAPERS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert place() == tmp_path / "paretolm" / "papers.jsonl"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert place() == tmp_path / ".local/share/paretolm/papers.jsonl"


@pytest.mark.parametrize(
    ("other", "known"),
    [
        (Facts("Another title", "2401.00001"), True),
        (Facts("CACHES — sinks; streams", doi="10.1000/x"), True),
        (Facts("Caches, Sinks & Streams", "2402.00002", authors=("Jane Doe", "John Roe")), True),
        (Facts("Caches, Sinks & Streams", "2402.00002", authors=("John Roe",)), False),  # nobody wrote both
        (Facts("Caches and sinks", "2402.00002"), False),
    ],
)
def test_known_by_id_doi_or_title(other: Facts, known: bool) -> None:
    after, told = merge([A], [other], [], DAY)
    assert (told.known, len(told.new), len(after)) == ((1, 0, 1) if known else (0, 1, 2))


def test_known_within_one_feed_and_by_doi() -> None:
    one = Facts("One", doi="10.1000/x")
    _, told = merge([], [A, A, one, Facts("Another name", "2403.00003", "10.1000/x")], [], DAY)
    assert (len(told.new), told.known) == (2, 2)
    assert all(paper.added == DAY for paper in told.new)


def test_gaps_are_filled_and_a_later_version_is_taken() -> None:
    (filled,), told = merge([A], [Facts(A.title, A.arxiv, "10.1000/x", ("X Y",), categories=("cs.CL",))], [], DAY)
    assert told.completed == 1
    assert (filled.doi, filled.authors, filled.categories) == ("10.1000/x", ("Jane Doe",), ("cs.CL",))
    (later,), _ = merge([A], [Facts("New title", A.arxiv, authors=("X Y",), updated="2024-02-01")], [], DAY)
    assert (later.title, later.authors, later.published) == ("New title", ("X Y",), "2024-01-01")
    (same,), told = merge([A], [Facts("New title", A.arxiv, updated="2023-02-01")], [], DAY)
    assert same.title == A.title


def test_a_paper_of_the_catalogue_is_not_listed_twice_and_gets_its_authors(tmp_path: Path) -> None:
    entries, path = catalogue.entries(), tmp_path / "p.jsonl"
    think = Facts("ThinK", "2407.21018", authors=("Yuhui Xu",))
    told = add(path, [think, A], entries, DAY)
    assert (told.new, told.known, told.completed) == ((Facts(**{**vars(A), "added": DAY}),), 1, 1)
    found = beside(entries, read(path))
    assert len(found) == len(entries) + 1
    known = catalogue.find("think", found)
    assert (known.authors, known.title) == (("Yuhui Xu",), catalogue.find("think").title)
    listed = catalogue.find("arXiv:2401.00001v3", found)
    assert (listed.kind, listed.family, listed.slots, listed.needs) == ("listed", "", (), ())
    assert [paper.arxiv for paper in unknown(entries, read(path))] == ["2401.00001"]
    dates = [e.date or "" for e in found]
    assert dates == sorted(dates, reverse=True)


def test_a_title_of_the_catalogue_without_an_id_is_met() -> None:
    ours = [entry("a", title="A title")]
    assert beside(ours, [Facts("A  Title!", "2401.00001", authors=("X",))])[0].authors == ("X",)


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "p.jsonl"
    add(path, [A], [], DAY)
    before = path.stat().st_mtime_ns
    assert add(path, [A], [], "2024-10-10").known == 1
    assert path.stat().st_mtime_ns == before
    assert json.loads(path.read_text(encoding="utf-8"))["added"] == DAY


@pytest.mark.parametrize(
    "line",
    ["{", "[]", "4", '{"title": "A"}', '{"title": "A", "arxiv": "2401.00001", "more": 1}', "\x00", "[" * 100_000],
)
def test_a_damaged_file_is_told_by_its_line_and_left(tmp_path: Path, line: str) -> None:
    path = tmp_path / "p.jsonl"
    add(path, [A], [], DAY)
    text = path.read_text(encoding="utf-8") + line + "\n"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StoreError, match="line 2"):
        add(path, [Facts("B", "2402.00002")], [], DAY)
    assert path.read_text(encoding="utf-8") == text


def test_what_cannot_be_read_or_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(tmp_path / "none") == ()
    (tmp_path / "file").write_bytes(b"\xff")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(StoreError, match="cannot be read"):
            read(path)
    with pytest.raises(StoreError, match=r"cannot be written.*--to"):
        add(tmp_path / "file" / "p.jsonl", [A], [], DAY)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "p.jsonl"
    add(path, [A], [], DAY)
    before = path.read_bytes()
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StoreError, match="No space left"):
        add(path, [Facts("B", "2402.00002")], [], DAY)
    assert path.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"file", "p.jsonl", ".p.jsonl.lock"}


def test_two_who_write_at_once_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom paretolm.catalogue.shelf import add\n"
        "from paretolm.catalogue.facts import Facts\n"
        "for i in range(25): add(Path(sys.argv[1]), [Facts(f'{sys.argv[2]} {i}', f'24{sys.argv[2]}.{i:05}')], [], '2024-01-01')"
    )
    path = tmp_path / "p.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), month]) for month in ("01", "02")]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len({paper.arxiv for paper in read(path)}) == 50


@given(st.lists(st.tuples(st.text(max_size=20), st.integers(0, 5)), max_size=8))
def test_what_is_written_is_read_again(papers: list[tuple[str, int]]) -> None:
    found = [Facts.of(f"T {title}", [f"2401.0000{i}"], authors=[title]) for title, i in papers]
    after, told = merge([], found, [], DAY)
    assert len(told.new) + told.known == len(found)
    assert len({paper.arxiv for paper in after}) == len(after)
    lines = [json.dumps({k: v for k, v in vars(p).items() if v}, ensure_ascii=False) for p in after]
    assert tuple(shelf._facts(Path("x"), 1, line) for line in lines) == after
