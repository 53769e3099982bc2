"""Numbers as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretolm.bench.report import text
from paretolm.bench.results.types import Bytes, Estimate


def estimate(value: float, low: float | None = None, high: float | None = None, unit: str = "") -> Estimate:
    return Estimate(value, low, high, unit, 10, 10, "one document" if low is None else "")


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (None, "–"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.50 KiB"),
        (7.75 * 2**20, "7.75 MiB"),
        (3 * 2**40, "3.00 TiB"),
    ],
)
def test_sizes(count: float | None, shown: str) -> None:
    assert text.size(count) == shown


@pytest.mark.parametrize(
    ("e", "shown"),
    [
        (estimate(51.7, 35.1, 72.8), "51.7 [35.1, 72.8]"),
        (estimate(51.72, 51.70, 51.74), "51.72 [51.70, 51.74]"),
        (estimate(18.4321, 18.4, 18.5), "18.43 [18.40, 18.50]"),
        (estimate(96.7, 82.4, 99.9, "%"), "96.7% [82.4, 99.9]"),
        (estimate(0.0, 0.0, 11.6, "%"), "0% [0, 12]"),
        (estimate(1.084, 1.05, 1.11, "ratio"), "1.08× [1.05, 1.11]"),
        (estimate(0.0163, 0.0112, 0.0241), "0.0163 [0.0112, 0.0241]"),
        (estimate(197.41, 88, 309), "197 [88, 309]"),
        (estimate(3.5), "3.500 one document"),
    ],
)
def test_values_with_their_interval(e: Estimate, shown: str) -> None:
    assert f"{text.number(e)} {text.interval(e)}" == shown


@pytest.mark.parametrize(
    ("e", "shown"),
    [
        (estimate(-73.4, -83, -60, "%"), "−73% [−83, −60]"),
        (estimate(0.118, 0.031, 0.252, "%"), "+0.12% [+0.03, +0.25]"),
        (estimate(0.0, -8.94, 8.94, "points"), "±0 pt [−9, +9]"),
        (estimate(540.1, 539.6, 540.4, "%"), "+540.1% [+539.6, +540.4]"),
        (estimate(0.0575, 0.033, 0.132), "+0.058 [+0.033, +0.132]"),
    ],
)
def test_differences_carry_their_sign(e: Estimate, shown: str) -> None:
    assert f"{text.signed(e)} {text.interval(e, sign=True)}" == shown


def test_shares_and_predictions() -> None:
    assert text.share(1, 4) == "25%"
    assert text.share(1, 32) == "3.1%"
    assert text.share(None, 4) == text.share(1, None) == text.share(1, 0) == ""
    assert text.predicted(Bytes(None, 1024.0, 2048.0)) == "1.00 KiB to 2.00 KiB"
    assert text.predicted(Bytes(None, 1024.0, 1024.0)) == "1.00 KiB"
    assert text.predicted(None) == text.predicted(Bytes(1.0, 1.0, None)) == "–"


@pytest.mark.parametrize(("value", "shown"), [(3.21, "3.2 s"), (42, "42 s"), (75, "1 min 15 s"), (7325, "2 h 2 min")])
def test_durations(value: float, shown: str) -> None:
    assert text.seconds(value) == shown


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, finite, finite, st.sampled_from(["", "%", "ratio", "points", "nats/token"]))
def test_every_number_has_a_short_form(value: float, one: float, other: float, unit: str) -> None:
    e = estimate(value, min(one, other), max(one, other), unit)
    for shown in (text.number(e), text.signed(e), text.interval(e), text.interval(e, sign=True), text.digits(value)):
        assert 0 < len(shown) < 60 or unit == "ratio"
