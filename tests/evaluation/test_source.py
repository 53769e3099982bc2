"""Text of any origin: read within bounds, mended with a count, divided for judging and fitting."""

import json
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from paretolm.errors import TextError
from paretolm.evaluation import _files
from paretolm.evaluation.source import TextSource, cut, require_tokens

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def lines(tmp_path: Path, records: list[object], name: str = "text.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("\n".join(json.dumps(r) if not isinstance(r, str) else r for r in records), encoding="utf-8")
    return path


def many(n: int) -> list[dict[str, str]]:
    return [{"id": f"d{i}", "text": f"Document {i}. " + " ".join(WORDS)} for i in range(n)]


def test_json_lines_keep_ids_and_domains_and_a_fifth_is_for_fitting(tmp_path: Path) -> None:
    source = TextSource.open(lines(tmp_path, [r | {"domain": "law"} for r in many(50)]))
    assert len(source.eval_documents) == 40
    assert len(source.fit_documents) == 10
    assert {d.domain for d in source.documents} == {"law"}
    assert [d.id for d in source.documents] == [f"d{i}" for i in range(50)]
    assert source.notes == ()


def test_the_split_of_a_text_does_not_depend_on_the_order_of_the_file(tmp_path: Path) -> None:
    forward = TextSource.open(lines(tmp_path, many(30), "a.jsonl"))
    backward = TextSource.open(lines(tmp_path, many(30)[::-1], "b.jsonl"))
    assert {d.id for d in forward.fit_documents} == {d.id for d in backward.fit_documents}


def test_a_split_field_is_obeyed(tmp_path: Path) -> None:
    records = [r | {"split": "fit" if i == 7 else "eval"} for i, r in enumerate(many(30))]
    source = TextSource.open(lines(tmp_path, records))
    assert [d.id for d in source.fit_documents] == ["d7"]


def test_parts_of_one_work_are_one_cluster(tmp_path: Path) -> None:
    records = [r | {"doc": f"book{i // 3}"} for i, r in enumerate(many(24))]
    source = TextSource.open(lines(tmp_path, records))
    assert len({d.work for d in source.documents}) == 8
    assert TextSource.open(lines(tmp_path, many(24))).documents[0].work == "d0"


def test_the_hash_follows_the_text(tmp_path: Path) -> None:
    records = many(25)
    first = TextSource.open(lines(tmp_path, records)).data_hash
    assert TextSource.open(lines(tmp_path, records)).data_hash == first
    records[3]["text"] += "!"
    assert TextSource.open(lines(tmp_path, records)).data_hash != first


def test_openai_messages_become_text_and_stay_messages(tmp_path: Path) -> None:
    parts = [
        {"type": "text", "text": "Hello "},
        {"type": "image_url", "image_url": {}},
        {"type": "text", "text": "you"},
    ]
    record = {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "Hi."}]}
    source = TextSource.open(lines(tmp_path, [record]))
    assert source.documents[0].text == "Hello you\n\nHi."
    assert source.documents[0].messages[1] == {"role": "assistant", "content": "Hi."}


def test_line_ends_marks_bad_bytes_and_nuls_are_mended_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "windows.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree \xff\xfe four\x00 caf\xc3\xa9 \xef\xbf\xbd" + b" filler" * 20)
    source = TextSource.open(path)
    assert source.documents[0].text.startswith("one\ntwo\nthree \ufffd\ufffd four café \ufffd")
    assert source.notes == ("2 invalid UTF-8 sequences became U+FFFD", "1 NUL characters were dropped")


def test_utf_16_text_is_read(tmp_path: Path) -> None:
    path = tmp_path / "notepad.txt"
    path.write_bytes("Grüße\r\n".encode("utf-16"))
    assert TextSource.open(path).documents[0].text == "Grüße\n"


def test_repeated_texts_and_ids_are_told_apart(tmp_path: Path) -> None:
    source = TextSource.open(lines(tmp_path, [{"id": "x", "text": t} for t in ("a b", "a c", "a b", "", "a d")]))
    assert [d.id for d in source.documents] == ["x", "x~2", "x~3"]
    assert len(source.notes) == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no text"),
        ("  \n ", "holds no text"),
        ('{"text": NaN}', "text is NaN, not a string"),
        ('{"text": ["a"]}', 'text is ["a"], not a string'),
        ("[1]", "line 1 is not a JSON object"),
        ('{"text": "a"}\n{"text": ', "line 2 is not JSON"),
        ('{"body": "a"}', "has neither text nor messages, only body"),
        ('{"messages": [3]}', "a message needs a role and content"),
        ('{"text": "a", "split": "test"}', 'split is eval or fit, not "test"'),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(content)
    with pytest.raises(TextError) as error:
        TextSource.open(path)
    assert said in str(error.value)


