"""KV memory of eviction recipes beside dense: bytes held, steady bytes of fresh processes, peak.

    python benchmarks/kv_memory.py                        # the embedded model, 8192 tokens, 5 processes each
    python benchmarks/kv_memory.py --model DIR -m 'h2o(budget=10%)' --length 4096

A quarter of the cache passes when the bytes held are 25% of dense within one point and the steady bytes above
the weights are at most 35% of dense, the median of the processes.
"""

from __future__ import annotations

import argparse
import json
import sys

from paretolm.evaluation.isolated import size_text
from paretolm.evaluation.memory import MemoryCell, measure_memory

RECIPES = ("snapkv(budget=25%)", "h2o(budget=25%)", "streaming-llm(sinks=4, window=2044)")
HELD_SHARE, HELD_TOLERANCE, STEADY_SHARE = 0.25, 0.01, 0.35
_COLUMNS = ("held_kv_bytes", "held_index_bytes", "steady_kv_bytes", "peak_kv_bytes")


def main() -> int:
    options = parse()
    cells = {line: measure(line, options) for line in ("dense", *options.recipes)}
    dense = cells.pop("dense")
    report(dense, cells, options)
    verdicts = {line: verdict(cell.shares(dense)) for line, cell in cells.items()}
    if options.json:
        shares = {line: cell.shares(dense) for line, cell in cells.items()}
        every = {"dense": dense, **cells}
        print(json.dumps({"shares": shares, "passed": verdicts, "cells": {k: c.as_json() for k, c in every.items()}}))
    return 0 if all(verdicts.values()) else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="reference")
    parser.add_argument("-m", "--recipe", dest="recipes", action="append", help="any recipe that holds a quarter")
    parser.add_argument("--length", type=int, default=8192)
    parser.add_argument("--runs", type=int, default=5, help="fresh processes a recipe")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args()
    options.recipes = options.recipes or list(RECIPES)
    return options


def measure(recipe: str, options: argparse.Namespace) -> MemoryCell:
    print(f"{recipe}: {options.runs} processes", file=sys.stderr)
    return measure_memory(options.model, recipe, options.length, runs=options.runs, threads=options.threads)


def verdict(shares: dict[str, float]) -> bool:
    held = abs(shares["held_kv_bytes"] - HELD_SHARE) <= HELD_TOLERANCE
    return held and shares["steady_kv_bytes"] <= STEADY_SHARE


def report(dense: MemoryCell, cells: dict[str, MemoryCell], options: argparse.Namespace) -> None:
    first = dense.runs[0]
    print(f"{options.model}, {first.seen} tokens through the cache, median of {len(dense.runs)} fresh processes")
    print(f"steady: {first.kinds['steady']}; peak: {first.kinds['peak']}; both above the process with an empty cache")
    width = max(map(len, ["dense", *cells]))
    print(" " * width, *(f"{name.removesuffix('_bytes'):>22}" for name in _COLUMNS))
    for line, cell in {"dense": dense, **cells}.items():
        shares, medians = cell.shares(dense), cell.medians()
        texts = [
            f"{size_text(medians[c])} ({shares[c]:.1%})" if c in shares else size_text(medians[c]) for c in _COLUMNS
        ]
        passed = "" if cell is dense else "  pass" if verdict(shares) else "  FAIL"
        print(f"{line:{width}}", *(f"{text:>22}" for text in texts), passed)


if __name__ == "__main__":
    sys.exit(main())
