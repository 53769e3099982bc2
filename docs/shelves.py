"""The page of shelves, from the records that benchmarks/shelves.py keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from paretolm.bench.report import text
from paretolm.bench.results.types import Estimate

from .tables import table

RECORDS = Path(__file__).parents[1] / "results" / "shelves"
ORDER = ("keep", "attend", "prompt", "index", "frequency")
Record = Mapping[str, Any]


def shelves_page() -> Iterator[str]:
    yield "All methods of a shelf in one run, at the same budgets, as `python benchmarks/shelves.py` keeps them in"
    yield "results/shelves. Differences are from the untouched model, paired by document, with 95% intervals. A method"
    yield "without a budget stands once, as it is by itself. What is held is the cache after the prompt; a method that"
    yield "reads less holds all of it. What did not act had no cause to at this length: `just-read-twice` repeats only"
    yield "what fits the trained length twice, `infini-retri`, `xl3m` and `longheads` cut only what is longer than it,"
    yield "`hyper-attention` reads up to 4,096 entries exactly; `infllm` and `actqkv` look up as many blocks as there are."
    for name in ORDER:
        if (path := RECORDS / f"{name}.json").exists():
            yield from ("", f"## {name}", "", *_shelf(json.loads(path.read_text(encoding="utf-8"))))


def _shelf(record: Record) -> Iterator[str]:
    tasks = record["tasks"]
    counts = "; ".join(f"{t['name']}: {t['num_items']} items of {t['num_documents']} documents" for t in tasks)
    spent, machine = text.seconds(record["seconds"]), record["machine"]
    yield f"Model: {record['model']}. {counts}. Taken in {spent} on {machine['threads']} threads of {machine['cpu']}."
    yield from (f"{note}" for note in record["notes"])
    seen = (f"{t['metrics'][0]} {least}" for t in tasks if (least := _smallest(record, t)))
    yield f"The smallest difference that could have been seen, in the median recipe: {', '.join(seen)}."
    yield ""
    yield from table(["recipe", *(t["metrics"][0] for t in tasks), "held"], (_row(r, tasks) for r in record["recipes"]))


def _row(recipe: Record, tasks: list[Record]) -> list[str]:
    cells = {cell["task"]: cell for cell in recipe["cells"]}
    name = recipe["typed"]
    return [f"`{name}`", *(_cell(cells.get(t["name"]), t) for t in tasks), _held(recipe["kv_bytes"])]


def _cell(cell: Record | None, task: Record) -> str:
    metric = _metric(cell, task)
    if cell is None or metric is None or cell["state"] != "done":
        return cell["state"] if cell else "–"
    shown = text.number(Estimate(**metric["estimate"]))
    if metric["delta"] is None:
        return shown
    delta = Estimate(**metric["delta"])
    return f"{shown} ({text.signed(delta)} {text.interval(delta, sign=True)})"


def _metric(cell: Record | None, task: Record) -> Record | None:
    return next((m for m in cell["metrics"] if m["name"] == task["metrics"][0]), None) if cell else None


def _smallest(record: Record, task: Record) -> str:
    """The median of the recipes' smallest detectable effects on a task; '' where there is none."""
    cells = [c for r in record["recipes"] for c in r["cells"] if c["task"] == task["name"]]
    metrics = [m for c in cells if (m := _metric(c, task)) and m["smallest_effect"] is not None and m["delta"]]
    found = sorted(m["smallest_effect"] for m in metrics)
    if not found:
        return ""
    unit = metrics[0]["delta"]["unit"]
    return f"{text.digits(found[len(found) // 2])}{'%' if unit == '%' else f' {unit}'}"


def _held(held: Record | None) -> str:
    if held is None:
        return "–"
    return " ".join(filter(None, (text.size(held["held"]), text.share(held["held"], held["dense"]))))
