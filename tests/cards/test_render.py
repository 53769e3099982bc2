"""The page is made of the card alone."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest

from paretolm.cards import words
from paretolm.cards.figures import FIGURES
from paretolm.cards.render import render


def test_the_page_of_a_card_read_back_from_json_is_the_same(card: dict[str, Any]) -> None:
    before = copy.deepcopy(card)
    assert render(json.loads(json.dumps(card))) == render(card)
    assert card == before


def test_front_matter(card: dict[str, Any]) -> None:
    front = render(card | {"license": "apache-2.0"}).split("---\n")[1].splitlines()
    assert front == [
        "license: apache-2.0",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags:",
        "- paretolm",
        "- llama",
    ]
    assert "license" not in render(card).split("---\n")[1]


def test_measured_numbers_stand_in_the_page(card: dict[str, Any]) -> None:
    page = render(card)
    assert f"| all | **{card['text']['bits_per_byte']['value']:.3f}** [" in page
    assert f"`{card['model']['content']}`" in page
    assert "| all | **100%** [21%, 100%] | 1 |" in page or "| all | **0%** [0%, 79%] | 1 |" in page
    assert f"`other` ({words.million(card['draft']['parameters'])} parameters)" in page
    assert (
        "1,000 steps, 64,000 tokens, loss 4.002 nats a token at the end, 1.400 bits per byte on held-out text" in page
    )
    assert "- recall: recall: a text of" in page


def test_a_part_that_was_not_measured_has_no_section(card: dict[str, Any]) -> None:
    titles = re.findall(r"^## (.*)$", render(card), flags=re.MULTILINE)
    left = {key: value for key, value in card.items() if key not in ("blimp", "training", "skipped")}
    fewer = re.findall(r"^## (.*)$", render(left), flags=re.MULTILINE)
    assert [t for t in titles if t not in fewer] == ["Grammar", "Training", "Not measured"]


def test_figures_are_linked_where_their_part_is(card: dict[str, Any]) -> None:
    linked = set(re.findall(r"\]\(card/(\w+\.png)\)", render(card)))
    assert linked == {name for key, name in FIGURES.items() if key in card}
    assert linked == {"positions.png", "sinks.png", "loss.png"}


def test_every_table_is_even(card: dict[str, Any]) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", render(card), flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_a_sample_cannot_leave_its_block() -> None:
    text = "a\n````\nb"
    fence = words.fenced(text).splitlines()[0].removesuffix("text")
    assert fence not in text
    assert words.fenced(text) == f"{fence}text\n{text}\n{fence}"


@pytest.mark.parametrize(
    ("share", "shown"), [(0, "0%"), (0.0149, "1.5%"), (0.0994, "9.9%"), (0.0996, "10%"), (0.943, "94%"), (1, "100%")]
)
def test_percent(share: float, shown: str) -> None:
    assert words.percent(share) == shown


def test_numbers_in_words() -> None:
    assert [words.million(x) for x in (2033024, 64_000)] == ["2.03 million", "64,000"]
    assert [words.perplexity(x) for x in (None, 37.31, 12345.6)] == ["–", "37.3", "12,346"]
    assert words.spans([0, 0.5, 1, 2]) == ["0–0.5", "0.5–1", "1–2"]
