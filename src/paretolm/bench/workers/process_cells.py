"""Speed and memory cells: each in a process of its own, while nothing else runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ...evaluation.memory import measure_memory
from ...evaluation.rows import Row
from ...evaluation.speed import measure_speed
from ..plan import SPEED
from ..records.store import Scored

if TYPE_CHECKING:
    from ..desk import Desk

DECODED = 48
REPEATS = 5
LONGEST = 2048
TIMEOUT_S = 900.0


def process_facts(line: str, model: Mapping[str, Any], threads: int, length: int | None = None) -> dict[str, Any]:
    """As facts.task_facts gives them of a task. length: tokens; by itself the trained length, LONGEST at most."""
    length = length or min(int(model["trained_length"]), LONGEST)
    params: dict[str, Any] = {"length": length, "decoded": DECODED, "threads": threads}
    if line == SPEED:
        params["repeats"] = REPEATS
        title = f"Decoding speed after {length - DECODED} tokens, in turns with the untouched model, as a ratio."
    else:
        title = f"Memory of a fresh process with {length} tokens in the cache."
    return {
        "name": line,
        "line": line,
        "version": "1",
        "title": title,
        "headline": "decode_speed_ratio" if line == SPEED else "steady_kv_bytes",
        "params": params,
        "sees": None,  # everything
        "mode": "process",
        "code": {},
        "num_items": REPEATS if line == SPEED else 1,
        "num_documents": 1,
        "tokens": length,
    }


def measure_process_cell(desk: Desk, kind: str, recipe: str, length: int) -> list[Scored]:
    """One item a repeat. length: tokens. Raises CellError where the process fails."""
    options: dict[str, Any] = {
        "threads": desk.threads,
        "timeout_s": TIMEOUT_S,
        "load_options": desk.load_options(),
    }
    if kind == SPEED:
        ids = desk.tokens(length)
        split = max(1, len(ids) - DECODED)
        cell = measure_speed(desk.request.model, recipe, ids[:split], ids[split:], repeats=REPEATS, **options)
        facts = {
            "mode": cell.mode,
            "chunk": cell.arm.chunk,
            "counters": cell.arm.counters,
            "ceilings": cell.ceilings(),
            "flags": cell.flags,
            "seconds_of": {"recipe": cell.seconds(), "dense": cell.seconds(baseline=True)},
        }
        return _items(cell.rows(), facts)
    memory = measure_memory(desk.request.model, recipe, length, seed=desk.request.seed, **options)
    run = memory.runs[0]
    weights = next(((e.low, e.high) for e in run.ledger if e.name == "weights"), (None, None))
    facts = {
        "counters": run.counters,
        "kinds": run.kinds,
        "prompt": run.seen,
        "kv_bytes": run.values["held_kv_bytes"],
        "index_bytes": run.values["held_index_bytes"],
        "weight_bytes": run.values["held_weight_bytes"],
        "predicted": run.predicted,
        "predicted_weights": weights,
        "ledger": [{**asdict(entry), "difference": entry.difference} for entry in run.ledger],
    }
    return _items(memory.rows(), facts)


def _items(rows: Sequence[Row], facts: Mapping[str, Any]) -> list[Scored]:
    """Rows by item; what holds for all stands with the first."""
    names = list(dict.fromkeys(row.item for row in rows))
    return [
        Scored(name, name, [row for row in rows if row.item == name], facts if i == 0 else {})
        for i, name in enumerate(names)
    ]
