"""Reading in windows and at length against plain forwards, and keys that a lookup finds."""

import math

import pytest
import torch

from paretolm.errors import TextError
from paretolm.evaluation.streams import build
from paretolm.studies import _beyond
from paretolm.studies._beyond import key_texts, keys_found, read, token_rows
from tests.evaluation.judging import lm, source, tokenizer


def stream(length=256):
    (made,) = build(source(), lm(), length, 1, per_document=64, seed=0)
    return made


def plainly(ids):
    with torch.no_grad():
        logits = lm().model(ids).logits[0, :-1]
    return torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")


def test_windows_side_by_side_are_forwards_of_their_own():
    ids = stream().ids
    found = read(lm(), "dense", ids, 64)
    for start in range(0, 256, 64):
        torch.testing.assert_close(found[start : start + 63], plainly(ids[:, start : start + 64]), atol=1e-4, rtol=1e-4)
    assert [p for p, x in enumerate(found.tolist()) if math.isnan(x)] == [63, 127, 191]


def test_windows_that_overlap_give_what_each_alone_has():
    ids = stream().ids
    found = read(lm(), "dense", ids, 64, 32)
    assert not found.isnan().any()
    for place in (0, 62, 63, 94, 95, 254):  # token p + 1 is in the window that begins half a window before its half
        start = max(0, (place + 1) // 32 * 32 - 32)
        assert float(found[place]) == pytest.approx(float(plainly(ids[:, start : start + 64])[place - start]), abs=1e-4)


def test_a_whole_text_is_one_window():
    ids = stream().ids
    torch.testing.assert_close(read(lm(), "dense", ids, 256), plainly(ids), atol=1e-4, rtol=1e-4)


def test_rows_are_of_documents_and_not_of_separators():
    text = stream()
    rows = token_rows(text, range(255), torch.arange(255.0), {"x": 1})
    assert len(rows) == sum(int(w >= 0) for w in text.where[1:])
    one = rows[100]
    assert one.value == float(one.item)
    assert one.doc == text.docs[text.where[int(one.item) + 1]]
    assert one.tags == {"x": 1}


def test_each_fact_is_in_the_text_and_asked_for_once():
    texts = key_texts(source(), lm(), 600, 2, 3, seed=1)
    for text in texts:
        assert text.ids.shape[1] <= 600
        whole = tokenizer().decode(text.ids[0])
        answers = [tokenizer().decode(text.ids[0, a:b]).strip() for a, b in text.answers]
        assert len(set(answers)) == 3
        for key in answers:
            assert whole.count(f"is {key}") == 2  # the fact and the answer
            assert key.isdigit()
            assert len(key) == 4
    again = key_texts(source(), lm(), 600, 2, 3, seed=1)
    assert all(torch.equal(a.ids, b.ids) for a, b in zip(texts, again, strict=True))


def test_a_lookup_finds_every_key_and_a_random_model_none(monkeypatch):
    texts = key_texts(source(), lm(), 600, 2, 3, seed=1)
    assert keys_found(lm(), "dense", texts) == [[False] * 3] * 2

    class Told:
        """A session whose model is certain of each next token."""

        def __enter__(self):
            self.left = list(texts)
            return self

        def __exit__(self, *_):
            pass

        def stream(self):
            self.ids = torch.cat([self.left.pop(0).ids, torch.zeros(1, 1, dtype=torch.long)], 1)
            self.at = 0
            return self

        def step(self, ids):
            self.at += ids.shape[1]
            nexts = self.ids[:, self.at - ids.shape[1] + 1 : self.at + 1]
            self.logits = torch.nn.functional.one_hot(nexts, 400).float()
            return self

    monkeypatch.setattr("paretolm.recipes.session.Session.open", lambda *_: Told())
    assert _beyond.keys_found(lm(), "dense", texts) == [[True] * 3] * 2


def test_too_little_room_is_told():
    with pytest.raises(TextError, match="ask fewer"):
        key_texts(source(), lm(), 128, 1, 5, seed=0)
