"""A whole card: what is in it, what is left out by name, and what it must not hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from paretolm.bench.progress import Progress
from paretolm.bridge.lm import LM
from paretolm.cards.facts import short_name, tokenizer_hash
from paretolm.cards.measure import Measured, measure, rounded
from paretolm.errors import ModelError, TextError
from paretolm.evaluation._files import Raw
from paretolm.evaluation.source import TextSource
from tests.cards.made import other, request
from tests.evaluation import judging


def test_every_part_is_there_and_what_has_no_room_is_named(measured: Measured) -> None:
    card = measured.card
    parts = {"text", "longer", "first_tokens", "blimp", "draft", "samples"}
    assert set(card) == {"format", "model", "training", "skipped", *parts}
    assert set(measured.seconds) == parts
    assert card["skipped"].keys() == {"recall"}
    assert "has no room" in card["skipped"]["recall"]


def test_facts_are_those_of_the_config(card: dict[str, Any]) -> None:
    config, model = judging.lm().model.config, card["model"]
    assert model["parameters"] == sum(p.numel() for p in judging.lm().model.parameters())
    assert (model["layers"], model["width"]) == (config.num_hidden_layers, config.hidden_size)
    assert (model["heads"], model["kv_heads"], model["head_width"]) == (4, 2, 8)
    assert (model["feed_forward"], model["vocabulary"], model["trained_length"]) == (48, 400, judging.TRAINED)
    assert (model["content"], model["first_token"]) == (judging.lm().content_hash, "<eos>")


def test_a_name_does_not_tell_where_a_model_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "eight" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert [short_name(n) for n in ("eight", f"{tmp_path}/eight/", "eight/model", "org/hub")] == ["eight"] * 3 + [
        "org/hub"
    ]


def test_a_tokenizer_is_known_by_its_entries() -> None:
    assert tokenizer_hash(judging.tokenizer()) == tokenizer_hash(judging.tokenizer())
    assert tokenizer_hash(judging.tokenizer()) != tokenizer_hash(judging.tokenizer(300))
    assert tokenizer_hash(None) is None


def test_the_same_call_gives_the_same_card(card: dict[str, Any]) -> None:
    again = measure(judging.lm(), request(draft=other())).card
    assert again == {key: value for key, value in card.items() if key not in ("blimp", "training")}


def test_it_is_json_without_dates_and_paths(card: dict[str, Any], tmp_path: Path) -> None:
    text = json.dumps(card, allow_nan=False)
    assert json.loads(text) == card
    assert str(tmp_path.parent) not in text
    assert "someone" not in text


def test_every_document_is_judged() -> None:
    source = TextSource.of([Raw(f"d{i}", judging.document(i, 5), "") for i in range(24)], "text")
    asked = request(source=source)
    assert {d.split for d in source.documents} == {"eval", "fit"}
    assert {d.split for d in asked.judged.documents} == {"eval"}
    found = measure(judging.lm(), asked).card["text"]
    assert (found["documents"], found["data"]) == (24, source.data_hash)


def test_the_window_can_be_set() -> None:
    assert measure(judging.lm(), request(window=16)).card["text"]["window"] == 16


def test_progress_hears_of_every_part() -> None:
    class Heard(Progress):
        def __init__(self) -> None:
            self.events: list[str] = []

        def plan(self, labels: Any) -> None:
            self.events += labels.values()

        def finish(self, key: str) -> None:
            self.events.append(f"done {key.partition(chr(0))[2]}")

        def fail(self, key: str, reason: str) -> None:
            self.events.append(f"failed {key.partition(chr(0))[2]}")

    heard = Heard()
    measure(judging.lm(), request(), heard)
    names = ["text", "recall", "longer", "first_tokens", "samples"]
    assert heard.events[:5] == [f"tiny: {n.replace('_', ' ')}" for n in names]
    assert heard.events[5:] == [f"{'failed' if n == 'recall' else 'done'} {n}" for n in names]


def test_a_model_without_a_tokenizer_is_refused() -> None:
    with pytest.raises(ModelError, match="came without a tokenizer"):
        measure(LM.from_model(judging.lm().model, None, "mute"), request())


def test_without_bits_per_byte_there_is_no_card() -> None:
    with pytest.raises(TextError, match="--window 8 or more"):
        measure(judging.lm(), request(window=3))


def test_rounding_goes_all_the_way_down() -> None:
    given = {"a": [1.23456789, 7], "b": (float("inf"), {"c": 123456.789}), "d": "x", "e": None, "f": True}
    expected = {"a": [1.23457, 7], "b": [None, {"c": 123457.0}], "d": "x", "e": None, "f": True}
    assert rounded(given) == expected
    assert rounded(float(torch.tensor(float("nan")))) is None
