"""Suites: names found by file, expanded into tasks that exist, in groups."""

from pathlib import Path

import pytest

from paretolm.errors import RecipeError, TextError, UserError
from paretolm.evaluation import suites
from paretolm.evaluation.tasks import make
from paretolm.recipes.lines import read_call, read_knobs

GROUPS = {"perplexity", "knowledge", "retrieval", "summaries", "instructions"}


def sets(place: Path, *names: str) -> Path:
    for name in names:
        (place / name).mkdir()
    return place


@pytest.mark.parametrize("name", suites.names())
def test_every_suite_holds_tasks_that_can_be_made(name: str, tmp_path: Path) -> None:
    assert suites.summary(name)
    found = suites.expand(
        [name, f"{name}(path={sets(tmp_path, 'nq_open', 'mmlu', 'squad', 'summary', 'ifeval')})"], 512
    )
    for line, group in found.items():
        call = read_call(line, "task")
        task = type(make(call.name))
        assert group in GROUPS
        assert task(**read_knobs(task, call, "task"))


def test_tasks_beside_a_suite_keep_their_place_and_have_no_group() -> None:
    found = suites.expand(["recall", "llm-kick", "speed"], 256)
    assert list(found) == [
        "recall",
        "perplexity(length=256, streams=10, audit=0)",
        "closed-book",
        "recall(repeats=5)",
        "speed",
    ]
    assert list(found.values()) == ["", "perplexity", "knowledge", "retrieval", ""]


def test_sets_in_folders_join_their_groups(tmp_path: Path) -> None:
    place = sets(tmp_path, "mmlu", "squad", "of_no_task")
    found = suites.parse(f"llm-kick(path='{place}', limit=7)").groups(1024)
    assert found["knowledge"] == ["closed-book", f"mmlu(path={place / 'mmlu'}, limit=7)"]
    assert found["retrieval"] == ["recall(repeats=5)", f"squad(path={place / 'squad'}, limit=7)"]
    assert "summaries" not in found


def test_a_directory_without_sets_is_named(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="none of the folders nq_open, mmlu"):
        suites.expand([f"llm-kick(path='{tmp_path}')"], 512)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("llm-kick(limit=0)", "at least 1"),
        ("llm-kick(paths=a)", "did you mean 'path'"),
        ("llm-kick + recall", "a suite is"),
    ],
)
def test_mistakes_are_sentences(line: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        suites.expand([line], 512)


def test_an_unknown_suite_gets_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'llm-kick'"):
        suites.find("llm-kik")
