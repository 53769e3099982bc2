"""rerun: measures stored cells again, each from its record alone, and compares row by row."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import CallError, ParetoError
from ..evaluation.spread import spread
from .desk import Desk, Request
from .plan import Cell, make_cells
from .progress import Progress
from .records.keys import digest
from .records.place import store_file
from .records.record import Record, read_record, what_is_gone, what_is_new
from .records.store import CellRecord, Scored, Store

SHOWN = 12  # digits of a key
_SETTLED = ("done", "partial")
_OF_A_PROCESS = ("steady_", "peak_")

State = Literal["equal", "differs", "gone", "failed"]


@dataclass(frozen=True)
class Repeated:
    """One cell, measured again.

    gone: model, text or data are not what they were, so nothing was measured; failed: there was nothing to compare
    with, or nothing came of it; why says so. new: what else is not as it was. largest: difference of the row that
    differs most, named by `where`. A timing is equal where the intervals of then and now overlap.
    """

    key: str
    kind: str
    recipe: str
    task: str
    state: State
    why: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    num_rows: int = 0
    num_different: int = 0
    largest: float = 0.0
    where: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def results_file(output: Path) -> Path:
    """Raises CallError where there is none."""
    path = store_file(output)
    if not path.is_file():
        raise CallError(f"there is no results file {path}: paretolm compare makes one, or give another --output_path")
    return path


def find(store: Store, name: str) -> list[str]:
    """The keys of a run's cells by its number, or the one key that begins so. Raises CallError."""
    runs = {str(run.id): run for run in store.runs()}
    if name in runs:
        return list(runs[name].request.get("cells", ()))
    found = store.cell_keys(name) if name else []
    if len(found) == 1 or name in found:
        return [name] if name in found else found
    if found:
        some = ", ".join([*map(_label, store.cells(found[:4]).values()), *(["..."] if len(found) > 4 else [])])
        raise CallError(f"{len(found)} cells begin with {name!r} ({some}): give more of the key")
    near = difflib.get_close_matches(name, [*runs, *(k[:SHOWN] for k in store.cell_keys())], n=3, cutoff=0.4)
    told = f"the nearest are {', '.join(near)}; " if near else ""
    raise CallError(f"there is no cell and no run {name!r} in {store.path}: {told}paretolm rerun lists them")


def _label(record: CellRecord) -> str:
    return f"{record.key[:SHOWN]} {record.meta.get('recipe')}: {record.meta.get('task')}"


def rerun(store: Store, keys: Sequence[str], progress: Progress | None = None) -> list[Repeated]:
    """Each cell as it is measured again, in the order given; the store is only read."""
    found: dict[str, Repeated] = {}
    calls: dict[str, list[Again]] = {}
    for cell in store.cells(keys).values():
        again = _again(cell)
        if isinstance(again, Repeated):
            found[cell.key] = again
        else:
            calls.setdefault(digest([again.record.request, again.record.directory]), []).append(again)
    for call in calls.values():
        found |= {one.key: one for one in _repeat(store, call, progress or Progress())}
    return [found[key] for key in keys if key in found]


@dataclass(frozen=True)
class Again:
    """A cell to be measured again."""

    record: Record
    found: Repeated


def _again(cell: CellRecord) -> Again | Repeated:
    kind, recipe, task = (str(cell.meta.get(name)) for name in ("kind", "recipe", "task"))
    found = Repeated(cell.key, kind, recipe, task, "failed")
    if cell.state not in _SETTLED:
        return replace(found, why=(f"there is nothing to compare with: the cell is {cell.state}",))
    record = read_record(cell.meta)
    if record is None:
        why = "an older paretolm kept too little of this cell to repeat it; paretolm compare measures it anew"
        return replace(found, why=(why,))
    return Again(record, found)


def _repeat(store: Store, call: Sequence[Again], progress: Progress) -> list[Repeated]:
    """Cells of one call, by the same workers."""
    first = call[0].record
    with tempfile.TemporaryDirectory() as place, _where(first), Store(Path(place) / "results.sqlite") as other:
        try:
            desk = Desk(_request(call, Path(place)), other, progress)
        except ParetoError as error:
            return [_gone(one.found, error) for one in call]
        try:
            return _measured(store, call, desk)
        finally:
            desk.close()


