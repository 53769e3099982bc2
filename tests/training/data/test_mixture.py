"""A mixture: shares of sequences are what was asked for, and a repeated span comes again."""

from __future__ import annotations

import math

import numpy as np
import pytest

from paretolm.training import planted
from paretolm.training.data import mixture as module
from paretolm.training.data.mixture import Mixture, repeat
from paretolm.training.data.packed import Packed
from tests.training import tiny

IDS = np.arange(3, 20_003, dtype=np.uint16)
NUMBER = 3000


@pytest.mark.parametrize(("wanted", "repeated"), [(0.12, 0.04), (0.5, 0.5), (0.0, 0.3), (1.0, 0.0)])
def test_shares_are_those_asked_for(monkeypatch: pytest.MonkeyPatch, wanted: float, repeated: float) -> None:
    kinds = {"planted": 1, "repeated": 2}
    monkeypatch.setattr(planted.Writer, "plant", lambda self, body, rng: np.full_like(body, kinds["planted"]))
    monkeypatch.setattr(module, "repeat", lambda body, rng: np.full_like(body, kinds["repeated"]))
    sequence = Mixture(planted=wanted, repeated=repeated).open(tiny.source(IDS, 64))
    found = np.array([sequence(n).ids[1] for n in range(NUMBER)])
    for kind, share in ((1, wanted), (2, repeated)):
        spread = math.sqrt(share * (1 - share) / NUMBER)
        assert abs((found == kind).mean() - share) <= 4 * spread


def test_a_share_may_change_later() -> None:
    knobs = {"planted": 0.0, "repeated": 0.0}
    plain, late = (
        Mixture(**knobs, **more).open(tiny.source(IDS, 256)) for more in ({}, {"late_from": 20, "late_planted": 1.0})
    )
    same = [plain(n).ids.tolist() == late(n).ids.tolist() for n in range(40)]
    assert same == [True] * 20 + [False] * 20


def test_nothing_planted_is_packed() -> None:
    plain, mixed = Packed().open(tiny.source(IDS)), Mixture(planted=0, repeated=0).open(tiny.source(IDS))
    assert all(plain(n).ids.tolist() == mixed(n).ids.tolist() for n in range(50))


def test_a_sequence_is_a_function_of_seed_and_number() -> None:
    ids = np.array(tiny.source(IDS).encode("The river runs. A stone lies there. " * 300), np.uint16)
    one, two = (Mixture(planted=0.5, repeated=0.4).open(tiny.source(ids, 256)) for _ in range(2))
    sequences = {n: one(n) for n in range(40)}
    assert all(two(n).ids.tolist() == sequences[n].ids.tolist() for n in reversed(range(40)))
    assert all(len(s.ids) == 256 and s.ids[0] == 0 and s.positions is None for s in sequences.values())


@pytest.mark.parametrize("size", [48, 100, 1023])
def test_a_repeated_span_comes_again(size: int) -> None:
    body = np.arange(size)
    for seed in range(100):
        found = repeat(body, np.random.default_rng(seed))
        assert len(found) == size
        copied = np.flatnonzero(found != body)
        back = copied - found[copied]
        assert (back > 0).all(), "what comes again was there before"
        span = max(
            len(run) for run in np.split(copied, np.flatnonzero((np.diff(copied) != 1) | (np.diff(back) != 0)) + 1)
        )
        assert 16 <= span <= 128, "at least the last one is whole"
        first = found[copied]
        assert (found[first] == first).all(), "the original stands where it stood"


def test_a_text_too_short_to_repeat_stays() -> None:
    body = np.arange(47)
    assert repeat(body, np.random.default_rng(0)) is body
