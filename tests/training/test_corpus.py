"""The text of a run: what is held out is never trained on, and what cannot be read is a sentence."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import zstandard

from paretolm.errors import TextError
from paretolm.training.corpus import Corpus, Documents, Text
from tests.training.tiny import lines


def write(place: Path, names: list[str]) -> Path:
    """A directory of files that hold their own names."""
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(json.dumps({"text": name}) if "jsonl" in name else name)
    return place


def inside(place: Path, found: tuple[Path, ...]) -> set[str]:
    return {str(f.relative_to(place)) for f in found}


def texts(*files: Path, held_out: bool | None = False) -> list[str]:
    return [d.text for d in Documents(files, held_out=held_out)]


# --- held out ---

HELD_OUT = [
    "valid.txt", "validation.md", "val.txt", "dev.jsonl", "test.txt", "Test.TXT", "eval.rst", "heldout.txt",
    "wikitext-2/test.txt", "wikitext-2/valid.txt", "test/a.txt", "a/dev/b/c.txt", "EVAL/d.txt",
    "test-00000-of-00002.jsonl", "valid_1.txt", "wiki.test.txt", "ptb.valid.txt", "test.en.txt",
]  # fmt: skip
TRAINED = ["train.txt", "testimony.txt", "evaluation.txt", "contest/a.txt", "development.md", "a/validity.jsonl"]


def test_held_out_names_are_never_trained_on(tmp_path: Path) -> None:
    corpus = Corpus.find(write(tmp_path, HELD_OUT + TRAINED))
    assert inside(tmp_path, corpus.train) == set(TRAINED)
    assert set(texts(*corpus.train)) == set(TRAINED)
    assert inside(tmp_path, corpus.valid + corpus.set_aside) == set(HELD_OUT)
    assert not set(corpus.valid) & set(corpus.set_aside)


def test_what_is_called_valid_at_the_top_is_for_validation(tmp_path: Path) -> None:
    names = ["valid.txt", "dev.jsonl", "validation/a.txt", "val-0.txt", "test.txt", "eval/b.txt", "wiki/valid.txt"]
    corpus = Corpus.find(write(tmp_path, [*names, "a.txt"]))
    assert inside(tmp_path, corpus.valid) == {"valid.txt", "dev.jsonl", "validation/a.txt", "val-0.txt"}


def test_validation_text_that_is_given_is_not_trained_on(tmp_path: Path) -> None:
    write(tmp_path, ["a.txt", "b.txt", "c/d.txt", "valid.txt"])
    corpus = Corpus.find(tmp_path, tmp_path / "c" / ".." / "b.txt")
    assert inside(tmp_path, corpus.train) == {"a.txt", "c/d.txt"}
    assert [f.name for f in corpus.valid] == ["b.txt"]
    assert inside(tmp_path, Corpus.find(tmp_path, tmp_path / "c").train) == {"a.txt", "b.txt"}
    with pytest.raises(TextError, match="no text to train on beside what is held out"):
        Corpus.find(tmp_path / "a.txt", tmp_path / "a.txt")


def test_lines_of_a_held_out_split_are_not_trained_on(tmp_path: Path) -> None:
    splits = [None, "train", "fit", "valid", "Test", "dev", "eval", "validation", "test-0", 3]
    path = lines(tmp_path / "a.jsonl", [{"text": str(s), "split": s} for s in splits])
    assert texts(path) == ["None", "train", "fit", "3"]
    assert texts(path, held_out=True) == ["valid", "Test", "dev", "eval", "validation", "test-0"]
    assert texts(path, held_out=None) == [str(s) for s in splits]


def test_notices_and_hidden_files_are_no_text(tmp_path: Path) -> None:
    skipped = ["README.md", "readme.txt", "LICENSE.txt", "LICENSES.md", "NOTICE.txt", ".a.txt", ".git/b.txt", "c.py"]
    assert inside(tmp_path, Corpus.find(write(tmp_path, [*skipped, "a.txt"])).train) == {"a.txt"}


def test_what_training_wrote_is_no_text(tmp_path: Path) -> None:
    write(tmp_path, ["a.txt", "b/a.txt", "b/run/run.toml", "b/run/log.jsonl", "b/run/model/merges.txt", "run.toml.txt"])
    assert inside(tmp_path, Corpus.find(tmp_path).train) == {"a.txt", "b/a.txt", "run.toml.txt"}


# --- documents ---


def test_documents_have_a_text_and_a_domain(tmp_path: Path) -> None:
    told = [
        {"text": "a"},
        {"text": "b", "domain": "poems"},
        {"text": " "},
        {"text": ""},
        {"text": "c\0d", "domain": None},
    ]
    path = lines(tmp_path / "Tales.old.jsonl", told)
    with path.open("a") as file:
        file.write("\n  \n")
    assert list(Documents([path])) == [Text("tales", "a"), Text("poems", "b"), Text("tales", "cd")]
    (tmp_path / "plain.md").write_bytes(b"\xef\xbb\xbfone\n\ntwo and three and four \xff\0")
    (tmp_path / "empty.txt").write_bytes(b" \n")
    assert list(Documents([tmp_path / "plain.md", tmp_path / "empty.txt"])) == [
        Text("plain", "one\n\ntwo and three and four \ufffd")
    ]


def test_half_characters_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a \\ud83d b"}')
    assert texts(tmp_path / "a.jsonl") == ["a ? b"]


def test_reading_says_how_far_it_is(tmp_path: Path) -> None:
    paths = [lines(tmp_path / f"{i}.jsonl", [{"text": "word " * 50}] * 3) for i in range(2)]
    documents = Documents(paths)
    places = [documents.read for _ in documents]
    assert documents.size == sum(p.stat().st_size for p in paths) == places[-1]
    assert places == sorted(set(places))


def test_a_fingerprint_is_of_the_bytes(tmp_path: Path) -> None:
    write(tmp_path, ["a.txt", "b.txt", "valid.txt"])
    before = Corpus.find(tmp_path).fingerprint()
    assert Corpus.find(tmp_path).fingerprint() == before
    for name in ("b.txt", "valid.txt"):
        write(tmp_path, [name])
        (tmp_path / name).write_text("other")
        assert Corpus.find(tmp_path).fingerprint() != before
        write(tmp_path, [name])
    assert Corpus.find(tmp_path).fingerprint() == before


# --- packed ---

MANY = [{"text": f"text number {i}: " + "word " * (i % 7)} for i in range(3000)]


def test_packed_files_read_like_plain_ones(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", MANY)
    data = path.read_bytes()
    (tmp_path / "one.jsonl.zst").write_bytes(zstandard.compress(data))
    (tmp_path / "two.jsonl.zst").write_bytes(zstandard.compress(data[:9999]) + zstandard.compress(data[9999:]))
    (tmp_path / "plain.txt.zst").write_bytes(zstandard.compress(data))
    assert texts(tmp_path / "one.jsonl.zst") == texts(tmp_path / "two.jsonl.zst") == texts(path)
    assert texts(tmp_path / "plain.txt.zst") == [data.decode()]
    assert len(Corpus.find(tmp_path).train) == 4


@pytest.mark.parametrize("kind", ["jsonl", "txt"])
@pytest.mark.parametrize("left", [0.001, 0.3, 0.7, 0.9999])
def test_a_packed_file_that_is_cut_short_is_one_sentence(tmp_path: Path, kind: str, left: float) -> None:
    packed = zstandard.compress(lines(tmp_path / "a.jsonl", MANY).read_bytes())
    path = tmp_path / f"cut.{kind}.zst"
    path.write_bytes(packed[: int(len(packed) * left)])
    with pytest.raises(TextError, match=rf"cut\.{kind}\.zst ends too early"):
        texts(path)


def test_what_is_not_packed_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.zst").write_text('{"text": "a"}')
    with pytest.raises(TextError, match=r"a\.jsonl\.zst is not packed with zstandard, or is damaged"):
        texts(tmp_path / "a.jsonl.zst")


# --- mistakes ---


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "cut', "line 4 is not JSON"),
        ("[" * 100_000, "line 4 is not JSON"),
        ('["a"]', "line 4 has no field text that is a string"),
        ('{"content": "a"}', "line 4 has no field text that is a string"),
        ('{"text": 3}', "line 4 has no field text that is a string"),
    ],
    ids=["cut", "deep", "list", "other", "number"],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "a"}}\n\n{{"text": "b"}}\n{line}\n{{"text": "c"}}\n')
    with pytest.raises(TextError, match=rf"a\.jsonl {said}"):
        texts(path)


@pytest.mark.parametrize(
    "data", [gzip.compress(bytes(range(256)) * 40), "no UTF-8 at all".encode("utf-16")], ids=["gzip", "utf-16"]
)
def test_a_file_that_is_no_text_is_one_sentence(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(TextError, match=r"a\.txt is not text"):
        texts(tmp_path / "a.txt")


def test_no_text_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"there is no text at .*nowhere"):
        Corpus.find(tmp_path / "nowhere")
    with pytest.raises(TextError, match=r"holds no text: a directory needs \.txt"):
        Corpus.find(tmp_path)
    with pytest.raises(TextError, match="no text to train on beside what is held out"):
        Corpus.find(write(tmp_path, ["test.txt", "valid.txt"]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(TextError, match="empty holds no text"):
        Corpus.find(write(tmp_path, ["a.txt"]), tmp_path / "empty")
