"""Traits of texts, by texts whose traits are plain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from paretolm.evaluation.traits import length, traits

CODE = "import os\n\ndef read(path):\n    with open(path) as f:\n        return f.read()\n\nprint(read('x'))\n"
C = "#include <stdio.h>\nint main(void) {\n  int x = 1;\n  return x;\n}\n"
PROSE = "It was a bright cold day in April.\nThe clocks were striking, and nobody (not even she) looked up.\nThen all went home.\n"


@pytest.mark.parametrize(
    ("text", "kind"), [(CODE, "code"), (C, "code"), (PROSE, "prose"), ("", "prose"), ("x = 1;", "prose")]
)
def test_code_is_told_from_prose(text: str, kind: str) -> None:
    assert traits(text)["code"] == kind


@pytest.mark.parametrize(
    ("text", "digits"),
    [(PROSE, "hardly any"), (3 * PROSE + " 1984 was the year, page 12.", "some"), ("4711 1234 5678 and 99", "many")],
)
def test_digits(text: str, digits: str) -> None:
    assert traits(text)["digits"] == digits


@pytest.mark.parametrize(
    ("text", "script"),
    [("The cat", "latin"), ("Кошка сидит", "cyrillic"), ("猫は猫", "han"), ("القطة", "arabic"), ("12 + 3", "none")],
)
def test_the_script_of_most_letters(text: str, script: str) -> None:
    assert traits(text)["script"] == script


@pytest.mark.parametrize(
    ("tokens", "name"),
    [
        (0, "under 256"),
        (255, "under 256"),
        (256, "256 to 1,023"),
        (16383, "4,096 to 16,383"),
        (10**6, "16,384 and more"),
    ],
)
def test_lengths(tokens: int, name: str) -> None:
    assert length(tokens) == name


@given(some.text(max_size=300))
def test_any_text_has_traits(text: str) -> None:
    assert set(traits(text)) == {"digits", "code", "script"}