def test_missing_empty_and_binary_paths(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_bytes(bytes(1000))
    (tmp_path / "empty").mkdir()
    for path, said in (("none.txt", "there is no text at"), ("empty", "holds no text"), ("model.txt", "is not text")):
        with pytest.raises(TextError, match=said):
            TextSource.open(tmp_path / path)


def test_nan_outside_the_text_does_no_harm(tmp_path: Path) -> None:
    source = TextSource.open(lines(tmp_path, ['{"id": NaN, "domain": 3, "text": "a half surrogate \\ud800 here"}']))
    assert source.documents[0].id == "text.jsonl:1"
    source.data_hash  # noqa: B018 - must be able to encode it


def test_a_directory_is_read_in_sorted_order_without_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("bee " * 10)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jsonl").write_text('{"text": "ay"}')
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.txt").write_text("no")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    assert [d.id for d in TextSource.open(tmp_path).documents] == ["b.txt", "sub/a.jsonl:1"]


def test_packed_files_are_read_like_plain_ones(tmp_path: Path) -> None:
    lines = b"".join(json.dumps({"id": str(i), "text": f"Text {i}"}).encode() + b"\n" for i in range(30))
    (tmp_path / "a.jsonl").write_bytes(lines)
    packed = zstandard.compress(lines)
    (tmp_path / "b.jsonl.zst").write_bytes(packed)
    plain, other = (TextSource.open(tmp_path / name) for name in ("a.jsonl", "b.jsonl.zst"))
    assert plain.data_hash == other.data_hash
    (tmp_path / "c.jsonl.zst").write_bytes(b"no frame at all")
    with pytest.raises(TextError, match="not packed with zstandard, or is damaged"):
        TextSource.open(tmp_path / "c.jsonl.zst")


def test_reading_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_files, "MAX_LINE", 100)
    path = lines(tmp_path, [{"text": "x" * 300}, {"text": "short"}, {"text": "y" * 300}])
    source = TextSource.open(path)
    assert [d.text for d in source.documents] == ["short"]
    assert source.notes[0].startswith("2 lines over")
    huge = tmp_path / "huge.txt"
    huge.write_text("z " * 500)
    reading = _files.Reading(left=64)
    assert len(next(_files.read(huge, "huge", reading)).text) == 64
    assert list(_files.read(huge, "huge", reading)) == []
    assert reading.mended[_files.BOUND] == 2


def test_one_long_file_is_cut_into_sections_whose_tail_is_for_fitting(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("\n\n".join(f"Paragraph {i}. " + "word " * 60 for i in range(400)))
    source = TextSource.open(path)
    assert 40 <= len(source.documents) <= 60
    assert "".join(d.text for d in source.documents) == path.read_text()
    splits = [d.split for d in source.documents]
    assert splits == ["eval"] * splits.count("eval") + ["fit"] * splits.count("fit")
    assert splits.count("fit") == round(len(splits) * 0.2)
    assert "stand in for documents" in source.notes[0]


def test_one_short_text_cannot_be_fitted_on(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("short")
    with pytest.raises(TextError, match="no text to fit a method on"):
        TextSource.open(path).fit_documents  # noqa: B018
    fit_only = TextSource.open(lines(tmp_path, [r | {"split": "fit"} for r in many(3)]))
    with pytest.raises(TextError, match="has split fit"):
        fit_only.eval_documents  # noqa: B018


def test_a_text_that_is_too_short_is_refused_with_both_numbers() -> None:
    require_tokens(5, 5, "window")
    with pytest.raises(TextError, match=r"text of 1,200 tokens is shorter than the 4,096 that window uses"):
        require_tokens(1200, 4096, "window")


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet="ab \n", max_size=400), st.integers(1, 50))
def test_cut_loses_nothing_and_keeps_its_sizes(text: str, size: int) -> None:
    pieces = cut(text, size)
    assert "".join(pieces) == text
    assert all(len(p) < 2 * size for p in pieces)
    assert all(len(p) >= size for p in pieces[:-1])


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=300))
def test_any_bytes_give_text_or_a_text_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any")
    for name in ("a.txt", "a.jsonl"):
        (path / name).write_bytes(data)
        try:
            source = TextSource.open(path / name)
        except TextError:
            continue
        assert all(d.text.strip() and "\0" not in d.text for d in source.documents)
