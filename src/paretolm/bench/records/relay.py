"""Results across machines: a worker on a node of a cluster reads and writes the store of the call that it works for.

SQLite must not lie on a network share. So on a node a `RelayedStore` stands in for the file: each of its calls goes
as an event to whoever started the process, and in the end to the machine of the call, which alone holds the file and
answers by a `Serving`. Whoever stands between passes events on as they are.
"""

from __future__ import annotations

import queue
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from threading import Lock
from typing import Any

from ...errors import StoreError
from ...evaluation.rows import Row
from ...files import write_whole
from .owners import identity
from .store import CellRecord, Scored, Store

RELAYED = "PARETOLM_RELAYED"  # set: this process works for a call on another machine
Event = Mapping[str, Any]


class Wire:
    """To whoever started this process. replies: what it answers, one each to an event that wants it."""

    def __init__(self, tell: Callable[[Event], None], replies: queue.Queue[Any]) -> None:
        self._tell, self._replies, self._lock = tell, replies, Lock()
        self.scratch = Path(tempfile.mkdtemp(prefix="paretolm-"))

    def send(self, event: Event) -> Any:
        with self._lock:
            self._tell(event)
            return self._replies.get() if event["wants"] else None


_wires: list[Wire] = []  # of this process: one, or none


def connect(tell: Callable[[Event], None], replies: queue.Queue[Any]) -> None:
    _wires.append(Wire(tell, replies))


def disconnect() -> None:
    for wire in _wires:
        shutil.rmtree(wire.scratch, ignore_errors=True)


def relayed() -> bool:
    return bool(_wires)


def pass_on(event: Event) -> Any:
    """An event of a process that this one started."""
    return _wires[0].send(event)


def opened(path: Path) -> Store:
    """The results file at `path`; on a node, the file of that name of the call."""
    return RelayedStore(path, _wires[0]) if _wires else Store(path)


def workplace(folder: Path) -> Path:
    """A call's folder; on a node one that ends with the process."""
    return _wires[0].scratch if _wires else folder


def publish(folder: Path, path: Path) -> None:
    """Sends a file below the workplace to the folder of the call, where that is on another machine."""
    if _wires:
        name, text = path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8")
        pass_on({"event": "file", "name": name, "text": text, "wants": False})


class RelayedStore(Store):
    """A store whose file is on another machine. Whose cells are whose is decided there."""

    def __init__(self, path: Path, wire: Wire) -> None:
        self.path, self._wire = path, wire

    def close(self) -> None:
        """Nothing is open here."""

    def _write(self, call: str, *args: Any) -> None:
        self._wire.send({"event": "store", "name": self.path.name, "call": call, "args": args, "wants": False})

    def _ask(self, call: str, *args: Any) -> Any:
        return self._wire.send({"event": "store", "name": self.path.name, "call": call, "args": args, "wants": True})

    def plan(self, cells: Mapping[str, Mapping[str, Any]]) -> None:
        self._write("plan", dict(cells))

    def cells(self, keys: Sequence[str]) -> dict[str, CellRecord]:
        return {key: CellRecord(**facts) for key, facts in self._ask("cells", list(keys)).items()}

    def claim(self, keys: Sequence[str]) -> list[str]:
        return list(self._ask("claim", list(keys)))

    def held_elsewhere(self, keys: Sequence[str]) -> list[str]:
        return list(self._ask("held_elsewhere", list(keys)))

    def finish(self, key: str) -> None:
        self._write("finish", key)

    def leave(self, key: str) -> None:
        self._write("leave", key)

    def fail(self, key: str, sentence: str, *, again: bool = False) -> None:
        self._write("fail", key, sentence, again)

    def add(self, scored: Iterable[tuple[str, Scored]]) -> None:
        self._write("add", [(cell, asdict(one)) for cell, one in scored])

    def item_names(self, cell: str) -> set[str]:
        return set(self._ask("item_names", cell))

    def items(self, cell: str) -> list[Scored]:
        return [_scored(facts) for facts in self._ask("items", cell)]

    def start_run(self, request: Mapping[str, Any]) -> int:
        return int(self._ask("start_run", dict(request)))

    def finish_run(self, run: int) -> None:
        self._write("finish_run", run)

    def recall(self, key: str) -> Any | None:
        return self._ask("recall", key)

    def remember(self, key: str, value: Any) -> None:
        self._write("remember", key, value)


def _scored(facts: Mapping[str, Any]) -> Scored:
    return Scored(facts["item"], facts["doc"], [Row(**row) for row in facts["rows"]], facts["facts"])


class Serving:
    """Answers the calls of one worker elsewhere, from the files in `folder`. It is an owner of its own: at its end
    what the worker had taken is free for others.

    machine: of the worker, as evaluation.machine has it; cells and items keep where they were measured."""

    def __init__(self, folder: Path, part: str, machine: Mapping[str, Any]) -> None:
        self.folder, self._machine = folder, machine
        self._owner, self._stores = identity(part), dict[str, Store]()

    def close(self) -> None:
        for store in self._stores.values():
            store.let_go()
            store.close()

    def __call__(self, event: Event) -> Any:
        """What the event wants. Raises StoreError, also for files outside the folder."""
        name = Path(event["name"])
        if name.is_absolute() or ".." in name.parts:
            raise StoreError(f"a worker asked for {name}, which is not in {self.folder}")
        if event["event"] == "file":
            return write_whole(self.folder / name, event["text"])
        if event["name"] not in self._stores:
            self._stores[event["name"]] = Store(self.folder / name, self._owner)
        return _CALLS[event["call"]](self, self._stores[event["name"]], *event["args"])

    def claim(self, store: Store, keys: Sequence[str]) -> list[str]:
        taken = store.claim(keys)
        records = store.cells(taken)
        store.plan({key: {**record.meta, "machine": self._machine} for key, record in records.items() if record.meta})
        return taken

    def add(self, store: Store, scored: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        found = [(cell, _scored(facts)) for cell, facts in scored]
        here = {"machine": self._machine["hash"]}
        store.add([(cell, replace(one, facts={**one.facts, **here})) for cell, one in found])


_CALLS: Mapping[str, Callable[..., Any]] = {
    "plan": lambda _, store, cells: store.plan(cells),
    "cells": lambda _, store, keys: {key: asdict(record) for key, record in store.cells(keys).items()},
    "claim": Serving.claim,
    "held_elsewhere": lambda _, store, keys: store.held_elsewhere(keys),
    "finish": lambda _, store, key: store.finish(key),
    "leave": lambda _, store, key: store.leave(key),
    "fail": lambda _, store, key, sentence, again: store.fail(key, sentence, again=again),
    "add": Serving.add,
    "item_names": lambda _, store, cell: sorted(store.item_names(cell)),
    "items": lambda _, store, cell: [asdict(one) for one in store.items(cell)],
    "start_run": lambda _, store, request: store.start_run(request),
    "finish_run": lambda _, store, run: store.finish_run(run),
    "recall": lambda _, store, key: store.recall(key),
    "remember": lambda _, store, key, value: store.remember(key, value),
}
