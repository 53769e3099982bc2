"""What predictions alone say of recipes: how much of each limit they take, and what a combination will lose."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .limits import Limit, Limits
from .types import Foreseen, Span

Ask = Callable[[Sequence[str]], list[dict[str, Any]]]  # recipes -> what workers foresee of each
Values = Mapping[str, float]  # name of a quality -> its value


def foreseen(line: str, facts: Mapping[str, Any]) -> Foreseen:
    slots = {name: tuple(places) for name, places in facts["slots"].items()}
    spans: dict[str, Span] = {name: (facts[name][0], facts[name][1]) for name in ("kv", "weights", "index")}
    return Foreseen(line, **spans, slots=slots, exact=tuple(facts["exact"]), least_s=facts.get("least_s", 0.0))


def taken(limit: Limit, recipe: Foreseen, dense: Foreseen) -> Span:
    """The value that a limit on bytes or time is held against, in the limit's own form."""
    if limit.name == "latency":
        return recipe.least_s, None
    low, high = recipe.bytes(limit.name)
    if limit.form == "share":
        whole = dense.bytes(limit.name)[0]
        return low / whole, None if high is None else high / whole
    return low, high


def possible(limits: Limits, recipe: Foreseen, dense: Foreseen) -> bool:
    """Whether no limit on bytes or time is certain to be missed: at the low end of what is predicted."""
    return all(limit.met(taken(limit, recipe, dense)[0]) for limit in limits.resources)


def resources_used(limits: Limits, recipe: Foreseen, dense: Foreseen) -> float:
    """Of the limit on bytes or time that is taken up most, at the high end of what is predicted; 0 without one."""
    found = [0.0]
    for limit in limits.resources:
        low, high = taken(limit, recipe, dense)
        found.append(limit.used(low if high is None else high))
    return max(found)


def added_up(parts: Iterable[Values], base: Values, watched: Sequence[Limit]) -> dict[str, float]:
    """What a combination is expected to score if what its parts lose adds up, each against the untouched model's
    `base`: perplexities by their logarithm."""
    listed = list(parts)
    found = {}
    for w in watched:
        start = _to(w, base[w.name])
        found[w.name] = _from(w, start + sum(_to(w, values[w.name]) - start for values in listed))
    return found


def loss(limit: Limit, value: float) -> float:
    """More is worse."""
    return -_to(limit, value) if limit.measure and limit.measure.higher else _to(limit, value)


def quality_used(watched: Sequence[Limit], values: Values) -> float:
    """Of the quality limit that is taken up most."""
    return max((w.used(values[w.name]) for w in watched if math.isfinite(w.bound)), default=0.0)


def _to(limit: Limit, value: float) -> float:
    return math.log(max(value, 1e-300)) if limit.name == "ppl" else value


def _from(limit: Limit, value: float) -> float:
    return math.exp(min(value, 700.0)) if limit.name == "ppl" else value
