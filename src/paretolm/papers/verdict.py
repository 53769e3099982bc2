"""From numbers and limits to a verdict. Nothing else can make one.

A limit is met or missed where the whole 95% interval lies on one side of it. Where it lies on both, the power of the
measurement decides: the smallest difference that it finds with 80% power is (z.975 + z.80) / z.975 times the
interval's half width. If what the claim expects lies farther from the limit than that, it would have been seen, and
the limit is missed; if not, nothing can be told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..bench.report.text import digits
from ..errors import CellError

if TYPE_CHECKING:
    from ..studies.study import Number
    from .claim import Claim, Limit

Outcome = Literal["met", "missed", "cannot be told"]
Verdict = Literal["reproduced", "partly", "not", "not testable at this scale"]
VERDICTS: tuple[Verdict, ...] = ("reproduced", "partly", "not", "not testable at this scale")
_POWERED = (1.959964 + 0.841621) / 1.959964  # smallest effect over half width


@dataclass(frozen=True)
class Judged:
    """One limit beside its number. why: one sentence with the figures; smallest: difference seen with 80% power."""

    limit: Limit
    outcome: Outcome
    why: str
    smallest: float | None = None


@dataclass(frozen=True)
class Ruling:
    verdict: Verdict
    why: str
    limits: tuple[Judged, ...]
    needs: tuple[Judged, ...] = ()


def judge(claim: Claim, numbers: Mapping[str, Number]) -> Ruling:
    """Raises CellError where the experiment gave no number of a limit's name."""
    missing = [name for name in claim.numbers if name not in numbers]
    if missing:
        raise CellError(f"the experiment gave no {', '.join(missing)}, only {', '.join(sorted(numbers)) or 'nothing'}")
    needs = tuple(weigh(need, numbers[need.number]) for need in claim.needs)
    limits = tuple(weigh(limit, numbers[limit.number]) for limit in claim.limits)
    lacking = [j.why for j in needs if j.outcome != "met"]
    if lacking:
        return Ruling("not testable at this scale", "; ".join(lacking), limits, needs)
    return Ruling(combined([j.outcome for j in limits]), "; ".join(j.why for j in limits), limits, needs)


def combined(outcomes: Sequence[Outcome]) -> Verdict:
    """All met: reproduced; some: partly; none: not, or where nothing can be told of any not testable."""
    if all(o == "met" for o in outcomes):
        return "reproduced"
    if "met" in outcomes:
        return "partly"
    return "not" if "missed" in outcomes else "not testable at this scale"


def weigh(limit: Limit, number: Number) -> Judged:
    """The limit's outcome for a number with its interval."""
    shown = f"{limit.number} {told(number)}"
    asked = f"at most {digits(limit.bound)}" if limit.at_least is None else f"at least {digits(limit.bound)}"
    if number.low is None or number.high is None:
        return Judged(limit, "cannot be told", f"{shown}, asked {asked}: there is no interval")
    above, below = number.low >= limit.bound, number.high <= limit.bound
    smallest = _POWERED * (number.high - number.low) / 2
    if above or below:
        met = below if limit.at_least is None else above
        return Judged(limit, "met" if met else "missed", f"{shown}, asked {asked}", smallest)
    seen = abs(limit.expected - limit.bound) >= smallest
    power = f"a difference of {digits(smallest)} from it is seen with 80% power"
    distance = digits(abs(limit.expected - limit.bound))
    if seen:
        return Judged(limit, "missed", f"{shown}, asked {asked}: {power}, the claim's {distance} was not", smallest)
    return Judged(
        limit, "cannot be told", f"{shown}, asked {asked}: {power}, the claim's would be {distance}", smallest
    )


def told(number: Number) -> str:
    """'1.02 [0.99, 1.05] x'; an exact number stands alone."""
    unit = f" {number.unit}" if number.unit and number.unit != "%" else number.unit
    if number.low is None or number.high is None or number.low == number.high:
        return f"{digits(number.value)}{unit}"
    return f"{digits(number.value)}{unit} [{digits(number.low)}, {digits(number.high)}]"
