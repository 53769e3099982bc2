"""The process that holds the model: `python -m paretolm.bench.workers.worker`, one JSON request a line on stdin.

Requests: open (a model and a text), describe (recipes and tasks), measure (cells). Where the worker works for another
machine, lines that answer what it asked of the store there come between them. Answers and events are JSON
lines on stdout; everything else that is printed goes to stderr. The process ends when stdin does, so none is
left behind when its parent is killed.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...bridge.lm import LM
    from ...evaluation.source import TextSource
    from ...evaluation.task import Item, Task
    from ..records.store import Store
    from .arm import Arm
    from .referee import Referee


class Worker:
    """State between requests: one model on one text."""

    def __init__(self, channel: IO[str]) -> None:
        self.channel = channel
        self.lm: LM
        self.source: TextSource

    def tell(self, event: Mapping[str, Any]) -> None:
        self.channel.write(json.dumps(event) + "\n")
        self.channel.flush()

    def answer(self, request: Mapping[str, Any]) -> None:
        """Runs one request; its last event is 'end' or 'error'."""
        from ...evaluation.isolated import describe

        arguments = dict(request)
        try:
            result = getattr(self, f"do_{arguments.pop('do')}")(**arguments)
        except Exception as error:  # whatever it was, the parent must hear of it
            traceback.print_exc()
            self.tell({"event": "error", "error": describe(error)})
        else:
            self.tell({"event": "end", "result": result})

    def do_open(
        self, model: str, text: str | None, device: str, dtype: str | None, attention: str | None, threads: int
    ) -> dict[str, Any]:
        import torch

        from ...evaluation.source import TextSource
        from ...recipes.convert import load
        from .facts import model_facts

        torch.set_num_threads(threads)
        self.lm = load(model, dtype=dtype, device=device, attn_implementation=attention)
        self.source = TextSource.open(text)
        return model_facts(self.lm)

    def do_describe(self, recipes: Sequence[str], tasks: Sequence[str], seed: int, limit: int | None) -> dict[str, Any]:
        from .facts import describe_all

        return describe_all(self.lm, recipes, tasks, self.source, seed, limit)

    def do_hashes(self, names: Sequence[str]) -> dict[str, str]:
        """What lies on this machine under the names of a call made on another, files or models; empty where nothing
        does."""
        from .facts import named_hash

        own = {"the model": self.lm.content_hash, "the text": self.source.data_hash}
        return own | {name: named_hash(name) for name in names}

    def do_tokens(self, count: int, seed: int) -> list[int]:
        """Tokens of the text, for processes that need any."""
        from ...evaluation.streams import build

        stream = build(self.source, self.lm, count, 1, per_document=count, seed=seed, shrink=True)[0]
        return [int(i) for i in stream.ids[0]]

    def do_order(self, task: str, seed: int, limit: int | None) -> list[str]:
        """Names of a task's items in the order in which they are scored."""
        from .arm import in_order
        from .facts import parse_task

        parsed = parse_task(task, seed)
        return [item.id for item in in_order(parsed.items(self.source, self.lm), parsed.seed, limit)]

    def do_foresee(self, recipes: Sequence[str], tokens: int) -> list[dict[str, Any]]:
        from .foreseen import foresee

        return [foresee(self.lm, self.source, line, tokens) for line in recipes]

    def do_measure(
        self,
        store: str,
        cells: Sequence[Mapping[str, Any]],
        seed: int,
        chunk: int | None,
        limit: int | None,
        sure: Mapping[str, Mapping[str, Any]] | None = None,
        dense: Mapping[str, str] | None = None,
        only: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """cells: key, recipe and task lines. Finished ones are in the store when this answers. sure: the rule by which
        a task's recipes are decided, for tasks where that ends the scoring; their cells say where a decision is kept.
        dense: task -> key of the untouched model's cell, which the judge checks itself against. only: task -> the items
        that are scored now, where not all are.
        """
        from ..records.relay import opened, relayed
        from .turns import turn

        by_task: dict[str, list[Mapping[str, Any]]] = {}
        for cell in cells:
            by_task.setdefault(cell["task"], []).append(cell)
        held = turn(alone=False) if relayed() else nullcontext()  # the call holds the turn of its own machine only
        with opened(Path(store)) as rows, held:
            for line, mine in by_task.items():
                told = (sure or {}).get(line), (dense or {}).get(line), (only or {}).get(line)
                self._measure_task(rows, line, mine, seed, chunk, limit, *told)

    def _measure_task(
        self,
        store: Store,
        line: str,
        cells: Sequence[Mapping[str, Any]],
        seed: int,
        chunk: int | None,
        limit: int | None,
        rule: Mapping[str, Any] | None,
        dense: str | None,
        only: Sequence[str] | None,
    ) -> None:
        from .arm import in_order, reason
        from .audit import Auditor
        from .facts import parse_task
        from .measure import TaskRun

        held = set(store.claim([c["key"] for c in cells]))
        mine = [c for c in cells if c["key"] in held]
        if not mine and not rule:
            return
        self.tell({"event": "at", "cells": [c["key"] for c in mine]})
        try:
            task = parse_task(line, seed)
            items = in_order(task.items(self.source, self.lm), task.seed, limit)
        except Exception as error:
            sentence, again = reason(error)
            for cell in mine:
                self._fail(store, cell["key"], sentence, again)
            return
        names, text, audit = {i.id for i in items}, self.source.data_hash, Auditor(dense) if dense else None
        referee = self._referee(store, task, items, cells, rule) if rule else None
        if rule and not referee:
            return  # another process has the untouched model
        arms = [arm for cell in mine if (arm := self._arm(store, cell, names))]
        if referee and referee.drop({c["key"] for c in mine} - {arm.key for arm in arms}):
            referee = None
        order = [i for i in (referee.items if referee else items) if only is None or i.id in only]
        fed = {one.item: seen for one in store.items(dense) if (seen := one.facts.get("fed"))} if dense else {}
        TaskRun(self.lm, task, order, arms, store, self.tell, seed, chunk, referee, audit, text, fed).run()

    def _referee(
        self,
        store: Store,
        task: Task,
        items: Sequence[Item],
        cells: Sequence[Mapping[str, Any]],
        rule: Mapping[str, Any],
    ) -> Referee | None:
        """None while another process reads the untouched model, without which nothing is decided."""
        from ...evaluation.sequential import Rule
        from .referee import Referee, by_document

        dense = next(c["key"] for c in cells if not c["decision"])
        elsewhere = set(store.held_elsewhere([c["key"] for c in cells]))
        if dense in elsewhere:
            return None
        memos = {c["key"]: c["decision"] for c in cells if c["decision"] and c["key"] not in elsewhere}
        return Referee(store, by_document(items), task.headline, Rule(**rule), dense, memos)

    def _arm(self, store: Store, cell: Mapping[str, Any], names: set[str]) -> Arm | None:
        """The cell ready to run; None where it cannot, and its reason is in the store."""
        from ...recipes.recipe import Recipe
        from .arm import make_arm, reason
        from .fitting import fit_recipe

        key = cell["key"]
        self.tell({"event": "at", "cells": [key]})
        try:
            recipe = Recipe.parse(cell["recipe"])
            arm = make_arm(self.lm, key, recipe, {}, names - store.item_names(key))
            arm.artifacts = fit_recipe(
                self.lm,
                recipe,
                lambda: [d.text for d in self.source.fit_documents],
                tell=lambda text: self.tell({"event": "note", "text": text}),
            )
        except Exception as error:
            self._fail(store, key, *reason(error))
            return None
        return arm

    def _fail(self, store: Store, key: str, sentence: str, again: bool) -> None:
        store.fail(key, sentence, again=again)
        self.tell({"event": "failed", "cell": key, "reason": sentence})


def serve(kind: type[Worker]) -> None:
    """Answers requests until stdin ends."""
    from ..records import relay

    requests, replies = queue.Queue[dict[str, Any]](), queue.Queue[Any]()

    def listen() -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if "reply" in message:
                replies.put(message["reply"])
            else:
                requests.put(message)
        relay.disconnect()
        os._exit(0)

    sys.stdout.flush()
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries print where they should not
    worker = kind(channel)
    if os.environ.get(relay.RELAYED):
        relay.connect(worker.tell, replies)
    threading.Thread(target=listen, daemon=True).start()
    while True:
        worker.answer(requests.get())


if __name__ == "__main__":
    serve(Worker)
