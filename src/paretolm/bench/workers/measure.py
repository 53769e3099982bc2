"""Quality cells of one model: a task's items under many recipes, one prefill for all recipes that share it.

Items go in batches. The untouched model reads a batch first, because other recipes are compared with what it
leaves; then recipes of equal prefill continue from one snapshot an item. What fails, fails for its cell alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ...bridge.bytes import module_bytes
from ...bridge.lm import LM
from ...bridge.stream import Snapshot, Stream, own_stream
from ...contracts import Forward, Observe, Slot
from ...errors import CellError
from ...evaluation.audit import check_fed, check_prompt
from ...evaluation.task import DEFAULT_CHUNK, Base, Item, Run, Task
from ...evaluation.traits import traits
from ...recipes.recipe import Recipe, dense_cost
from ...recipes.session import Session
from ..records.origin import origin
from ..records.store import Scored, Store
from .arm import Arm, make_arm, read_prompt, reason
from .referee import Referee

PREFILL_CHUNK = 512
_TRAIT_TOKENS = 1024
BATCH_BYTES = 512 << 20  # of snapshots and bases kept at a time
BATCH_ITEMS = 64
Tell = Callable[[Mapping[str, Any]], None]
Counters = Mapping[str, Mapping[str, int]]
_GENERATED = frozenset({Slot.PROMPT, Slot.DECODE})


@dataclass
class TaskRun:
    """All arms of one task. items: in the order they are scored."""

    lm: LM
    task: Task
    items: Sequence[Item]
    arms: list[Arm]
    store: Store
    tell: Tell
    seed: int = 0
    chunk: int | None = None
    referee: Referee | None = None  # where scoring ends as soon as it is decided
    audit: Callable[[TaskRun], None] | None = None  # is asked before any cell counts as measured
    text: str = ""  # hash of the text
    fed: dict[str, int] = field(default_factory=dict)  # item -> tokens its stream has seen once it was scored
    kept: int = 0  # bytes of the largest base so far

    def run(self) -> None:
        self._add_base_arm()
        self._total = {id(a): len(a.missing) for a in self.arms}
        for part in self._parts():
            for batch in self._batches(part):
                bases: dict[str, Base] = {}
                for group in self._groups():
                    self._group(group, batch, bases)
                self.kept = max([self.kept, *map(_base_bytes, bases.values())])
        if self.audit:
            self.audit(self)
        for arm in self.arms:
            if arm.alive and arm.key:
                (self.store.leave if arm.missing else self.store.finish)(arm.key)
                self.tell({"event": "done", "cell": arm.key})

    def _parts(self) -> Iterator[Sequence[Item]]:
        """All items, or those up to each look of the referee; all that is left where nothing can be decided."""
        if self.referee is None:
            yield self.items
            return
        seen = 0
        for part in self.referee.parts():
            yield part
            seen += len(part)
            if self.referee.drop({a.key for a in self.arms if not a.alive}):
                yield self.items[seen:]
                return
            decided = self.referee.look()
            for arm in self.arms:
                arm.decided = arm.decided or arm.key in decided

    def _add_base_arm(self) -> None:
        """The untouched model reads every item that another recipe needs its base for."""
        if not self.task.needs_base:
            return
        wanted = set().union(*(a.missing for a in self.arms if not a.recipe.is_dense))
        if not any(a.recipe.is_dense and wanted <= a.missing for a in self.arms):
            self.arms.insert(0, make_arm(self.lm, None, Recipe(), {}, wanted))

    # --- batches and groups ---

    def _batches(self, part: Sequence[Item]) -> Iterator[list[Item]]:
        """One item first, to see what is kept for it; then as many as fit in the bound."""
        wanted = set().union(*(a.missing for a in self.arms if a.active))
        items, size = [i for i in part if i.id in wanted], 1
        snapshot = max((dense_cost(self.lm.view, i.prompt_length).kv_bytes.low for i in items), default=0)
        while items:
            yield items[:size]
            items = items[size:]
            size = max(1, min(BATCH_ITEMS, int(BATCH_BYTES / max(1, snapshot + self.kept))))

    def _groups(self) -> list[list[Arm]]:
        """Arms of one prefill together, the untouched model's first; an arm that reads on its own stands alone."""
        groups: dict[str, list[Arm]] = {}
        for arm in sorted((a for a in self.arms if a.active), key=lambda a: not a.recipe.is_dense):
            groups.setdefault(f"own {id(arm)}" if self._reads_alone(arm) else arm.prefill, []).append(arm)
        return list(groups.values())

    def _reads_alone(self, arm: Arm) -> bool:
        return not arm.shares or self._generates(arm) or Slot.TOKENS in arm.slots

    def _group(self, group: list[Arm], batch: list[Item], bases: dict[str, Base]) -> None:
        wanted = set().union(*(a.missing for a in group))
        todo = [item for item in batch if item.id in wanted]
        snapshots: dict[str, Snapshot] = {}
        if todo and not self._reads_alone(group[0]):  # also where nobody else reads it: company changes no number
            with self._blaming(group):
                snapshots = self._prefill(group, todo)
        for arm in group:
            mine = [item for item in todo if item.id in arm.missing]
            if arm.alive and mine:
                with self._blaming([arm]):
                    self._score(arm, mine, snapshots, bases)

    def _prefill(self, group: list[Arm], items: list[Item]) -> dict[str, Snapshot]:
        observe = self._observed(group)
        with self._opened(group[0]) as session:
            found = {}
            for item in items:
                session.reset()
                found[item.id] = session.prefill(item.prompt_ids, chunk=PREFILL_CHUNK, observe=observe)
        return found

    def _observed(self, group: list[Arm]) -> Observe:
        """What all arms together must be shown of the prompt, kept beyond its end for those that continue."""
        for arm in group:
            if Slot.KEEP in arm.slots and arm.observe == Observe():
                with self._opened(arm) as session:
                    arm.observe = session.observes()
        queries, received = max(a.observe.queries for a in group), any(a.observe.received for a in group)
        return Observe(queries, received, decoding=True)

    # --- one arm ---

    def _score(self, arm: Arm, items: list[Item], snapshots: Mapping[str, Snapshot], bases: dict[str, Base]) -> None:
        apart = self._generates(arm) or bool(snapshots and not any(slot.in_cache for slot in arm.slots))
        weighed = self._weighed(arm, items, snapshots) if apart else {}
        with self._opened(arm) as session:
            before: Counters = {}  # what opening did belongs to the first item
            weights = module_bytes(self.lm.model)
            for given in items:
                session.reset()
                torch.manual_seed(self.seed)
                started, item = time.perf_counter(), self._own_tokens(session, given)
                run = self._start(arm, session, item, snapshots.get(item.id))
                held = weighed.get(item.id, {}) if apart else _held(session.last_stream)
                base = None if arm.recipe.is_dense else bases.get(item.id)
                scored = self.task.score(run, item, base)
                if scored.rows and item is given:
                    self._check_fed(run, item)
                if arm.recipe.is_dense and scored.keep is not None:
                    bases[item.id] = scored.keep
                if arm.key:
                    facts = {**scored.facts, "chunk": run.chunk, "counters": _difference(session.counters, before)}
                    facts |= {"seconds": time.perf_counter() - started, **self._bytes(arm, item, held, weights)}
                    facts["fed"] = self.fed.get(item.id)
                    facts["of"] = origin(self.lm.content_hash, self.text, arm.recipe.hash)
                    facts |= self._traits(item) if arm.recipe.is_dense else {}
                    self.store.add([(arm.key, _checked(Scored(item.id, item.doc, scored.rows, facts)))])
                arm.missing.discard(item.id)
                before = session.counters
                self._progress(arm)

    def _own_tokens(self, session: Session, item: Item) -> Item:
        """The item's text in the tokens of a recipe that brings another tokenizer."""
        if session.tokenizer is self.lm.tokenizer or Slot.TOKENS not in self.task.sees:
            return item
        return self.task.retokenised(item, session.tokenizer)

    def _start(self, arm: Arm, session: Session, item: Item, snapshot: Snapshot | None) -> Run:
        """The arm at the end of the item's prompt."""
        tokens = self.task.tokens(item)
        own = arm.recipe.chunk(tokens)
        chunk = min(c for c in (own or DEFAULT_CHUNK, self.chunk) if c)

        def read(size: int) -> tuple[Stream, Forward]:
            if snapshot is not None:
                return session.resume(snapshot), snapshot.last
            return read_prompt(session, item, size)

        if self._generates(arm):
            return Run(session, None, None, chunk, own is None, read)
        stream, end = read(min((c for m in arm.early if (c := m.chunk(tokens))), default=PREFILL_CHUNK))
        check_prompt(stream, item)
        return Run(session, stream, end, chunk, own is None, read)

    def _check_fed(self, run: Run, item: Item) -> None:
        """Given tokens are the same for all recipes."""
        if run.stream is not None and self.task.mode == "stream":
            check_fed(run.stream.seen, item, self.fed.setdefault(item.id, run.stream.seen))

    def _generates(self, arm: Arm) -> bool:
        """Only `session.generate` obeys the recipe here."""
        return self.task.mode == "generate" and bool(arm.slots & _GENERATED)

    def _weighed(self, arm: Arm, items: list[Item], read: Mapping[str, Snapshot]) -> dict[str, dict[str, int]]:
        """Bytes of the longest item in the model's own cache, where scoring goes through another."""
        longest = max(self.items, key=lambda item: (item.prompt_length, item.id))
        if longest not in items:
            return {}
        with self._opened(arm) as session:
            if longest.id in read and not session.binding.owns_cache:
                return {longest.id: _held(own_stream(session.binding, read[longest.id]))}
            prompt = replace(longest, prompt_ids=session.rewrite(longest.prompt_ids).ids)
            return {longest.id: _held(read_prompt(session, prompt, PREFILL_CHUNK)[0])}

    def _traits(self, item: Item) -> dict[str, Any]:
        """Of the end of the item's prompt, for items that are no part of the text."""
        if self.lm.tokenizer is None:
            return {}
        return {"traits": traits(self.lm.tokenizer.decode(item.prompt_ids[0, -_TRAIT_TOKENS:]))}

    def _bytes(self, arm: Arm, item: Item, held: dict[str, int], weights: int) -> dict[str, Any]:
        """Held at the end of the prompt, and as predicted."""
        cost = arm.recipe.cost(self.lm.view, item.prompt_length)
        return {
            **held,
            "prompt": item.prompt_length,
            "weight_bytes": weights,
            "predicted": _finite(cost.kv_bytes.low, cost.kv_bytes.high),
            "predicted_weights": _finite(cost.weight_bytes.low, cost.weight_bytes.high),
        }

    @contextmanager
    def _opened(self, arm: Arm) -> Iterator[Session]:
        with Session.open(self.lm, arm.recipe, arm.artifacts) as session:
            yield session

    @contextmanager
    def _blaming(self, arms: list[Arm]) -> Iterator[None]:
        """A failure ends these arms, and no other."""
        self.tell({"event": "at", "cells": [a.key for a in arms if a.key]})
        try:
            yield
        except Exception as error:
            for arm in arms:
                arm.alive = False
                if arm.key:
                    self._fail(arm.key, error)

    def _fail(self, key: str, error: Exception) -> None:
        sentence, again = reason(error)
        self.store.fail(key, sentence, again=again)
        self.tell({"event": "failed", "cell": key, "reason": sentence})

    def _progress(self, arm: Arm) -> None:
        total = self._total.get(id(arm), 0)
        self.tell({"event": "progress", "cell": arm.key, "done": total - len(arm.missing), "total": total})


def _held(stream: Stream | None) -> dict[str, int]:
    return {"kv_bytes": stream.kv_bytes, "index_bytes": stream.index_bytes} if stream else {}


def _checked(scored: Scored) -> Scored:
    for row in scored.rows:
        if not math.isfinite(row.value):
            raise CellError(f"{row.metric} of item {row.item} is {row.value}, not a number that can be averaged")
    return scored


def _difference(after: Counters, before: Counters) -> dict[str, dict[str, int]]:
    return {name: {k: v - before.get(name, {}).get(k, 0) for k, v in counts.items()} for name, counts in after.items()}


def _finite(*values: float) -> list[float | None]:
    return [v if math.isfinite(v) else None for v in values]


def _base_bytes(base: Base) -> int:
    return sum(array.nbytes for array in base.values())
