"""Token files: documents with their borders, made once, and never half."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from paretolm.errors import TextError
from paretolm.training import tokens
from paretolm.training.corpus import Documents
from paretolm.training.tokens import TokenFile, write_tokens
from tests.training import tiny

TEXTS = [("poems", "a river"), ("prose", "The stone, 42 <eos>"), ("poems", "x" * 30), ("prose", "é")]


@pytest.fixture
def documents(tmp_path: Path) -> Documents:
    place = tmp_path / "text"
    told = [{"domain": domain, "text": text} for domain, text in TEXTS]
    return Documents([tiny.lines(place / "a.jsonl", told[:3]), tiny.lines(place / "b.jsonl", told[3:])])


def written(place: Path, documents: Documents, identity: str = "one", tokenizer: Any = None) -> TokenFile:
    return write_tokens(place, documents, tokenizer or tiny.tokenizer(), identity, lambda done: None)


def test_documents_stand_one_after_the_other_each_with_its_end(tmp_path: Path, documents: Documents) -> None:
    found, tokenizer = written(tmp_path / "tokens", documents), tiny.tokenizer()
    encoded = [tokenizer.encode(text, add_special_tokens=False).ids for _, text in TEXTS]
    assert found.ids.tolist() == [i for ids in encoded for i in (*ids, 1)]
    assert found.ids.dtype == np.uint16
    assert found.ends.tolist() == np.cumsum([len(ids) + 1 for ids in encoded]).tolist()
    assert (found.names, found.domains.tolist()) == (("poems", "prose"), [0, 1, 0, 1])
    assert [ids.tolist() for ids in found.documents(0)] == encoded[::2]
    assert [tokenizer.decode(ids.tolist()) for ids in found.documents(1)] == [text for _, text in TEXTS[1::2]]
    assert found.identity == "one"


def test_batches_change_nothing(tmp_path: Path, documents: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    one = written(tmp_path / "one", documents)
    monkeypatch.setattr(tokens, "_BATCH", 3)
    other = written(tmp_path / "other", documents)
    assert tiny.files(tmp_path / "one") == tiny.files(tmp_path / "other")
    assert one.ids.tolist() == other.ids.tolist()


def test_reading_is_told(tmp_path: Path, documents: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_BATCH", 1)
    told: list[int] = []
    write_tokens(tmp_path / "tokens", documents, tiny.tokenizer(), "one", told.append)
    assert told == sorted(told)
    assert (len(told), told[-1]) == (4, documents.size)


def test_what_is_there_is_taken_where_it_is_of_the_same_text(tmp_path: Path, documents: Documents) -> None:
    first = written(tmp_path / "tokens", documents)
    gone = Documents([])
    assert written(tmp_path / "tokens", gone).ids.tolist() == first.ids.tolist()
    with pytest.raises(TextError, match="the text is empty"):
        written(tmp_path / "tokens", gone, "two")
    assert TokenFile.open(tmp_path / "tokens").identity == "one", "the old one stays until the new one is whole"
    again = written(tmp_path / "tokens", Documents([tmp_path / "text" / "b.jsonl"]), "two")
    assert (again.identity, len(again.ends)) == ("two", 1)


@pytest.mark.parametrize("left", ["", "half"])
def test_nothing_half_written_is_left(
    tmp_path: Path, documents: Documents, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    monkeypatch.setattr(tokens, "_BATCH", 1)
    if left:  # by a process that was killed
        (tmp_path / "out" / ".tokens.partial").mkdir(parents=True)
        (tmp_path / "out" / ".tokens.partial" / "tokens.bin").write_bytes(b"12")
    with (tmp_path / "text" / "b.jsonl").open("a") as file:
        file.write("{")
    with pytest.raises(TextError, match=r"b\.jsonl line 2 is not JSON"):
        written(tmp_path / "out" / "tokens", documents)
    assert not list((tmp_path / "out").iterdir())


def test_large_vocabularies_get_wide_ids(tmp_path: Path, documents: Documents) -> None:
    vocabulary = {"<bos>": 0, "<eos>": 70_001, "<pad>": 1}
    fake = SimpleNamespace(
        get_vocab_size=lambda: 70_002,
        get_vocab=lambda: vocabulary,
        encode_batch_fast=lambda texts, add_special_tokens: [SimpleNamespace(ids=[70_000]) for _ in texts],
    )
    assert written(tmp_path / "tokens", documents, tokenizer=fake).ids.tolist() == [70_000, 70_001] * 4
    assert json.loads((tmp_path / "tokens" / "about.json").read_text())["dtype"] == "uint32"
