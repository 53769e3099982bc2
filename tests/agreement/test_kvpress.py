"""The comparison with kvpress sees what differs. That itself runs in an environment of kvpress's own:
python benchmarks/kvpress_agreement.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from benchmarks._kvpress_cases import CASES
from benchmarks.kvpress_agreement import LENGTHS, channels, entries, environment, our_side, summed
from paretolm.recipes.recipe import recipe
from tests.contract.tiny import text, tiny

HEADS, LENGTH, WIDTH = 2, 40, 8
FULL = torch.randn(HEADS, LENGTH, WIDTH, generator=torch.Generator().manual_seed(0))


def at(*positions: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions [H, k] and the keys there [H, k, D]."""
    index = torch.tensor(positions).expand(HEADS, -1)
    return index, FULL[:, list(positions)]


def test_entries_kept_by_one_alone_are_counted_and_order_is_not():
    found = entries(FULL, at(9, 0, 4)[1], *at(0, 4, 7))
    assert found.only_one.tolist() == [2, 2]
    assert (found.keys_apart, found.ties) == (0, 0)


def test_equal_norms_are_a_tie():
    same = FULL / FULL.norm(dim=-1, keepdim=True)
    index = torch.tensor([[0, 4, 7]] * HEADS)
    assert entries(same, same[:, [9, 0, 4]], index, same[:, [0, 4, 7]]).ties == 4


def test_keys_that_are_not_the_same_are_seen():
    index, keys = at(0, 4)
    assert entries(FULL, keys, index, keys + 0.5).keys_apart == pytest.approx(0.5)


def test_channels_are_those_of_keys_that_are_not_the_newest():
    thin, thinner = FULL.clone(), FULL.clone()
    thin[:, :-32, 1] = 0
    thinner[:, :, [1, 2]] = 0
    assert channels(FULL, thinner, at(0)[0], thin).only_one.tolist() == [1, 1]


def test_a_difference_that_is_no_tie_is_no_agreement():
    case = next(case for case in CASES if case.press == "KnormPress" and case.same)
    assert not summed(case, [entries(FULL, at(9, 0)[1], *at(0, 4))]).agrees
    assert summed(case, [entries(FULL, at(4, 0)[1], *at(0, 4))]).agrees


def test_what_is_held_here_is_read():
    ((positions, keys), _) = our_side(tiny(), "streaming-llm(sinks=2, window=4)", text(30))
    assert positions.tolist() == [[0, 1, 27, 28, 29]] * len(keys)


@pytest.mark.parametrize("length", LENGTHS)
def test_recipes_hold_at_every_length(length):
    assert all(recipe(case.line(length)).methods for case in CASES)


@pytest.mark.parametrize("python", [None, Path("/no/such/python"), Path(sys.executable)])
def test_without_the_environment_a_sentence_says_how_to_make_it(python):
    if python is not None and python.exists() and importlib.util.find_spec("kvpress"):
        pytest.skip("kvpress is installed here")
    with pytest.raises(SystemExit, match=r"python -m venv .*pip install kvpress==0\.5\.5"):
        environment(python)
