"""What a recipe must meet, as people write it: 2GiB, 25%, 80ms/token, kl<0.02, ppl<1.05x. Loads no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...errors import UserError, close_to, nearest

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_NUMBER = r"([0-9]+\.?[0-9]*|\.[0-9]+)"
_SIZE = re.compile(rf"{_NUMBER}\s*([A-Za-z]+)")
_PERCENT = re.compile(rf"{_NUMBER}\s*%")
_LENGTH = re.compile(rf"{_NUMBER}\s*([kKmM]?)")
_TIME = re.compile(rf"{_NUMBER}\s*(us|ms|s)(?:/tok|/token)?")
_RATE = re.compile(rf"{_NUMBER}\s*(?:tok|tokens|token)/s")
_QUALITY = re.compile(
    r"([A-Za-z][\w-]*)\s*(<=|>=|<|>)\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*(x|%)?"
)

Form = Literal["absolute", "share", "factor"]
LONGEST = 1 << 24


@dataclass(frozen=True)
class Measure:
    """A quality that limits may name. task: the task that scores it; metric: of its rows; unit: of a bare number."""

    name: str
    task: str
    metric: str
    higher: bool
    unit: str
    help: str


MEASURES = {
    m.name: m
    for m in (
        Measure("kl", "divergence", "kl", False, "nats/token", "divergence from the untouched model"),
        Measure("js", "divergence", "js", False, "bits/token", "Jensen-Shannon divergence from the untouched model"),
        Measure("top1", "divergence", "same_top", True, "%", "the untouched model's first choice is still the first"),
        Measure("ppl", "perplexity", "nll", False, "", "perplexity"),
        Measure("recall", "recall", "recall", True, "%", "planted facts found again"),
    )
}
_ALIASES = {"perplexity": "ppl", "agree": "top1", "agreement": "top1", "same-top": "top1", "same_top": "top1"}


@dataclass(frozen=True)
class Limit:
    """name: memory, kv, latency or a measure. bound: bytes, seconds a token, nats, a share of 1, or a factor of the
    untouched model's ('share' of its bytes, 'factor' of its quality)."""

    name: str
    text: str
    bound: float
    form: Form = "absolute"

    @property
    def measure(self) -> Measure | None:
        """None for what is no quality."""
        return MEASURES.get(self.name)

    def used(self, value: float) -> float:
        """How much of the limit a value takes: at most 1 where it is met, and more the farther it is missed. For
        qualities 0 is the untouched model's, as far as the limit says what that is."""
        measure = self.measure
        if measure is None:
            return value / self.bound
        if measure.higher:
            return (
                1 + self.bound - value if self.form == "factor" or self.bound >= 1 else (1 - value) / (1 - self.bound)
            )
        if self.form == "factor":
            value = max(value, 1e-300)
            return math.log(value) / math.log(self.bound) if self.bound > 1 else 1 + math.log(value / self.bound)
        return value / self.bound

    def met(self, value: float) -> bool:
        return self.used(value) <= 1


@dataclass(frozen=True)
class Limits:
    """All limits of a search at a context of so many tokens."""

    context: int
    all: tuple[Limit, ...]

    @property
    def quality(self) -> tuple[Limit, ...]:
        return tuple(limit for limit in self.all if limit.measure)

    @property
    def resources(self) -> tuple[Limit, ...]:
        return tuple(limit for limit in self.all if not limit.measure)

    def named(self, name: str) -> Limit | None:
        return next((limit for limit in self.all if limit.name == name), None)

    def __str__(self) -> str:
        return ", ".join(limit.text for limit in self.all)


