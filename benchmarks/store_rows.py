"""A results file of many rows: how long writing, opening and reading back take.

    python benchmarks/store_rows.py --rows 1000000

Seconds are of the processor (this process's) and of the clock. A cell has 100 items of 500 rows, as perplexity by
position has.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from paretolm.bench.records.store import Scored, Store
from paretolm.evaluation.rows import Row

ITEMS, ROWS = 100, 500


def timed(what: str, work: Callable[[], object]) -> None:
    clock, processor = time.perf_counter(), time.process_time()
    work()
    print(f"| {what} | {time.process_time() - processor:.2f} | {time.perf_counter() - clock:.2f} |", flush=True)


def fill(path: Path, cells: list[str]) -> None:
    with Store(path) as store:
        store.plan({cell: {"recipe": "dense"} for cell in cells})
        for cell in cells:
            for n in range(ITEMS):
                rows = [Row(f"i{n}", f"d{n}", "nll", 2.0 + k / ROWS, 1.0, {"position": k}) for k in range(ROWS)]
                store.add([(cell, Scored(f"i{n}", f"d{n}", rows, {"seconds": 1.0}))])
            store.finish(cell)


def read(path: Path, cells: list[str]) -> None:
    with Store(path) as store:
        assert all(sum(len(one.rows) for one in store.items(cell)) == ITEMS * ROWS for cell in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    cells = [f"{n:064x}" for n in range(parser.parse_args().rows // (ITEMS * ROWS))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.sqlite"
        print("| what | processor, s | clock, s |\n| --- | --- | --- |")
        timed(f"writing {len(cells) * ITEMS * ROWS:,} rows, an item a transaction", lambda: fill(path, cells))
        timed("opening, all pages checked", lambda: Store(path).close())
        timed(f"reading back one cell of {ITEMS * ROWS:,} rows", lambda: read(path, cells[-1:]))
        timed("reading back all of them", lambda: read(path, cells))
        print(f"\n{path.stat().st_size / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
