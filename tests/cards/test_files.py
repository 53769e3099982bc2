"""A card in its directory, and every way it can fail to belong there."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from paretolm.bridge.loading import load_lm
from paretolm.cards.facts import facts
from paretolm.cards.figures import FIGURES
from paretolm.cards.files import check_place, stale, write
from paretolm.errors import UserError
from tests.evaluation import judging


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return judging.save(tmp_path_factory.mktemp("model"))


@pytest.fixture
def home(model: Path, card: dict[str, Any], tmp_path: Path) -> Path:
    """A model with its card beside it."""
    place = Path(shutil.copytree(model, tmp_path / "tiny"))
    write(card | {"model": facts(load_lm(str(place)))}, place)
    return place


def test_a_fresh_card_belongs_to_its_weights(home: Path) -> None:
    assert stale(home) == []
    assert "# tiny\n" in (home / "README.md").read_text(encoding="utf-8")
    assert sorted(p.name for p in (home / "card").iterdir()) == ["loss.png", "positions.png", "sinks.png"]
    assert all((home / "card" / name).read_bytes().startswith(b"\x89PNG") for name in ("loss.png", "sinks.png"))


def test_writing_it_again_changes_nothing(home: Path) -> None:
    files = [p for p in home.rglob("*") if p.is_file()]
    before = [p.read_bytes() for p in files]
    write(json.loads((home / "card.json").read_text(encoding="utf-8")), home)
    assert [p.read_bytes() for p in files] == before
    assert len([p for p in home.rglob("*") if p.is_file()]) == len(files)


def test_other_weights(home: Path) -> None:
    weights = home / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    (why,) = stale(home)
    assert "measured on other weights" in why
    assert f"paretolm card {home}" in why


def test_an_edited_page(home: Path) -> None:
    page = home / "README.md"
    page.write_text(page.read_text(encoding="utf-8").replace("# tiny", "# huge"), encoding="utf-8")
    assert [w.split(":")[0] for w in stale(home)] == [f"{page} is not what card.json says"]
    page.unlink()
    assert len(stale(home)) == 1


def test_an_edited_number(home: Path) -> None:
    card = json.loads((home / "card.json").read_text(encoding="utf-8"))
    card["text"]["bits_per_byte"]["value"] = 0.5
    (home / "card.json").write_text(json.dumps(card), encoding="utf-8")
    assert "is not what card.json says" in stale(home)[0]


def test_a_missing_figure(home: Path) -> None:
    (home / "card" / FIGURES["longer"]).unlink()
    assert "positions.png is missing" in stale(home)[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [("{", "cannot be read"), ("[]", "not a card of format 1"), ('{"format": 1}', "lacks what a page is made of")],
)
def test_a_card_that_is_none(home: Path, text: str, told: str) -> None:
    (home / "card.json").write_text(text, encoding="utf-8")
    assert told in stale(home)[0]


def test_no_card_and_no_model(model: Path, home: Path) -> None:
    assert "cannot be read" in stale(model)[0]
    (home / "model.safetensors").unlink()
    assert "holds no model to compare with" in stale(home)[0]


def test_a_page_of_someone_else_is_left_alone(model: Path, card: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(UserError, match="not written by this command"):
        write(card, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"]
    with pytest.raises(UserError, match="is a file"):
        check_place(tmp_path / "README.md")


def test_without_matplotlib_a_sentence_and_no_files(
    card: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"pip install 'paretolm\[train\]'"):
        write(card, tmp_path / "new")
    assert not list(tmp_path.iterdir())
