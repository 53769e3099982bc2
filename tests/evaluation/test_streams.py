"""Streams: which token is whose, what text it stands for, how much a document gives."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretolm.bridge.lm import LM
from paretolm.errors import ModelError, TextError
from paretolm.evaluation._files import Raw
from paretolm.evaluation.source import Document, TextSource
from paretolm.evaluation.streams import build, encode, rendered, retokenised, tokenizer_of
from tests.evaluation import judging
from tests.evaluation.judging import lm, source, tokenizer


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=80))
def test_the_texts_of_tokens_join_to_the_text(text: str) -> None:
    ids, pieces = encode(tokenizer(), text)
    assert len(ids) == len(pieces)
    assert "".join(pieces) == text
    assert tokenizer().decode(ids) == text


class Slow:
    """A tokenizer without offsets, one token a character."""

    is_fast = False

    def __call__(self, text: str, **_: object) -> dict[str, list[int]]:
        return {"input_ids": [ord(c) for c in text]}

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))


def test_a_tokenizer_without_offsets_is_read_by_decoding() -> None:
    assert encode(Slow(), "naïve")[1] == list("naïve")
    assert encode(Slow(), "") == ([], [])


def test_names_of_special_tokens_in_a_text_are_text() -> None:
    assert 0 not in encode(tokenizer(), "a <eos> b")[0]
    assert 0 in encode(tokenizer(), "a <eos> b", template=True)[0]


def test_tokens_know_their_document_and_text() -> None:
    texts = {d.id: d.text for d in source().documents}
    for stream in build(source(), lm(), 300, 3, per_document=70, seed=1):
        assert stream.length == 300
        assert stream.where[0] == -1
        assert (stream.ids[0].numpy() == 0).tolist() == (stream.where == -1).tolist()
        for place, text in stream.texts(0, 300):
            assert place == -1 or text in texts[stream.docs[place]]


def test_a_document_gives_what_it_may_and_no_token_twice() -> None:
    streams = build(source(), lm(), 200, 2, per_document=40, seed=1)
    counts = np.bincount(np.concatenate([s.where[s.where >= 0] for s in streams]))
    assert counts.max() == 40
    assert len({s.docs[p] for s in streams for p in s.where if p >= 0}) >= 398 // 41


def test_a_document_gives_more_where_the_text_would_not_suffice() -> None:
    streams = build(source(4), lm(), 200, 4, per_document=20, seed=0)
    assert len(streams) == 4
    texts = [text for s in streams for place, text in s.texts(0, 200) if place >= 0]
    assert len("".join(texts)) <= sum(len(d.text) for d in source(4).documents)


def test_fewer_streams_than_asked_for_where_the_text_ends() -> None:
    streams = build(source(2), lm(), 200, 50, per_document=20, seed=0)
    tokens = sum(len(encode(tokenizer(), d.text)[0]) for d in source(2).documents)
    assert len(streams) == (tokens + 1) // 199


def test_streams_follow_the_seed() -> None:
    def ids(seed: int) -> list[int]:
        return build(source(), lm(), 200, 1, per_document=50, seed=seed)[0].ids[0].tolist()

    assert ids(3) == ids(3)
    assert ids(3) != ids(4)


def test_a_text_too_short_is_refused_or_makes_one_shorter_stream() -> None:
    short = source(2, sentences=4)
    with pytest.raises(TextError, match=r"text of \d+ tokens is shorter than the 5,000 that length uses"):
        build(short, lm(), 5000, 1, per_document=100, seed=0)
    (stream,) = build(short, lm(), 5000, 4, per_document=100, seed=0, shrink=True)
    assert 64 <= stream.length < 5000
    with pytest.raises(TextError, match="shorter than the 64"):
        build(source(1, sentences=1), lm(), 5000, 4, per_document=100, seed=0, shrink=True)


def test_documents_of_one_work_are_one_cluster() -> None:
    raws = [Raw(f"d{i}", judging.document(i), "", work=f"w{i // 10}", split="eval") for i in range(30)]
    streams = build(TextSource.of(raws, "text"), lm(), 400, 2, per_document=40, seed=0)
    assert set(streams[0].docs) == {"w0", "w1", "w2"}


def test_another_tokenizer_reads_the_same_text() -> None:
    stream = build(source(), lm(), 300, 1, per_document=70, seed=1)[0]
    other, border = retokenised(stream, tokenizer(280), 100)
    assert other.length > stream.length
    assert other.texts(0, border) == stream.texts(0, 100)
    assert other.texts(border, other.length) == stream.texts(100, 300)
    assert other.ids[0, 0] == 0


def test_conversations_are_rendered_where_the_tokenizer_has_a_template() -> None:
    talk = Document("c", "Hi", "c", messages=({"role": "user", "content": "Hi"},))

    class Template:
        chat_template = "{}"

        def apply_chat_template(self, messages: list[dict[str, str]], tokenize: bool) -> str:
            return "".join(f"<{m['role']}>{m['content']}" for m in messages)

    assert rendered(talk, Template()) == ("<user>Hi", True)
    assert rendered(talk, tokenizer()) == ("Hi", False)


def test_a_model_without_a_tokenizer_or_with_a_foreign_one_is_refused() -> None:
    with pytest.raises(ModelError, match="without a tokenizer"):
        tokenizer_of(LM.from_model(lm().model))
    foreign = SimpleNamespace(name="tiny", tokenizer=tokenizer(), view=SimpleNamespace(vocab_size=260))
    with pytest.raises(ModelError, match="do not belong together"):
        build(source(), foreign, 3000, 1, per_document=1000, seed=0)
