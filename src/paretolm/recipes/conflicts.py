"""The rules by which a recipe cannot stand: a place claimed twice, a need broken, a slot the model lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import combinations

from ..contracts import Edit, Method, ModelView, Need, Place, Slot

_DOES = {
    Slot.TOKENS: "change the tokenizer",
    Slot.WEIGHTS: "change the weights",
    Slot.FREQUENCY: "set the rotary frequencies",
    Slot.INDEX: "set the positions of keys and queries",
    Slot.ATTEND: "decide what attention reads",
    Slot.KEEP: "decide which entries stay",
    Slot.STORE: "decide the form of kept entries",
    Slot.DECODE: "drive the decoding loop",
}


@dataclass(frozen=True)
class Conflict:
    """Why a recipe cannot stand, whose doing it is, and what to do."""

    message: str
    owners: tuple[str, ...]
    cure: str

    def __str__(self) -> str:
        return f"{self.message}: {self.cure}"


@dataclass(frozen=True)
class Planned:
    """One method's edits. position: its place in the recipe; view: what it planned on."""

    position: int
    method: Method
    edits: tuple[Edit, ...]
    view: ModelView


def find_conflicts(steps: Sequence[Planned], view: ModelView) -> Iterator[Conflict]:
    """view: the model as all edits leave it."""
    yield from _lacking(steps, view)
    yield from _claimed_twice(steps)
    yield from _needs_broken(steps, view)


# --- the model has no place ----------------------------------------------------------------------


def _lacking(steps: Sequence[Planned], view: ModelView) -> Iterator[Conflict]:
    for step in steps:
        name = step.method.name
        refused = sorted({e.slot for e in step.edits if e.slot.value in step.view.refusals}, key=lambda s: s.order)
        for slot in refused:
            why = step.view.refusals[slot.value]
            message = f"{name} acts on {slot.value}, for which {view.architecture} has no place, as {why}"
            yield Conflict(message, (name,), f"drop {name} or take another model")
        for edit in step.edits:
            if edit.slot.in_cache and edit.slot not in refused:
                yield from _wrong_layers(name, edit, view)


def _wrong_layers(name: str, edit: Edit, view: ModelView) -> Iterator[Conflict]:
    full = view.full_layers
    kinds: dict[Place, str] = {layer.index: layer.kind for layer in view.layers}
    may = f"layers {ranges(full)}" if full else "none"
    if not edit.where:
        found = ", ".join(sorted(set(kinds.values())))
        message = f"{name} names no layer for {edit.slot.value} (the model's layers are {found})"
        yield Conflict(message, (name,), f"drop {name} or give it some of the full-attention layers ({may})")
    wrong: dict[str, list[Place]] = {}
    for place in edit.where - full:
        wrong.setdefault(kinds.get(place, "absent"), []).append(place)
    if wrong:
        listed = ", ".join(f"{ranges(places)} ({kind})" for kind, places in sorted(wrong.items()))
        message = f"{name} claims {edit.slot.value} on layers {listed}, but only full-attention layers can change"
        yield Conflict(message, (name,), f"drop {name} or give it full-attention layers ({may})")


# --- a place claimed twice -----------------------------------------------------------------------


def _claimed_twice(steps: Sequence[Planned]) -> Iterator[Conflict]:
    edits = [(step, edit) for step in steps for edit in step.edits if not edit.slot.stackable]
    seen = set()
    for (a, first), (b, second) in combinations(edits, 2):
        if first.slot is not second.slot or (first.slot is Slot.STORE and (first.stackable or second.stackable)):
            continue
        shared = _shared_places(first, second, b.view)
        key = (a.position, b.position, first.slot)
        if shared and key not in seen:
            seen.add(key)
            yield _double_claim(a, b, first.slot, shared)


def _shared_places(first: Edit, second: Edit, view: ModelView) -> frozenset[Place]:
    if first.slot is not Slot.WEIGHTS:
        return first.where & second.where
    ours, theirs = _with_tied(first.where, view), _with_tied(second.where, view)
    below = {p for p in ours if theirs.intersection(_upwards(p))}
    above = {p for p in theirs if ours.intersection(_upwards(p))}
    return frozenset(below | above)


def _with_tied(where: frozenset[Place], view: ModelView) -> frozenset[Place]:
    """A claim on one of several names of a weight is a claim on all of them."""
    tied = [linear.tied | {linear.path} for linear in view.linears if linear.tied]
    return where.union(*(group for group in tied if any(where.intersection(_upwards(path)) for path in group)))


def _upwards(path: Place) -> Iterator[Place]:
    """The path and its parents."""
    yield path
    while isinstance(path, str) and "." in path:
        path = path.rpartition(".")[0]
        yield path


def _double_claim(a: Planned, b: Planned, slot: Slot, places: frozenset[Place]) -> Conflict:
    one, two = a.method.name, b.method.name
    where = "" if slot in (Slot.TOKENS, Slot.DECODE) else f" on {_listed(places)}"
    if a.position == b.position:
        return Conflict(f"{one} claims {slot.value} twice{where}", (one, two), f"drop {one}")
    who = f"{one}, named twice, would twice" if one == two else f"{one} and {two} both"
    cure = "drop one of them"
    if slot.in_cache and any(f.name == "layers" for m in (a.method, b.method) for f in fields(m)):
        cure += " or give them different layers"
    return Conflict(f"{who} {_DOES[slot]} ({slot.value}){where}", (one, two), cure)


def _listed(places: frozenset[Place]) -> str:
    paths = sorted(p for p in places if isinstance(p, str))
    if not paths:
        return f"{'layer' if len(places) == 1 else 'layers'} {ranges(places)}"
    return ", ".join(paths[:2]) + (f" and {len(paths) - 2} more" if len(paths) > 2 else "")


def ranges(layers: Iterable[Place]) -> str:
    """'0-3, 7'."""
    runs: list[list[int]] = []
    for layer in sorted(i for i in layers if isinstance(i, int)):
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)


# --- a need that another breaks ------------------------------------------------------------------


def _needs_broken(steps: Sequence[Planned], view: ModelView) -> Iterator[Conflict]:
    for step in steps:
        name, needs = step.method.name, {need for edit in step.edits for need in edit.needs}
        for other in steps:
            broken = needs & {need for edit in other.edits for need in _given_up(edit)}
            if broken and other.position != step.position:
                message = f"{name} needs {_named(broken)}, which {other.method.name} gives up"
                yield Conflict(message, (name, other.method.name), "drop one of them")
        for why in sorted({view.breaks[need] for need in needs if need in view.breaks}):
            broken = {need for need in needs if view.breaks.get(need) == why}
            yield Conflict(f"{name} needs {_named(broken)}, and {why}", (name,), f"drop {name} or take another model")
        if Need.TOKENIZER in needs and not view.has_tokenizer:
            message = f"{name} needs a tokenizer, and the model came without one"
            yield Conflict(message, (name,), "load the model together with its tokenizer")


def _given_up(edit: Edit) -> frozenset[Need]:
    """Where keys stand elsewhere for each query, attention is several readings."""
    return edit.breaks | {Need.PLAIN_ATTENTION} if edit.slot is Slot.INDEX else edit.breaks


def _named(needs: Iterable[Need]) -> str:
    *first, last = sorted(need.value for need in needs)
    return f"{', '.join(first)} and {last}" if first else last
