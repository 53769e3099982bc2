"""The frame of a study: names and knobs, work that is done once, what is printed, written and shown."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from paretolm import studies
from paretolm.contracts import knob
from paretolm.errors import ModelError, RecipeError, StoreError, TextError, UserError
from paretolm.studies.page import cell, heading, render, show, told, write
from paretolm.studies.study import Column, Figure, Findings, Line, Number, Place, Study, Table
from tests.cli.conftest import Answer

EVIL = "<script>[red]&"


@dataclass(frozen=True, kw_only=True)
class Tiny(Study):
    """Two numbers a model."""

    name: ClassVar[str] = "castillo"  # a file that is there, whose bytes are part of the key
    papers: ClassVar[tuple[str, ...]] = ("1234.56789",)
    models: ClassVar[tuple[int, int | None]] = (1, 2)

    samples: int = knob(2, low=1, help="how many")

    def run(self, at: Place) -> Findings:
        columns = (Column("model [name]"), Column("n", "items"), Column("x", "%", ".1f", "help < text"))
        table = Table(f"Table of {EVIL}", columns, tuple((m, self.samples, None) for m in at.models))
        line = Line(EVIL, (1.0, 2.0), (3.0, 4.0), (2.5, 3.5), (3.5, 4.5))
        figure = Figure(f"Figure {EVIL}", "x", "y", (line, Line("b", (1.0,), (2.0,), points=True)), log_x=True)
        numbers = {f"sum {EVIL}": Number(7.123, "bits", 7.0, 7.25, 20, "a note")}
        return Findings((table,), (figure,), numbers, (f"note {EVIL}",), [{"text": EVIL, "x": 1.5}])


def place(to: Path, *models: str) -> Place:
    return Place(models or (f"model {EVIL}",), output=to)


# --- names and knobs ---


def test_every_study_says_what_it_does_and_can_be_called() -> None:
    for name in studies.names():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
        assert 20 < len(studies.summary(name)) <= 160
        found = studies.parse(name)
        assert (found.name, str(found.papers and found.papers[0])[4:5]) == (name, ".")
        least, most = found.models
        assert 1 <= least <= (most or least)
        assert set(found.sources()) >= {f"studies/{name.replace('-', '_')}.py"}


def test_listing_loads_nothing_heavy() -> None:
    code = (
        "import sys; from paretolm import studies; print(*map(studies.summary, studies.names()));"
        "print({'torch', 'transformers', 'scipy', 'rich'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "set()"


def test_knobs_are_read_and_checked() -> None:
    assert studies.parse("castillo(samples=3, seed=5)") == studies.find("castillo")(samples=3, seed=5)
    with pytest.raises(UserError, match="did you mean 'castillo'"):
        studies.parse("castilo")
    with pytest.raises(RecipeError, match="study castillo has no knob 'sample'; did you mean 'samples'"):
        studies.parse("castillo(sample=3)")
    with pytest.raises(RecipeError, match="castillo: samples must be at least 2, not 1"):
        studies.parse("castillo(samples=1)")
    with pytest.raises(RecipeError, match="a study is written"):
        studies.parse("castillo + fractal-lm")


def test_a_wrong_number_of_models_is_told(tmp_path: Path) -> None:
    Tiny().check(place(tmp_path, "a", "b"))
    with pytest.raises(UserError, match="castillo takes 1 to 2 models, not 3"):
        Tiny().check(place(tmp_path, "a", "b", "c"))


# --- once ---


def test_work_is_done_once(tmp_path: Path) -> None:
    done: list[int] = []

    def work() -> dict[str, int]:
        done.append(1)
        return {"answer": len(done)}

    at, unit = place(tmp_path / "new" / "out"), {"model": "hash", "repeat": 0}
    assert [at.once(Tiny(), unit, work) for _ in range(3)] == [{"answer": 1}] * 3
    assert at.once(Tiny(), unit | {"repeat": 1}, work) == {"answer": 2}
    assert at.once(Tiny(samples=3), unit, work) == {"answer": 3}
    other = Place(at.models, output=at.output, options={"dtype": "bfloat16"})
    assert other.once(Tiny(), unit, work) == {"answer": 4}
    assert at.once(Tiny(), unit, work) == {"answer": 1}, "what another call did changes nothing"


def test_what_stopped_halfway_continues(tmp_path: Path) -> None:
    at, done = place(tmp_path), []

    def work(number: int) -> int:
        if number == 2 and len(done) < 3:
            done.append("stopped")
            raise KeyboardInterrupt
        done.append(str(number))
        return number

    with pytest.raises(KeyboardInterrupt):
        [at.once(Tiny(), {"repeat": n}, lambda n=n: work(n)) for n in range(4)]
    assert [at.once(Tiny(), {"repeat": n}, lambda n=n: work(n)) for n in range(4)] == [0, 1, 2, 3]
    assert done == ["0", "1", "stopped", "2", "3"]


# --- what is printed and written ---


def test_values_as_they_are_printed() -> None:
    x = Column("x", format=".2f")
    assert [cell(v, x) for v in (None, "a", 1234, 1.005, 12345.678)] == ["–", "a", "1234", "1.00", "12345.68"]
    assert [heading(Column("x")), heading(Column("x", "s"))] == ["x", "x, s"]
    assert told(Number(0.712, "bits", 0.68, 0.74, 20, "a note")) == "0.712 bits [0.680, 0.740], n 20; a note"
    assert told(Number(1 / 3)) == "0.333"
    assert told(Number(80.0, "%", n=5)) == "80.0%, n 5"
    assert told(Number(2.0, low=1.0)) == "2.00", "half an interval is none"


def test_findings_are_printed_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(Tiny().run(place(tmp_path)))
    out = capsys.readouterr().out
    for wanted in (
        f"Table of {EVIL}",
        "model [name]",
        f"model {EVIL}",
        "n, items",
        f"sum {EVIL}: 7.12 bits [7.00, 7.25], n 20",
    ):
        assert wanted in out
    assert out.endswith(f"note {EVIL}\n")


def test_three_files_and_nothing_else(tmp_path: Path) -> None:
    at = place(tmp_path / "a" / "b")
    found = Tiny().run(at)
    page = write(Tiny(), at, found)
    assert sorted(p.name for p in page.parent.iterdir()) == ["castillo.html", "castillo.json", "castillo.jsonl"]
    facts = json.loads(page.with_suffix(".json").read_text())
    assert facts["knobs"] == {"seed": 0, "samples": 2}
    assert facts["models"] == [f"model {EVIL}"]
    assert facts["numbers"][f"sum {EVIL}"]["high"] == 7.25
    assert facts["tables"][0]["rows"] == [[f"model {EVIL}", 2, None]]
    assert "rows" not in facts
    assert [json.loads(x) for x in page.with_suffix(".jsonl").read_text().splitlines()] == [{"text": EVIL, "x": 1.5}]


def test_a_page_needs_nothing_and_runs_nothing_it_was_given(tmp_path: Path) -> None:
    at = place(tmp_path)
    whole = render(Tiny(), at, Tiny().run(at))
    assert "default-src 'none'" in whole
    assert not re.search(r"<(script|img|link)[^>]+(src|href)=", whole)
    assert EVIL not in whole
    assert "&lt;script&gt;" in whole
    assert 'title="help &lt; text"' in whole
    data = re.search(r'id="data">(.*?)</script>', whole, re.DOTALL)
    assert data is not None
    assert json.loads(data[1])[0]["lines"][0]["name"] == EVIL
    assert "https://arxiv.org/abs/1234.56789" in whole


def test_without_figures_there_is_no_script(tmp_path: Path) -> None:
    whole = render(Tiny(), place(tmp_path), Findings(notes=("nothing",)))
    assert "<script" not in whole
    assert len(whole) < 50_000


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StoreError, match=r"/file/below/\S+ cannot be written \(Not a directory\); give another -o$"):
        write(Tiny(), place(file / "below"), Findings())


def test_a_place_knows_its_text_and_models(tmp_path: Path) -> None:
    assert len(place(tmp_path).source.documents) == 47
    with pytest.raises(TextError):
        _ = Place(text=str(tmp_path / "none.txt")).source
    with pytest.raises(ModelError):
        place(tmp_path).content(str(tmp_path))


# --- the command ---


def test_without_a_study_they_are_listed(run: Callable[..., Answer]) -> None:
    assert list(json.loads(run("study", "--json")[1])) == studies.names()
    code, out, err = run("study")
    assert (code, err) == (0, "")
    for name in studies.names():
        assert f"{name} " in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["castilo"], "no study is called 'castilo'; did you mean 'castillo'?"),
        (["castillo(samples=x)"], "study castillo: samples is a whole number, not 'x'"),
        (["castillo", "nowhere"], "nowhere"),
        (["castillo", "--text", "nowhere.txt"], "nowhere.txt"),
        (["fractal-lm(length=3)"], "length must be at least"),
        (["castillo("], "is never closed"),
    ],
)
def test_a_mistake_is_one_sentence(run: Callable[..., Answer], arguments: list[str], said: str) -> None:
    code, out, err = run("study", "-q", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1
    assert not list(Path.cwd().glob(".paretolm/*.html"))


def test_a_study_is_run_printed_and_written(run: Callable[..., Answer], saved: Path) -> None:
    words = ("garden", "window", "letter", "engine", "silver")
    sentences = [f"The {a} {b} runs along the {c} bridge every morning." for a in words for b in words for c in words]
    Path("text.txt").write_text(" ".join(sentences))
    line = "ngram-ppl-vector(sentences=4)"
    code, out, err = run("study", line, str(saved), "--text", "text.txt", "-o", "out", "--json")
    assert code == 0, err
    assert "page: out/ngram-ppl-vector.html" in err
    facts = json.loads(out.splitlines()[-1])
    assert facts["study"] == "ngram-ppl-vector"
    assert facts["models"] == [str(saved)]
    assert set(Path("out").iterdir()) >= {Path(f"out/ngram-ppl-vector.{e}") for e in ("html", "json", "jsonl")}
