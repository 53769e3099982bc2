"""The tokenizer: every text comes back, numbers are read digit by digit, bytes are counted right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer

from paretolm.errors import ModelError
from paretolm.training import tokenizer as module
from paretolm.training.tokenizer import (
    BOS,
    EOS,
    PAD,
    read_tokenizer,
    special_ids,
    token_bytes,
    train_tokenizer,
    write_tokenizer,
)  # fmt: skip
from tests.evaluation.judging import document
from tests.evaluation.judging import tokenizer as judges
from tests.training import tiny


@given(st.text())
@example("A text may speak of <eos>, <bos> and <pad>.")
@example("  two  spaces,\ttabs\r\nand a line \n\n\nend ")
@example("日本語 🙂🏽 e\u0301 \u2028 \x7f ١٢٣")
def test_every_text_comes_back_and_its_bytes_are_counted(text: str) -> None:
    tokenizer = tiny.tokenizer()
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    sizes = token_bytes(tokenizer)
    assert tokenizer.decode(ids) == text
    assert sum(sizes[i] for i in ids) == len(text.encode())


def test_special_tokens_stand_for_no_bytes() -> None:
    sizes, ids = token_bytes(tiny.tokenizer()), special_ids(tiny.tokenizer())
    assert ids == {"bos": 0, "eos": 1, "pad": 2}
    assert [sizes[i] for i in ids.values()] == [0, 0, 0]
    assert min(sizes[3:]) == 1
    assert len(sizes) == tiny.tokenizer().get_vocab_size()


@pytest.mark.parametrize("number", ["7", "42", "1999", "3.14", "000"])
def test_a_number_is_the_same_digits_wherever_it_stands(number: str) -> None:
    tokenizer = train_tokenizer(["In 1999 and 1999, 42 of 42 people lived in room 1999."] * 9, 400)
    alone = tokenizer.encode(number, add_special_tokens=False)
    assert alone.tokens == list(number)
    for before in ("room ", "x", "(", "\n", "1"):
        assert tokenizer.encode(before + number).ids[-len(number) :] == alone.ids


def test_text_begins_with_bos() -> None:
    assert tiny.tokenizer().encode("").tokens == [BOS]
    tokens = tiny.tokenizer().encode("stone <eos>").tokens
    assert tokens[0] == BOS
    assert not {BOS, EOS, PAD} & set(tokens[1:])


def test_the_same_text_gives_the_same_tokenizer() -> None:
    texts = [document(i) for i in range(6)]
    first, second = (train_tokenizer(iter(texts), 400).to_str() for _ in range(2))
    assert first == second != train_tokenizer(texts[:1], 400).to_str()


def test_merges_are_learned_from_a_bounded_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def texts() -> Iterator[str]:
        for i in range(10):
            read.append(i)
            yield "x" * 40

    monkeypatch.setattr(module, "SAMPLE", 100)
    train_tokenizer(texts(), 300)
    assert read == [0, 1, 2, 3], "the fourth is asked for and left"


def test_written_files_read_back_here_and_in_transformers(tmp_path: Path) -> None:
    write_tokenizer(tiny.tokenizer(), tmp_path, 77)
    text = "The river, 42 stones <eos>"
    ids = tiny.tokenizer().encode(text).ids
    for place in (tmp_path, tmp_path / "tokenizer.json"):
        own = read_tokenizer(place)
        assert own.to_str() == tiny.tokenizer().to_str()
        assert own.encode(text).ids == ids
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert (loaded.bos_token, loaded.eos_token, loaded.pad_token) == (BOS, EOS, PAD)
    assert (loaded.model_max_length, len(loaded)) == (77, len(token_bytes(tiny.tokenizer())))
    assert loaded(text, split_special_tokens=True).input_ids == ids
    assert loaded.decode(ids, skip_special_tokens=True) == text


def test_a_tokenizer_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    with pytest.raises(ModelError, match=r"tokenizer\.json is not a tokenizer: No such file"):
        read_tokenizer(tmp_path / "tokenizer.json")
    file.write_text("{")
    with pytest.raises(ModelError, match=r"tokenizer\.json is not a tokenizer"):
        read_tokenizer(tmp_path)
    judges().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="has no <bos>, <pad>; leave it out to train one"):
        read_tokenizer(tmp_path)
    Tokenizer(models.WordLevel({BOS: 0, EOS: 1, PAD: 2, "▁the": 3}, unk_token=PAD)).save(str(file))
    with pytest.raises(ModelError, match="is not a byte-level one; leave it out to train one"):
        read_tokenizer(tmp_path)
