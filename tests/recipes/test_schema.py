"""The schema of a recipe file, by hand for the fake methods."""

import pytest

from paretolm.recipes.schema import schema

pytestmark = pytest.mark.usefixtures("fakes")


@pytest.fixture
def by_name():
    found = schema()
    assert (found["additionalProperties"], list(found["properties"])) == (False, ["method"])
    return {m["properties"]["name"]["const"]: m for m in found["properties"]["method"]["items"]["oneOf"]}


def test_a_method_is_closed_and_names_what_it_requires(by_name):
    assert by_name["halves"] == {
        "description": "Values in half the bytes once the prompt is read.",
        "type": "object",
        "properties": {"name": {"const": "halves"}, "bits": {"description": "", "enum": [8, 4]}},
        "required": ["name"],
        "additionalProperties": False,
    }
    assert by_name["echo"]["required"] == ["name", "draft"]
    assert len(by_name) == 5


@pytest.mark.parametrize(
    ("knob", "expected"),
    [
        ("least", {"description": "entries that always stay", "type": "integer", "minimum": 0, "maximum": 64}),
        ("window", {"description": "", "anyOf": [{"type": "integer"}, {"const": "none"}]}),
        ("form", {"description": "", "enum": ["flat", "two words", 3]}),
        ("sorted_first", {"description": "", "type": "boolean"}),
        ("mode", {"description": "", "enum": ["sum", "mean"]}),
    ],
)
def test_knobs_by_type(by_name, knob, expected):
    assert by_name["last-first"]["properties"][knob] == expected


def test_budgets_are_strings(by_name):
    assert by_name["last-first"]["properties"]["budget"]["type"] == "string"
