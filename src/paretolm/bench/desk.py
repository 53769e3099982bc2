"""The work of one comparison: facts, cells, who measures them, and what to do when a process dies."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from ..bridge.content import CONFIG, content_hash, contents, read_json, weight_files
from ..bridge.locate import locate
from ..bridge.safetensors_check import read_header
from ..errors import ParetoError, UserError
from ..evaluation.machine import usable_threads
from ..evaluation.source import TextSource
from .cluster.staff import crew_of
from .plan import DENSE, PROCESS_TASKS, Cell, facts_key, still_true
from .progress import Progress
from .records.keys import Conditions, device_kind, digest, file_hash, library_versions
from .records.place import store_file
from .records.record import make_record
from .records.store import Scored, Store
from .shares import rounds
from .sweep import Sweep
from .until import Docket, Job, Sure
from .workers.process_cells import measure_process_cell, process_facts
from .workers.turns import turn

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
    sure: Sure | None = None  # scoring ends where a recipe is decided
    sweep: Sweep = field(default_factory=Sweep)
    workers: str | None = None  # how many processes here, or which cluster

    @property
    def opening(self) -> dict[str, Any]:
        """What a worker is told to open."""
        return {
            "model": self.model,
            "text": self.text,
            "device": self.device,
            "dtype": self.dtype,
            "attention": self.attention,
        }

    @property
    def store_path(self) -> Path:
        return store_file(self.output)


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
        self.threads = request.threads or usable_threads()  # of the whole call
        self.measured = 0  # cells that this call brought to an end
        self.crew = crew_of(request, self.directory, self.source, self.threads, self._hear)
        self.docket = Docket(request.sure, store, ())
        self._alone: dict[str, str] = {}  # lines of recipes that read their own prompts -> what they fit
        self._dense: dict[str, str] = {}  # task -> key of the untouched model's cell
        self._states: dict[str, str] = {}  # of all cells, when they were last asked for
        self._lock = Lock()

    def close(self) -> None:
        self.crew.close()

    # --- facts ---

    @cached_property
    def conditions(self) -> Conditions:
        """The model as it was opened, so that asking for what is the default anyway changes nothing."""
        device, accelerator = device_kind(self.request.device)
        return Conditions(
            content=content_hash(self.directory),
            **asdict(contents(self.directory)),
            device=device,
            accelerator=accelerator,
            dtype=self.model["dtype"],
            attention=self.model["attention"],
            threads=self.crew.threads,
            seed=self.request.seed,
            versions=library_versions(),
        )

    @cached_property
    def model(self) -> dict[str, Any]:
        asked = {name: value for name, value in self.request.opening.items() if name not in ("model", "text")}
        opened = {**asked, "content": content_hash(self.directory), "versions": library_versions()}
        key = digest(facts_key("model", "", accelerator=device_kind(self.request.device)[1], **opened))
        known = self.store.recall(key)
        if known is None:
            known = self.crew.open()
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
            found = self.crew.ask(
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
        processes = {line: process_facts(line, self.model, self.threads) for line in tasks if line in PROCESS_TASKS}
        plans = {text: known["recipes", text] for text in recipes}
        self._alone |= {f["line"]: " ".join(f["fits"]) for f in plans.values() if f.get("reads_alone")}
        return (
            plans,
            {line: processes.get(line) or known["tasks", line] for line in tasks},
        )

    def _key(self, what: str, text: str) -> str:
        file = file_hash(Path(text)) if text.endswith(".toml") else ""
        more = {"seed": self.request.seed, "limit": self.request.limit} if what == "task" else {"file": file}
        return digest(facts_key(what, self.source.data_hash, opened=asdict(self.conditions), text=text, **more))

    def _recall(self, key: str) -> dict[str, Any] | None:
        known = self.store.recall(key)
        return known if known and still_true(known) else None

    # --- measuring ---

    def measure(self, cells: Sequence[Cell], lines: Mapping[str, str], docket: Docket | None = None) -> None:
        """Measures what is not settled yet. lines: recipe as typed -> full; docket: what is open, where not all is."""
        self.docket = docket or Docket(self.request.sure, self.store, cells)
        self.store.plan({c.key: self._record(c, lines[c.recipe]) for c in cells})
        self._dense = {c.task: c.key for c in cells if c.recipe == DENSE and c.kind == "quality"}
        todo = self._open_cells(cells)
        self.progress.plan({c.key: f"{c.recipe}: {c.task}" for c in todo})
        broken = self.docket.lost
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

    def _record(self, cell: Cell, recipe: str) -> dict[str, Any]:
        asked = {**self.request.opening, "threads": self.threads, "seed": self.request.seed}
        asked |= {"limit": self.request.limit, "chunk": self.request.chunk}
        if self.request.workers and cell.kind == "quality":  # one worker repeats it, wherever several were
            asked |= {"threads": self.crew.threads, "workers": "1"}
        assert cell.inputs is not None
        return make_record(recipe, cell.task, asked, self.conditions, cell.inputs).to_meta()

    def _open_cells(self, cells: Sequence[Cell]) -> list[Cell]:
        self._states = {key: record.state for key, record in self.store.cells([c.key for c in cells]).items()}
        return [c for c in cells if self.docket.is_open(c, self._states)]

    def _measure_quality(self, cells: Sequence[Cell], lines: Mapping[str, str]) -> set[str]:
        """Keys of the cells that broke."""
        request, jobs, rules = self.request, dict[str, Job](), dict[str, Any]()
        for c in cells:
            told = {"key": c.key, "recipe": lines[c.recipe], "task": c.task, "needs": c.needs}
            jobs.setdefault(c.task, []).append(told)
        for task, job in jobs.items():
            jobs[task], rules[task] = self.docket.told(task, job, self._states)
        ruled = {task for task, rule in rules.items() if rule}
        for side_by_side in rounds(jobs, ruled, set(self._dense.values()), self._alone, self.crew.size):
            died = self.crew.measure(
                side_by_side,
                sure=rules,
                only=self.docket.only,
                dense=self._dense,
                store=str(request.store_path.resolve()),
                seed=request.seed,
                chunk=request.chunk,
                limit=request.limit,
            )
            for key, why in died.items():
                self._break(key, why)
        states = self.store.cells([c.key for c in cells])
        return {key for key, record in states.items() if record.state == "broken"}

    def _measure_process(self, cell: Cell, lines: Mapping[str, str]) -> set[str]:
        assert cell.inputs is not None
        if not self.store.claim([cell.key]):
            return set()
        self.progress.note(f"{cell.recipe}: {cell.kind}, nothing else runs meanwhile")
        try:
            items = measure_process_cell(self, cell.kind, lines[cell.recipe], cell.inputs.params["length"])
        except ParetoError as error:
            self._break(cell.key, " ".join(str(error).split()), again=not isinstance(error, UserError))
            return {cell.key}
        self._keep(cell.key, items)
        return set()

    def _keep(self, key: str, items: Sequence[Scored]) -> None:
        self.store.add([(key, item) for item in items])
        self.store.finish(key)
        self._hear({"event": "done", "cell": key})

    def _break(self, key: str, sentence: str, again: bool = True) -> None:
        self.store.fail(key, sentence, again=again)
        self._hear({"event": "failed", "cell": key, "reason": sentence})

    def _hear(self, event: Mapping[str, Any]) -> None:
        with self._lock:  # workers are heard side by side
            self.measured += event["event"] in ("done", "failed")
            self.progress.hear(event)

    def _waiting(self) -> None:
        self.progress.note("another paretolm is measuring on this machine; waiting for it to end")

    def ask_once(self, what: str, text: str, **request: Any) -> Any:
        """What a worker answers to `do=what`, kept under text, and asked for where it is not known."""
        key = self._key(what, text)
        known = self.store.recall(key)
        if known is None:
            known = self.crew.ask(do=what, **request)
            self.store.remember(key, known)
        return known

    # --- what processes need ---

    def tokens(self, count: int) -> list[int]:
        """The first `count` tokens of the text, for processes that need any; kept, as a worker must find them."""
        key = self._key("tokens", str(count))
        known = self.store.recall(key)
        if known is None:
            known = self.crew.ask(do="tokens", count=count, seed=self.request.seed)
            self.store.remember(key, known)
            self.close()
        return list(known)

    def load_options(self) -> dict[str, Any]:
        request = self.request
        return {"dtype": request.dtype, "device": request.device, "attn_implementation": request.attention}
