"""The work of one comparison: facts, cells, who measures them, and what to do when a process dies."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..bridge.content import CONFIG, content_hash, read_json, weight_files
from ..bridge.locate import locate
from ..bridge.safetensors_check import read_header
from ..errors import CellError, ParetoError
from ..evaluation.machine import usable_threads
from ..evaluation.source import TextSource
from .client import WorkerClient, WorkerDied
from .keys import Conditions, digest, file_hash
from .plan import PROCESS_TASKS, Cell, facts_key, still_true
from .process_cells import measure_process_cell, process_facts
from .progress import Progress
from .store import Scored, Store
from .turns import turn

_POLL_S = 1.0


@dataclass(frozen=True)
class Request:
    """What was asked for. recipes and tasks as typed; text: a path, or the embedded sample."""

    model: str = "reference"
    recipes: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    text: str | None = None
    output: Path = Path(".paretolm")
    device: str = "cpu"
    dtype: str | None = None
    attention: str | None = None
    threads: int | None = None
    seed: int = 0
    limit: int | None = None
    chunk: int | None = None
    title: str = ""

    @property
    def store_path(self) -> Path:
        return self.output if self.output.suffix == ".sqlite" else self.output / "results.sqlite"


def check_files(directory: Path) -> None:
    """Raises ModelError at once for what a worker would find out after loading torch."""
    read_json(directory / CONFIG)
    for path in weight_files(directory):
        read_header(path)


class Desk:
    """One request at work; a worker process is started when something must be found out or measured."""

    def __init__(self, request: Request, store: Store, progress: Progress) -> None:
        self.request, self.store, self.progress = request, store, progress
        self.directory = locate(request.model)
        check_files(self.directory)
        self.source = TextSource.open(request.text)
        self.conditions = Conditions(
            content=content_hash(self.directory),
            device=request.device,
            dtype=request.dtype or "auto",
            attention=request.attention or "default",
            threads=request.threads or usable_threads(),
            seed=request.seed,
        )
        self._worker: WorkerClient | None = None
        self._opened: dict[str, Any] = {}

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    # --- facts ---

    @cached_property
    def model(self) -> dict[str, Any]:
        key = digest(
            facts_key("model", self.conditions, "", dtype=self.conditions.dtype, device=self.conditions.device)
        )
        known = self.store.recall(key)
        if known is None:
            known = self._open()
            self.store.remember(key, known)
        return dict(known)

    def describe(
        self, recipes: Sequence[str], tasks: Sequence[str]
    ) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
        """Facts of recipes and tasks, as typed -> facts; what is not known yet is asked of the worker."""
        keys = {("recipes", text): self._key("recipe", text) for text in recipes}
        keys |= {("tasks", line): self._key("task", line) for line in tasks if line not in PROCESS_TASKS}
        known = {place: facts for place, key in keys.items() if (facts := self._recall(key))}
        new = [place for place in keys if place not in known]
        if new:
            found = self._ask(
                do="describe",
                recipes=[text for what, text in new if what == "recipes"],
                tasks=[line for what, line in new if what == "tasks"],
                seed=self.request.seed,
                limit=self.request.limit,
            )
            for what, text in new:
                known[what, text] = found[what][text]
                if "error" not in known[what, text]:
                    self.store.remember(keys[what, text], known[what, text])
        processes = {line: process_facts(line, self.model) for line in tasks if line in PROCESS_TASKS}
        return (
            {text: known["recipes", text] for text in recipes},
            {line: processes.get(line) or known["tasks", line] for line in tasks},
        )

    def _key(self, what: str, text: str) -> str:
        file = file_hash(Path(text)) if text.endswith(".toml") else ""
        more = {"seed": self.request.seed, "limit": self.request.limit} if what == "task" else {"file": file}
        return digest(facts_key(what, self.conditions, self.source.data_hash, text=text, **more))

    def _recall(self, key: str) -> dict[str, Any] | None:
        known = self.store.recall(key)
        return known if known and still_true(known) else None

    # --- measuring ---

    def measure(self, cells: Sequence[Cell], lines: Mapping[str, str]) -> int:
        """Measures what is not settled yet; answers how many cells that were. lines: recipe as typed -> full."""
        self.store.plan({c.key: {"recipe": lines[c.recipe], "task": c.task, "kind": c.kind} for c in cells})
        todo = self._open_cells(cells)
        self.progress.plan({c.key: f"{c.recipe}: {c.task}" for c in todo})
        broken: set[str] = set()
        while pending := [c for c in self._open_cells(cells) if c.key not in broken]:
            quality = [c for c in pending if c.kind == "quality"]
            if quality:
                with turn(alone=False, waiting=self._waiting):
                    broken |= self._measure_quality(quality, lines)
            else:
                self.close()  # an idle worker would still hold the memory that is measured
                with turn(alone=True, waiting=self._waiting):
                    broken |= self._measure_process(pending[0], lines)
            if self.store.held_elsewhere([c.key for c in pending]):
                self.progress.note("another paretolm measures some of these cells; waiting for it")
                time.sleep(_POLL_S)
        return len(todo)

    def _open_cells(self, cells: Sequence[Cell]) -> list[Cell]:
        settled = self.store.cells([c.key for c in cells])
        return [c for c in cells if settled[c.key].state not in ("done", "failed")]

    def _measure_quality(self, cells: Sequence[Cell], lines: Mapping[str, str]) -> set[str]:
        """Keys of the cells that broke."""
        request = self.request
        try:
            self._ask(
                do="measure",
                store=str(request.store_path.resolve()),
                cells=[{"key": c.key, "recipe": lines[c.recipe], "task": c.task} for c in cells],
                seed=request.seed,
                chunk=request.chunk,
                limit=request.limit,
            )
        except WorkerDied as death:
            self.close()
            for key in death.cells:
                self._break(key, str(death))
            return set(death.cells)
        states = self.store.cells([c.key for c in cells])
        return {key for key, record in states.items() if record.state == "broken"}

    def _measure_process(self, cell: Cell, lines: Mapping[str, str]) -> set[str]:
        if not self.store.claim([cell.key]):
            return set()
        self.progress.note(f"{cell.recipe}: {cell.kind}, nothing else runs meanwhile")
        try:
            items = measure_process_cell(self, cell.kind, lines[cell.recipe])
        except ParetoError as error:
            self._break(cell.key, " ".join(str(error).split()))
            return {cell.key}
        self._keep(cell.key, items)
        return set()

    def _keep(self, key: str, items: Sequence[Scored]) -> None:
        self.store.add([(key, item) for item in items])
        self.store.finish(key)
        self.progress.finish(key)

    def _break(self, key: str, sentence: str) -> None:
        self.store.fail(key, sentence, again=True)
        self.progress.fail(key, sentence)

    def _waiting(self) -> None:
        self.progress.note("another paretolm is measuring on this machine; waiting for it to end")

    # --- the worker ---

    def tokens(self, count: int) -> list[int]:
        """The first `count` tokens of the text, for processes that need any; kept, as a worker must find them."""
        key = self._key("tokens", str(count))
        known = self.store.recall(key)
        if known is None:
            known = self._ask(do="tokens", count=count, seed=self.request.seed)
            self.store.remember(key, known)
            self.close()
        return list(known)

    def load_options(self) -> dict[str, Any]:
        request = self.request
        return {"dtype": request.dtype, "device": request.device, "attn_implementation": request.attention}

    def _ask(self, **request: Any) -> Any:
        self._open()
        assert self._worker is not None
        return self._worker.ask(self.progress.hear, **request)

    def _open(self) -> dict[str, Any]:
        """A worker that holds the model, and what it says of it."""
        if self._worker is None:
            self.progress.note("loading the model")
            self._worker = WorkerClient(self.conditions.threads)
            r = self.request
            try:
                self._opened = self._worker.ask(
                    do="open",
                    model=r.model,
                    text=r.text,
                    device=r.device,
                    dtype=r.dtype,
                    attention=r.attention,
                    threads=self.conditions.threads,
                )
            except WorkerDied as death:
                raise CellError(f"the model could not be loaded: {death}") from death
        return self._opened
