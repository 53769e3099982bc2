"""paretolm card, from the command line to files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from paretolm import cli
from paretolm.cards import make
from paretolm.cards.files import stale
from paretolm.errors import UserError
from tests.cards.made import other
from tests.evaluation import judging

Answer = tuple[int, str, str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """The arguments of a call -> (exit code, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> Answer:
        with pytest.raises(SystemExit) as ended:
            cli.main(["card", *arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two directories of models, `one` and `two`, and a text."""
    place = tmp_path_factory.mktemp("models")
    for name, lm in (("one", judging.lm()), ("two", other())):
        lm.model.save_pretrained(place / name)
        judging.tokenizer().save_pretrained(place / name)
    documents = [
        {"id": f"d{i}", "domain": "odd" if i % 2 else "even", "text": judging.document(i, 10)} for i in range(24)
    ]
    (place / "text.jsonl").write_text("\n".join(map(json.dumps, documents)), encoding="utf-8")
    return place


def test_two_models_side_by_side_and_a_card_each(run: Callable[..., Answer], models: Path, tmp_path: Path) -> None:
    one, two = str(models / "one"), str(models / "two")
    call = (one, two, "--text", str(models / "text.jsonl"), "--to", str(tmp_path))
    code, out, err = run(*call)
    assert code == 0
    assert all(word in out for word in ("one", "two", "bits per byte", "odd", "even"))
    assert err.startswith("one: text ")
    told = json.loads(run(*call, "--json")[1])
    for name, card in zip(("one", "two"), told["cards"], strict=True):
        assert json.loads((tmp_path / name / "card.json").read_text(encoding="utf-8")) == card
        assert card["model"]["name"] == name
        assert str(models) not in (tmp_path / name / "README.md").read_text(encoding="utf-8")


def test_a_card_beside_its_weights(run: Callable[..., Answer], models: Path) -> None:
    home = str(models / "one")
    code, _, err = run(home, "--text", str(models / "text.jsonl"), "--to", home, "--license", "apache-2.0", "-q")
    assert (code, err) == (0, "")
    assert stale(models / "one") == []
    assert "\nlicense: apache-2.0\n" in (models / "one" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["one", "two", "--run", "r"], "a training run belongs to one model"),
        (["one", "one", "--to", "t"], "two models are called one"),
        (["one", "--text", "nowhere.jsonl"], "there is no text at nowhere.jsonl"),
        (["one", "--blimp", "nowhere"], "there is no folder nowhere: give one that holds"),
        (["one", "--run", "nowhere"], "nowhere/log.jsonl"),
    ],
)
def test_a_mistake_is_a_sentence(
    run: Callable[..., Answer], models: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(models)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert told in err
    assert err.count("\n") == 1


def test_places_are_checked_before_anything_is_measured(models: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(UserError, match="not written by this command"):
        make.make_cards(make.Order([str(models / "absent")], to=tmp_path))
