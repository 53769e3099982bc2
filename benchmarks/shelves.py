"""Every method of a shelf side by side at 10, 25 and 50% of a context of 4,096 tokens, and the records docs/shelves.md is
written from.

    python benchmarks/shelves.py                     # all five shelves, an hour and a half of two cores
    python benchmarks/shelves.py keep --output DIR   # one of them; DIR keeps every cell, so that a stopped run goes on

What holds and reads fewer entries is measured on the embedded model with YaRN in its config, so that the untouched model
knows its way at that length; what changes positions, on the model as it is. The records, results/shelves/NAME.json, hold
what `paretolm compare --json` printed less series, atlas and report.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

CONTEXT, TRAINED = 4096, 1024
BUDGETS = "10%,25%,50%"
LONG = ("keep", "attend", "prompt")  # shelves of methods that leave positions as they are
SHELVES = (*LONG, "index", "frequency")
RECORDS = Path(__file__).parents[1] / "results" / "shelves"


def main() -> int:
    options = parse()
    for shelf in options.shelves or SHELVES:
        model = str(stretched(options.output)) if shelf in LONG else "reference"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "paretolm", "compare", model, "--shelf", shelf, "--budget", BUDGETS),
                *("--context", str(CONTEXT), "--output", str(options.output / shelf), "--json"),
            ],
            check=False,
            stdout=subprocess.PIPE,
            text=True,
        )
        if not done.stdout:
            return done.returncode
        keep(shelf, json.loads(done.stdout))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shelves", nargs="*", metavar="SHELF", help=f"by default {' '.join(SHELVES)}")
    parser.add_argument("--output", type=Path, default=Path(".paretolm/shelves"))
    return parser.parse_args()


def stretched(folder: Path) -> Path:
    """The embedded model for 4,096 tokens, by YaRN in its config."""
    from paretolm.reference import model_path

    place = folder / "reference-4096"
    shutil.copytree(model_path("reference"), place, dirs_exist_ok=True)
    config = json.loads((place / "config.json").read_text())
    rope = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": CONTEXT / TRAINED}
    config["rope_parameters"] = {**rope, "original_max_position_embeddings": TRAINED}
    config["max_position_embeddings"] = CONTEXT
    (place / "config.json").write_text(json.dumps(config, indent=1))
    return place


def keep(shelf: str, found: dict[str, Any]) -> None:
    """Writes the record of one run."""
    recipes = [
        {
            **{name: recipe[name] for name in ("line", "typed", "kv_bytes", "index_bytes", "acted")},
            "cells": [
                {name: cell[name] for name in ("task", "state", "reason", "metrics")} for cell in recipe["cells"]
            ],
        }
        for recipe in found["recipes"]
    ]
    named = ("machine", "versions", "created", "seconds", "computed", "trained_length", "conditions", "tasks", "notes")
    model = "reference, YaRN to 4,096 tokens" if shelf in LONG else "reference"
    record = {"shelf": shelf, "model": model, "context": CONTEXT, **{n: found[n] for n in named}, "recipes": recipes}
    RECORDS.mkdir(parents=True, exist_ok=True)
    (RECORDS / f"{shelf}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
