"""What a limit says, however it is written, and a sentence for what cannot be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretolm.bench.tune.limits import (
    MEASURES,
    Limit,
    read_bytes,
    read_context,
    read_latency,
    read_limits,
    read_quality,
)
from paretolm.errors import UserError


@pytest.mark.parametrize(
    ("text", "bound", "form"),
    [
        ("2GiB", 2 * 2**30, "absolute"),
        ("512 MiB", 512 * 2**20, "absolute"),
        ("1.5gb", 1.5e9, "absolute"),
        ("2G", 2 * 2**30, "absolute"),
        ("25%", 0.25, "share"),
        ("0.5 %", 0.005, "share"),
    ],
)
def test_bytes(text: str, bound: float, form: str) -> None:
    found = read_bytes("kv", text)
    assert (found.bound, found.form, found.text) == (bound, form, f"--kv {text}")


@pytest.mark.parametrize(
    ("text", "seconds"), [("80ms/token", 0.08), ("80ms", 0.08), ("0.08 s/tok", 0.08), ("12.5tok/s", 0.08)]
)
def test_time(text: str, seconds: float) -> None:
    assert read_latency(text).bound == pytest.approx(seconds)


@pytest.mark.parametrize(("text", "tokens"), [("4096", 4096), ("32k", 32768), ("1M", 2**20), ("0.5k", 512), (64, 64)])
def test_context(text: str | int, tokens: int) -> None:
    assert read_context(text) == tokens


@pytest.mark.parametrize(
    ("text", "name", "bound", "form"),
    [
        ("kl<0.02", "kl", 0.02, "absolute"),
        ("KL <= 2e-2", "kl", 0.02, "absolute"),
        ("ppl<1.05x", "ppl", 1.05, "factor"),
        ("perplexity < 5%", "ppl", 1.05, "factor"),
        ("ppl<12.5", "ppl", 12.5, "absolute"),
        ("top1>98%", "top1", 0.98, "absolute"),
        ("agree>0.98", "top1", 0.98, "absolute"),
        ("recall>0.9", "recall", 0.9, "absolute"),
        ("recall>0.95x", "recall", 0.95, "factor"),
    ],
)
def test_quality(text: str, name: str, bound: float, form: str) -> None:
    found = read_quality(text)
    assert (found.name, str(found.form)) == (name, form)
    assert found.bound == pytest.approx(bound)


@pytest.mark.parametrize(
    ("given_", "sentence"),
    [
        ({"memory": "2"}, "--memory is a size like 2GiB or 512MiB, or a share like 25%, not '2'"),
        (
            {"memory": "2GiBs"},
            "--memory is a size like 2GiB or 512MiB, or a share like 25%, not '2GiBs'; did you mean 'GiB'?",
        ),
        ({"kv": "0%"}, "--kv is 0%; a share of what the untouched model holds lies above 0% and up to 100%"),
        ({"kv": "0MiB"}, "--kv must be above 0, not '0MiB'"),
        (
            {"latency": "fast"},
            "--latency is a time a generated token, like 80ms/token, or a rate like 12tok/s, not 'fast'",
        ),
        (
            {"kv": "25%", "context": "10"},
            "--context is a number of tokens from 64 to 16,777,216, like 4096 or 32k, not '10'",
        ),
        ({"quality": ["kl=0.02"]}, "--quality is written like 'kl<0.02', 'ppl<1.05x' or 'recall>0.9', not 'kl=0.02'"),
        ({"quality": ["kll<0.02"]}, "--quality knows no 'kll'; did you mean 'kl'?"),
        ({"quality": ["kl>0.02"]}, "--quality kl>0.02: kl is better lower; write 'kl<0.02'"),
        ({"quality": ["top1<98%"]}, "--quality top1<98%: top1 is better higher; write 'top1>98%'"),
        ({"quality": ["kl<2%"]}, "--quality kl<2%: kl is in nats/token, not in percent"),
        (
            {"quality": ["kl<1.1x"]},
            "--quality kl<1.1x: kl is measured against the untouched model as it is; leave x out",
        ),
        ({"quality": ["recall>2"]}, "--quality recall>2: the bound must lie above 0 and up to 1 (or 100%)"),
        ({"quality": ["kl<0"]}, "--quality kl<0: the bound must lie above 0"),
        ({"quality": ["kl<0.1", "kl<0.2"]}, "kl is limited twice: give the tighter of the two"),
        ({}, "nothing is limited: give --memory 2GiB, --kv 25%, --latency 80ms/token or --quality 'kl<0.02'"),
    ],
)
def test_a_mistake_is_one_sentence(given_: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError) as error:
        read_limits(**({"context": None, "trained": 1024} | given_))  # type: ignore[arg-type]
    assert str(error.value) == sentence


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (read_quality, read_latency, read_context, lambda t: read_bytes("kv", t)):
        try:
            found = read(text)
        except UserError:
            continue
        assert found if isinstance(found, int) else found.bound > 0


@given(st.sampled_from(sorted(MEASURES)), st.floats(0.001, 0.999), st.sampled_from(["", "%"]))
def test_what_is_written_is_what_is_read(name: str, value: float, suffix: str) -> None:
    measure = MEASURES[name]
    if suffix == "%" and not measure.higher:
        return
    scale = 100 if suffix else 1
    found = read_quality(f"{name}{'>' if measure.higher else '<'}{value * scale:.9f}{suffix}")
    assert found.bound == pytest.approx(value, rel=1e-5)


@given(st.sampled_from(sorted(MEASURES)), st.floats(0.01, 0.99), st.floats(0.0, 3.0), st.floats(0.0, 3.0))
def test_a_limit_is_met_up_to_its_bound_and_worse_takes_more(name: str, bound: float, a: float, b: float) -> None:
    limit = Limit(name, "", bound)
    higher = MEASURES[name].higher
    better, worse = (max(a, b), min(a, b)) if higher else (min(a, b), max(a, b))
    assert limit.used(better) <= limit.used(worse)
    assert limit.met(a) == (a >= bound if higher else a <= bound) or a == pytest.approx(bound)


@given(st.floats(0.5, 2.0), st.floats(0.2, 5.0))
def test_a_factor_is_met_up_to_its_bound(bound: float, value: float) -> None:
    for name, sign in (("ppl", 1), ("recall", -1)):
        limit = Limit(name, "", bound, "factor")
        assert limit.met(value) == (sign * value <= sign * bound) or value == pytest.approx(bound)


def test_the_untouched_model_takes_nothing_and_the_bound_takes_all() -> None:
    assert Limit("ppl", "", 1.05, "factor").used(1.0) == 0
    assert Limit("ppl", "", 1.05, "factor").used(1.05) == pytest.approx(1)
    assert Limit("top1", "", 0.98).used(0.99) == pytest.approx(0.5)
    assert Limit("kl", "", 0.02).used(0.04) == pytest.approx(2)


def test_without_a_context_it_is_the_trained_length() -> None:
    assert read_limits(None, kv="25%", trained=1024).context == 1024
    assert str(read_limits("4k", "2GiB", quality=["kl<0.02"])) == "--memory 2GiB, kl<0.02"
