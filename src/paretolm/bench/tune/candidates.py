"""The space that is searched: single methods over the knobs that change what is limited, and combinations of them.

Nothing here is a list of methods. Every method of the index is asked what it would hold with other values of each knob;
the knobs whose values change that are the ones that are searched. What saves nothing that is limited, needs something
that only its user has, or cannot be seen by the qualities asked for, is left out and counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from ...recipes.index import methods, shelf_rank
from ...recipes.source import KnobInfo, MethodInfo
from .limits import Limit, Limits
from .predict import Ask, foreseen, taken
from .types import Foreseen, Left

SHARES = (10, 25, 50, 75)  # percent of the context that a method may hold
STEPS = (0.25, 0.5, 0.75)  # of a knob between two bounds
MOST_VALUES = 12  # lines of one method
_CLOSE = 0.12  # a share this near to one that just fits is not looked at beside it
_NO_MODEL = "needs a second model, which only you can name"
_NO_VALUE = "needs something that only you can give"
_NO_PLACE = "has no place in this model"
_NO_ROOM = "has no room at this context"
_UNFITTED = "must be fitted first (paretolm fit)"
_UNSEEN = "acts where no quality asked for can see it"
_SAVES_NOTHING = "saves nothing of what is limited"


@dataclass
class Space:
    """parts: single methods with their knobs; left_out: reason -> methods."""

    parts: list[Foreseen] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    @property
    def left(self) -> tuple[Left, ...]:
        return tuple(Left(why, tuple(names)) for why, names in sorted(self.left_out.items()))


def space(ask: Ask, limits: Limits, dense: Foreseen, sees: Collection[str], known: Sequence[MethodInfo] = ()) -> Space:
    """sees: slots that every quality asked for can see; known: methods, by default all there are."""
    found = Space()
    open_to_search = []
    for info in known or methods():
        if why := _closed(info):
            found.left_out.setdefault(why, []).append(info.name)
        else:
            open_to_search.append(info)
    tried = {info.name: _tries(info, limits.context) for info in open_to_search}
    told = _told(ask, [line for lines in tried.values() for line in lines])
    for info in open_to_search:
        why, lines = _lines(info, tried[info.name], told, limits, dense, sees)
        if why:
            found.left_out.setdefault(why, []).append(info.name)
        found.parts += lines
    found.parts = _fitting(found.parts, ask, limits, dense, {i.name: i for i in open_to_search})
    return found


def _told(ask: Ask, lines: Iterable[str]) -> dict[str, dict]:  # type: ignore[type-arg]
    listed = list(dict.fromkeys(lines))
    return dict(zip(listed, ask(listed), strict=True)) if listed else {}


def _closed(info: MethodInfo) -> str:
    """Why nothing can be tried without asking the user."""
    if any("ModelRef" in k.annotation for k in info.knobs):
        return _NO_MODEL
    return _NO_VALUE if any(k.default is None for k in info.knobs) else ""


# --- knobs ---


def _tries(info: MethodInfo, tokens: int) -> dict[str, str | None]:
    """Line -> the one knob that is not at its default in it, or several that only go together."""
    found: dict[str, str | None] = {info.name: None}
    for knob in info.knobs:
        for value in _values(info, knob, tokens):
            found[f"{info.name}({knob.name}={value})"] = knob.name
    return found


def _values(info: MethodInfo, knob: KnobInfo, tokens: int) -> list[str]:
    if knob.annotation == "Budget":
        return [f"{share}%" for share in SHARES]
    if not any(k.annotation == "Budget" for k in info.knobs) and info.entries[:1] == (knob.name,):
        return [str(size) for share in SHARES if (size := entries(info, share, tokens)) > 1]
    if knob.annotation == "int" and knob.choices:
        return [str(choice) for choice in knob.choices]
    if knob.annotation == "float" and knob.low is not None and knob.high is not None and knob.high > knob.low:
        return [f"{knob.low + step * (knob.high - knob.low):.4g}" for step in STEPS]
    return []


def entries(info: MethodInfo, share: float, tokens: int) -> int:
    """Of the knob that counts entries: what a share in percent of the context leaves beside the others."""
    fixed = sum(int(k.default or 0) for k in info.knobs if k.name in info.entries[1:])
    return int(tokens * share / 100) - fixed


def _lines(
    info: MethodInfo,
    tried: dict[str, str | None],
    told: dict[str, dict],  # type: ignore[type-arg]
    limits: Limits,
    dense: Foreseen,
    sees: Collection[str],
) -> tuple[str, list[Foreseen]]:
    """(why the method is left out, its lines)."""
    good = {line: foreseen(line, told[line]) for line in tried if "kv" in told[line]}
    if not good:
        return (_NO_PLACE if any("conflict" in told[line] for line in tried) else _NO_ROOM), []
    if any(told[line]["unfitted"] for line in good):
        return _UNFITTED, []
    first = next(iter(good.values()))
    if not first.exact and not set().union(*first.slots.values()) & set(sees):
        return _UNSEEN, []
    sized = _sized(tried, good)
    saving = [f for line, f in good.items() if tried[line] in sized and _saves(f, limits, dense)] if sized else []
    if sized and not saving:
        return _SAVES_NOTHING, []
    if not sized:
        stays = [f for f in (good.get(info.name),) if f and (_saves(f, limits, dense) or _may_be_faster(f, limits))]
        return ("" if stays else _SAVES_NOTHING), stays
    return "", saving[:MOST_VALUES]


def _sized(tried: dict[str, str | None], good: dict[str, Foreseen]) -> set[str | None]:
    """Knobs whose values change what is held."""
    sizes: dict[str | None, set[object]] = {}
    for line, f in good.items():
        sizes.setdefault(tried[line], set()).add((f.kv, f.weights))
    return {knob for knob, seen in sizes.items() if knob is not None and len(seen) > 1}


def _saves(recipe: Foreseen, limits: Limits, dense: Foreseen) -> bool:
    """At the low end; without a limit on bytes, of weights and cache together."""
    names = [limit.name for limit in limits.resources if limit.name != "latency"] or ["memory"]
    return any(recipe.bytes(name)[0] < 0.999 * dense.bytes(name)[0] for name in names)


def _may_be_faster(recipe: Foreseen, limits: Limits) -> bool:
    """Methods that hold as much and read or compute less, where time is limited."""
    places = {place for slots in recipe.slots.values() for place in slots}
    return limits.named("latency") is not None and bool(places & {"attend", "block", "decode"})


# --- what just fits ---


def _fitting(
    parts: Sequence[Foreseen], ask: Ask, limits: Limits, dense: Foreseen, infos: dict[str, MethodInfo]
) -> list[Foreseen]:
    """Beside the grid, of each method with a budget the largest that a limit on bytes leaves room for; values close to
    it are not looked at twice."""
    found = list(parts)
    for limit in limits.resources:
        if limit.name == "latency":
            continue
        offers = {name: _offers(infos[name], limit, limits.context, found, dense) for name in infos}
        told = _told(ask, [line for lines in offers.values() for line in lines.values()])
        for lines in offers.values():
            fits = [
                (share, f)
                for share, line in lines.items()
                if "kv" in told[line] and _within(limit, f := foreseen(line, told[line]), dense)
            ]
            if fits:
                _, best = max(fits, key=lambda one: one[0])
                found = [f for f in found if not _near(f, best, limit)] + [best]
    return list({f.line: f for f in found}.values())


def _offers(
    info: MethodInfo, limit: Limit, tokens: int, parts: Sequence[Foreseen], dense: Foreseen
) -> dict[float, str]:
    """Shares around the one that would just fit, by a line through two of the grid -> recipe."""
    write = _writer(info, tokens)
    if write is None:
        return {}
    at = {write(share): share for share in SHARES}
    known = sorted((at[f.line], taken(limit, f, dense)[0]) for f in parts if f.line in at)
    if len(known) < 2 or known[0][1] == known[-1][1]:
        return {}
    (a, low), (b, high) = known[0], known[-1]
    wanted = a + (limit.bound - low) / (high - low) * (b - a)
    shares = [round(wanted - back, 1) for back in (0.0, 0.2, 0.5, 1.0, 2.0, 4.0)]
    return {share: write(share) for share in shares if 1 <= share <= 99}


def _writer(info: MethodInfo, tokens: int) -> Callable[[float], str] | None:
    """Share in percent -> line, of a method with one budget."""
    budgets = [k.name for k in info.knobs if k.annotation == "Budget"]
    if budgets:
        return lambda share: f"{info.name}({budgets[0]}={share:g}%)"
    if info.entries:
        return lambda share: f"{info.name}({info.entries[0]}={entries(info, share, tokens)})"
    return None


def _within(limit: Limit, recipe: Foreseen, dense: Foreseen) -> bool:
    low, high = taken(limit, recipe, dense)
    return limit.met(low if high is None else high)


def _near(recipe: Foreseen, best: Foreseen, limit: Limit) -> bool:
    a, b = recipe.bytes(limit.name)[0], best.bytes(limit.name)[0]
    return recipe.methods == best.methods and abs(a - b) <= _CLOSE * b


# --- combinations ---


def joined(parts: Iterable[Foreseen]) -> str:
    """The recipe of these methods, in the order of their shelves."""
    ordered = sorted(parts, key=lambda f: (shelf_rank(f.methods[0]) or 0, f.line))
    return " + ".join(f.line for f in ordered)


def extended(level: Sequence[tuple[Foreseen, ...]], parts: Sequence[Foreseen]) -> list[tuple[Foreseen, ...]]:
    """Each combination with one more method that is not in it yet; each set once."""
    found: dict[frozenset[str], tuple[Foreseen, ...]] = {}
    for combination, part in itertools.product(level, parts):
        if not {m for f in combination for m in f.methods} & set(part.methods):
            found.setdefault(frozenset(f.line for f in (*combination, part)), (*combination, part))
    return list(found.values())