@contextmanager
def _where(record: Record) -> Iterator[None]:
    """Where the paths of the record begin, if that place is still there."""
    with chdir(record.directory if Path(record.directory).is_dir() else os.getcwd()):
        yield


def _request(call: Sequence[Again], place: Path) -> Request:
    recipes, tasks = ({getattr(one.record, name): None for one in call} for name in ("recipe", "task"))
    return Request(recipes=tuple(recipes), tasks=tuple(tasks), output=place, **call[0].record.request)


def _gone(found: Repeated, error: object) -> Repeated:
    return replace(found, state="gone", why=(" ".join(str(error).split()),))


def _measured(store: Store, call: Sequence[Again], desk: Desk) -> list[Repeated]:
    ready = [_ready(one, desk) for one in call]
    cells = [cell for _, cell in ready if cell.inputs]
    desk.measure(cells, {cell.recipe: cell.recipe for cell in cells})
    states = desk.store.cells([cell.key for cell in cells])
    done = []
    for found, cell in ready:
        if not cell.inputs:
            done.append(found)
        elif states[cell.key].state != "done":
            done.append(replace(found, why=(states[cell.key].error or "it was not measured",)))
        else:
            compare = _overlapping if cell.kind == "speed" else _compared
            done.append(compare(found, store.items(found.key), desk.store.items(cell.key)))
    return done


def _ready(one: Again, desk: Desk) -> tuple[Repeated, Cell]:
    """The cell as it would be measured now; without inputs where there is nothing left to repeat."""
    record, nothing = one.record, Cell(one.record.recipe, one.record.task)
    try:
        recipes, tasks = desk.describe([record.recipe], [record.task])
    except ParetoError as error:
        return _gone(one.found, error), nothing
    if "error" in recipes[record.recipe]:
        return _gone(one.found, recipes[record.recipe]["error"]["message"]), nothing
    params = {"limit": desk.request.limit, "chunk": desk.request.chunk}
    (cell,) = make_cells(desk.conditions, recipes, tasks, params, desk.source.data_hash)
    if cell.inputs is None:
        return _gone(one.found, cell.reason), nothing
    if gone := what_is_gone(record, desk.conditions, cell.inputs):
        return replace(one.found, state="gone", why=tuple(gone)), nothing
    return replace(one.found, new=tuple(what_is_new(record, desk.conditions, cell.inputs))), cell


Rows = Mapping[tuple[Any, ...], float]


def _rows(items: Sequence[Scored]) -> Rows:
    return {(*row.key, row.weight): row.value for one in items for row in one.rows if _repeats(row.metric)}


def _repeats(metric: str) -> bool:
    """Bytes of a process depend on what the system did meanwhile; bytes held do not."""
    return not metric.startswith(_OF_A_PROCESS)


def _compared(found: Repeated, before: Sequence[Scored], after: Sequence[Scored]) -> Repeated:
    """Bit by bit, over the items that were measured then."""
    then = _rows(before)
    now = _rows([one for one in after if one.item in {old.item for old in before}])
    odd = sorted(map(str, then.keys() ^ now.keys()))
    gaps = {key: abs(value - now[key]) for key, value in then.items() if key in now and value != now[key]}
    worst = max(gaps, key=lambda key: gaps[key], default=None)
    why = [f"{len(odd)} rows are in one of the two only, as {odd[0]}"] if odd else []
    if found.kind == "memory":
        why.append("of a process only the bytes held are compared; steady and peak bytes are not the same twice")
    return replace(
        found,
        state="differs" if odd or gaps else "equal",
        why=tuple(why),
        num_rows=len(then),
        num_different=len(gaps) + len(odd),
        largest=gaps[worst] if worst else 0.0,
        where=f"{worst[2]} of {worst[0]}" if worst else "",
    )


def _overlapping(found: Repeated, before: Sequence[Scored], after: Sequence[Scored]) -> Repeated:
    """Of timings only the intervals can be compared."""
    then, now = (spread(_ratios(items)) for items in (before, after))
    told = f"timings are never bit-exact: the ratio was {then}, is {now}"
    state: State = "equal" if then.low <= now.high and now.low <= then.high else "differs"
    return replace(
        found,
        state=state,
        why=(told,),
        num_rows=then.n,
        largest=abs(then.median - now.median),
        where="decode_speed_ratio",
    )


def _ratios(items: Sequence[Scored]) -> list[float]:
    return [row.value for one in items for row in one.rows if row.metric == "decode_speed_ratio"]