def read_limits(
    context: str | int | None,
    memory: str | None = None,
    kv: str | None = None,
    latency: str | None = None,
    quality: Sequence[str] = (),
    *,
    trained: int = 0,
) -> Limits:
    """trained: the context where none is given. Raises UserError for what cannot be read, given twice, or nothing."""
    found = [read_bytes("memory", memory)] if memory is not None else []
    found += [read_bytes("kv", kv)] if kv is not None else []
    found += [read_latency(latency)] if latency is not None else []
    found += [read_quality(text) for text in quality]
    names = [limit.name for limit in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{name} is limited twice: give the tighter of the two")
    if not found:
        raise UserError("nothing is limited: give --memory 2GiB, --kv 25%, --latency 80ms/token or --quality 'kl<0.02'")
    return Limits(trained if context is None else read_context(context), tuple(found))


def read_bytes(name: str, text: str) -> Limit:
    """'2GiB', or '25%' of what the untouched model holds. Raises UserError."""
    written, option = text.strip(), f"--{name}"
    if match := _PERCENT.fullmatch(written):
        share = float(match[1]) / 100
        if not 0 < share <= 1:
            raise UserError(
                f"{option} is {written}; a share of what the untouched model holds lies above 0% and up to 100%"
            )
        return Limit(name, f"{option} {written}", share, "share")
    match = _SIZE.fullmatch(written)
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None:
        known = ("B", "kB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB")
        more = close_to(match[2], known) if match else ""
        raise UserError(f"{option} is a size like 2GiB or 512MiB, or a share like 25%, not {text!r}{more}")
    if float(match[1]) <= 0:
        raise UserError(f"{option} must be above 0, not {text!r}")
    return Limit(name, f"{option} {written}", float(match[1]) * unit)


def read_latency(text: str) -> Limit:
    """'80ms/token', '0.08s', '12tok/s'. Raises UserError."""
    written = text.strip()
    if (match := _RATE.fullmatch(written)) and float(match[1]) > 0:
        return Limit("latency", f"--latency {written}", 1 / float(match[1]))
    if (match := _TIME.fullmatch(written)) and float(match[1]) > 0:
        return Limit("latency", f"--latency {written}", float(match[1]) * _SECONDS[match[2]])
    raise UserError(f"--latency is a time a generated token, like 80ms/token, or a rate like 12tok/s, not {text!r}")


def read_context(text: str | int) -> int:
    """'32k' is 32,768 tokens. Raises UserError."""
    match = _LENGTH.fullmatch(str(text).strip())
    tokens = float(match[1]) * {"": 1, "k": 2**10, "m": 2**20}[match[2].lower()] if match else 0.0
    if match is None or tokens != int(tokens) or not 64 <= tokens <= LONGEST:
        raise UserError(f"--context is a number of tokens from 64 to {LONGEST:,}, like 4096 or 32k, not {str(text)!r}")
    return int(tokens)


def read_quality(text: str) -> Limit:
    """'kl<0.02', 'ppl<1.05x' (of the untouched model's), 'ppl<5%' (more than it), 'top1>98%'. Raises UserError."""
    match = _QUALITY.fullmatch(text.strip())
    if match is None:
        raise UserError(f"--quality is written like 'kl<0.02', 'ppl<1.05x' or 'recall>0.9', not {text!r}")
    word, sign, number, suffix = match[1].lower(), match[2], float(match[3]), match[4] or ""
    measure = MEASURES.get(_ALIASES.get(word, word))
    if measure is None:
        raise UserError(f"--quality knows no {match[1]!r}{nearest(word, [*MEASURES, *_ALIASES])}")
    if (sign[0] == ">") != measure.higher:
        other = sign.translate(str.maketrans("<>", "><"))
        better = "higher" if measure.higher else "lower"
        raise UserError(
            f"--quality {text}: {measure.name} is better {better}; write '{match[1]}{other}{match[3]}{suffix}'"
        )
    bound, form = _bound(measure, number, suffix, text)
    return Limit(measure.name, f"{measure.name}{sign}{match[3]}{suffix}", bound, form)


def _bound(measure: Measure, number: float, suffix: str, text: str) -> tuple[float, Form]:
    if suffix == "x":
        if measure.name not in ("ppl", "recall"):
            raise UserError(
                f"--quality {text}: {measure.name} is measured against the untouched model as it is; leave x out"
            )
        found: tuple[float, Form] = (number, "factor")
    elif suffix == "%" and measure.name == "ppl":
        found = (1 + number / 100, "factor")
    elif suffix == "%" and not measure.higher:
        raise UserError(f"--quality {text}: {measure.name} is in {measure.unit}, not in percent")
    else:
        found = (number / 100 if suffix == "%" else number, "absolute")
    if found[0] <= 0 or (measure.higher and found[1] == "absolute" and found[0] > 1):
        span = "above 0 and up to 1 (or 100%)" if measure.higher else "above 0"
        raise UserError(f"--quality {text}: the bound must lie {span}")
    return found
