"""Key-value haystacks with needles and threads in them, and a solver that reads nothing but the prompt."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

KINDS = ("single", "multiple", "conditional", "thread", "multi-thread", "branched")
FORMS = ("uuid", "number")
DIRECTIONS = ("forward", "backward", "random")
MARK = "*"
VALUE = {"uuid": re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "number": re.compile(r"\d+")}
_PAIR = re.compile(r'"([^"]+)": "([^"]+)"')
_QUOTED = re.compile(r'"([^"]+)"')
_CHAIN = "A value may be a key again, whose value may be a key too, and so on. "
ASKS = {
    "single": "Give the value that belongs to this key.\nKey: {keys}\nValue:",
    "multiple": "Give the values that belong to these keys, in this order.\nKeys: {keys}\nValues:",
    "conditional": f"Give the values of all keys that contain the character {MARK}\nValues:",
    "thread": _CHAIN + "From this key go on until a value is no key, and give that value.\nKey: {keys}\nLast value:",
    "multi-thread": _CHAIN + "From each of these keys go on until a value is no key, and give those values, in this "
    "order.\nKeys: {keys}\nLast values:",
    "branched": _CHAIN + "A key may stand here several times, with other values. Of all ways from this key take the "
    "longest, and give its last value.\nKey: {keys}\nLast value:",
}


@dataclass(frozen=True)
class Shape:
    """What is hidden. count: needles or threads; steps: pairs of a thread; depth: of a single needle, 0 is first;
    clustered: needles stand side by side; branches: pairs that share a key of a branched thread."""

    kind: str
    count: int = 1
    steps: int = 1
    depth: float = 0.0
    clustered: bool = False
    direction: str = "forward"
    branches: int = 2

    @property
    def pairs(self) -> int:
        """Pairs it takes, the least a haystack must have."""
        return (self.steps - 1) * self.branches + 1 if self.kind == "branched" else self.count * self.steps


@dataclass(frozen=True)
class Haystack:
    pairs: tuple[tuple[str, str], ...]
    asked: tuple[str, ...]  # keys the question names
    answers: tuple[str, ...]

    def prompt(self, kind: str) -> str:
        keys = ", ".join(f'"{k}"' for k in self.asked)
        return f"{written(self.pairs)}\n\n{ASKS[kind].format(keys=keys)}"

    @property
    def answer(self) -> str:
        return " " + ", ".join(f'"{a}"' for a in self.answers)


def written(pairs: Sequence[tuple[str, str]]) -> str:
    """As a JSON object."""
    return "{" + ",\n".join(f'"{k}": "{v}"' for k, v in pairs) + "}"


def hidden(shape: Shape, num_pairs: int, form: str, rng: np.random.Generator) -> Haystack:
    """A haystack of `num_pairs` with what `shape` says in it; all other keys and values occur once."""
    words = iter(_words(2 * num_pairs + 2, form, rng))
    pairs = [(next(words), next(words)) for _ in range(num_pairs)]
    places = _places(shape, num_pairs, rng)
    if shape.kind in ("single", "multiple", "conditional"):
        if shape.kind == "conditional":
            for i in places:
                pairs[i] = (_marked(pairs[i][0], rng), pairs[i][1])
            return Haystack(tuple(pairs), (), tuple(pairs[i][1] for i in sorted(places)))
        return Haystack(tuple(pairs), tuple(pairs[i][0] for i in places), tuple(pairs[i][1] for i in places))
    branches = shape.branches if shape.kind == "branched" else 1
    chains = [_threaded(pairs, mine.tolist(), shape, branches) for mine in np.array_split(places, shape.count)]
    return Haystack(tuple(pairs), tuple(first for first, _ in chains), tuple(last for _, last in chains))


def _threaded(pairs: list[tuple[str, str]], places: Sequence[int], shape: Shape, branches: int) -> tuple[str, str]:
    """Ties the pairs at these places into one thread: (first key, last value). Places of the way come first, those
    of dead ends after."""
    way, dead = list(places[: shape.steps]), list(places[shape.steps :])
    for here, there in pairwise(way):
        pairs[here] = (pairs[here][0], pairs[there][0])
        for _ in range(branches - 1):
            end = dead.pop()
            pairs[end] = (pairs[here][0], pairs[end][1])
    return pairs[way[0]][0], pairs[way[-1]][1]


def _places(shape: Shape, num_pairs: int, rng: np.random.Generator) -> list[int]:
    """Indices of the pairs that matter, thread by thread, each in the order of its steps."""
    if shape.kind == "single":
        return [round(shape.depth * (num_pairs - 1))]
    if shape.clustered:
        first = int(rng.integers(num_pairs - shape.pairs + 1))
        drawn = list(range(first, first + shape.pairs))
        rng.shuffle(drawn)
        return drawn
    drawn = rng.permutation(num_pairs)[: shape.pairs].tolist()
    found: list[int] = []
    for mine in np.array_split(drawn, shape.count) if shape.kind in ("thread", "multi-thread", "branched") else ():
        way, dead = mine[: shape.steps].tolist(), mine[shape.steps :].tolist()
        if shape.direction != "random":
            way.sort(reverse=shape.direction == "backward")
        found += way + dead
    return found or drawn


def _words(count: int, form: str, rng: np.random.Generator) -> list[str]:
    """Different ones."""
    if form == "number":
        low = 1_000 if count <= 4_000 else 10_000_000
        return [str(low + i) for i in rng.choice(9 * low, count, replace=False).tolist()]
    return [str(uuid.UUID(bytes=rng.bytes(16), version=4)) for _ in range(count)]


def _marked(key: str, rng: np.random.Generator) -> str:
    at = int(rng.choice([i for i, c in enumerate(key) if c != "-"]))
    return key[:at] + MARK + key[at + 1 :]


def solved(prompt: str) -> str:
    """The answer, looked up in the prompt alone."""
    haystack, _, ask = prompt.partition("}\n\n")
    pairs = _PAIR.findall(haystack)
    kind = next(k for k in KINDS if ask.startswith(ASKS[k].partition("{keys}")[0]))
    keys = _QUOTED.findall(ask)
    if kind == "conditional":
        found = [v for k, v in pairs if MARK in k]
    else:
        values: dict[str, list[str]] = {}
        for key, value in pairs:
            values.setdefault(key, []).append(value)
        found = [values[k][0] if kind in ("single", "multiple") else _farthest(k, values)[1] for k in keys]
    return " " + ", ".join(f'"{v}"' for v in found)


def _farthest(key: str, values: dict[str, list[str]]) -> tuple[int, str]:
    """(steps, last value) of the longest way from a key."""
    best, ways = (0, key), [(0, key)]
    while ways:
        steps, at = ways.pop()
        best = max(best, (steps, at), key=lambda way: way[0])
        ways += [(steps + 1, value) for value in values.get(at, ())]
    return best
