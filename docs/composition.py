"""docs/composition.md: which two methods stand in one recipe, as the planner has it on the embedded model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations, combinations_with_replacement
from pathlib import Path
from string import ascii_letters

import paretolm
from paretolm.recipes.conflicts import Conflict
from paretolm.recipes.index import SHELVES, methods
from paretolm.recipes.recipe import recipe
from paretolm.recipes.source import MethodInfo

from .tables import table

Pair = tuple[str, str]
COMPOSES, SELF = ".", "-"
RUN = Path(__file__).parents[1] / "results" / "pairs.json"


@dataclass(frozen=True)
class Pairs:
    """names: methods in order of shelf and name. conflicts: every pair of them, in this order; none where the two
    compose."""

    names: Sequence[str]
    conflicts: Mapping[Pair, Sequence[Conflict]]

    @property
    def composing(self) -> int:
        return sum(not found for found in self.conflicts.values())

    @cached_property
    def reasons(self) -> dict[str, list[Pair]]:
        """Kind of reason -> pairs that have it, the most frequent first. A pair may have several."""
        found: dict[str, list[Pair]] = {}
        for pair, conflicts in self.conflicts.items():
            for kind in dict.fromkeys(map(kind_of, conflicts)):
                found.setdefault(kind, []).append(pair)
        return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))

    @cached_property
    def letters(self) -> dict[str, str]:
        """Kind of reason -> its mark."""
        return dict(zip(self.reasons, ascii_letters, strict=False))

    def mark(self, a: str, b: str) -> str:
        """Of the most frequent of a pair's reasons."""
        if a == b:
            return SELF
        conflicts = self.conflicts[(a, b) if (a, b) in self.conflicts else (b, a)]
        kinds = set(map(kind_of, conflicts))
        return next(letter for kind, letter in self.letters.items() if kind in kinds) if kinds else COMPOSES


def kind_of(conflict: Conflict) -> str:
    """The message with A and B for the methods, and without the places."""
    names = dict(zip(dict.fromkeys(conflict.owners), "AB", strict=False))
    found = re.sub(
        r"(?<![\w-])(" + "|".join(map(re.escape, names)) + r")(?![\w-])", lambda m: names[m[0]], conflict.message
    )
    return re.sub(r" on (layers?|model\.).*$", "", found)


@cache
def planned() -> Pairs:
    """Every pair with its default knobs. The planner treats both orders of writing alike."""
    names, view = [info.name for info in methods()], paretolm.load("reference").view
    return Pairs(names, {(a, b): recipe(f"{a} + {b}").check(view) for a, b in combinations(names, 2)})


def composition_page() -> Iterator[str]:
    found = planned()
    total = len(found.conflicts)
    yield f"{len(found.names)} methods make {total:,} pairs. With default knobs, on the embedded model, {found.composing:,} compose"
    yield f"and {total - found.composing:,} are refused before anything is computed, with a sentence that names both methods, what both"
    yield "of them claim or one needs and the other gives up, and what to do. Which is written first does not matter: methods"
    yield "act in the order of their [slots](methods.md). With other knobs (`layers`, say) a refused pair may stand; other"
    yield "models may refuse more ([architectures](architectures.md))."
    yield ""
    yield "That a pair composes means that it is applied and undone as it should be, not that it is a good idea. A pair of"
    yield "each kind is run in CI against the [laws](laws.md) of changing nothing and of being undone. `make pairs` does that"
    yield from last_run()
    yield from ("", "## By shelf", "", "Pairs that compose, of all pairs of methods from the two shelves.", "")
    yield from shelf_table(found)
    yield from ("", "## Why the others do not", "", "A pair with several reasons is counted at each.", "")
    yield from table(("mark", "reason", "pairs", "for example"), reason_rows(found))
    yield from (
        "",
        "## Every pair",
        "",
        f"`{COMPOSES}` composes; a letter is the first of the reasons above that the pair has.",
    )
    yield from ("", "```text", *grid(found), "```")


def last_run() -> Iterator[str]:
    """From results/pairs.json."""
    ran = json.loads(RUN.read_text(encoding="utf-8"))
    broken = f"{len(ran['broken']) or 'none'} broke a law"
    yield f"with all of them, or as many as there is time for; on {ran['date']} it was {ran['run']} of {ran['composing']}, and {broken}."


def shelf_table(found: Pairs) -> Iterator[str]:
    shelves: dict[str, list[str]] = {}
    for info in methods():
        shelves.setdefault(room(info), []).append(info.name)
    used = [shelf for shelf in SHELVES if shelf in shelves]
    counts: dict[Pair, str] = {}
    for one, other in combinations_with_replacement(used, 2):
        pairs = [(a, b) for a, b in found.conflicts if (room_of(a), room_of(b)) == (one, other)]
        good = sum(not found.conflicts[pair] for pair in pairs)
        counts[one, other] = counts[other, one] = f"{good}/{len(pairs)}" if pairs else ""
    yield from table(("", *used), ((f"{one} ({len(shelves[one])})", *(counts[one, b] for b in used)) for one in used))


def room(info: MethodInfo) -> str:
    return info.shelf.partition("/")[0]


@cache
def _rooms() -> dict[str, str]:
    return {info.name: room(info) for info in methods()}


def room_of(name: str) -> str:
    return _rooms()[name]


def reason_rows(found: Pairs) -> Iterator[tuple[str, ...]]:
    for kind, pairs in found.reasons.items():
        example = next(c for c in found.conflicts[pairs[0]] if kind_of(c) == kind)
        yield f"`{found.letters[kind]}`", kind, str(len(pairs)), str(example)


def grid(found: Pairs) -> Iterator[str]:
    """A row a method, a column a method in the same order, shelves apart."""
    width = max(map(len, found.names)) + 3
    tens = [str(number // 10) for number in range(1, len(found.names) + 1)]
    ones = [str(number % 10) for number in range(1, len(found.names) + 1)]
    for digits in (tens, ones):
        yield " " * (width + 1) + spaced(found.names, digits)
    for number, name in enumerate(found.names, 1):
        if number > 1 and room_of(name) != room_of(found.names[number - 2]):
            yield ""
        yield f"{number:2} {name:{width - 3}} " + spaced(
            found.names, [found.mark(name, other) for other in found.names]
        )


def spaced(names: Sequence[str], marks: Sequence[str]) -> str:
    """Marks of methods, with a gap between shelves."""
    text = ""
    for previous, name, mark in zip([names[0], *names], names, marks, strict=False):
        text += (" " if room_of(previous) != room_of(name) else "") + mark
    return text
