"""Training steps with the allocator as it is, and with freed memory kept: a ratio, measured in turns.

    python benchmarks/training_allocator.py --run reference-cpu --dtype bfloat16

Each turn is two fresh processes on random token ids, in either order, one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import torch

from paretolm.bridge.fresh import new_model
from paretolm.training.allocator import OFF, keep_freed_memory
from paretolm.training.contracts import Batch
from paretolm.training.settings import read_run


def main() -> None:
    options = parse()
    if options.child:
        print(json.dumps(steps(options)))
        return
    ratios = []
    for turn in range(options.turns):
        pair = {plain: child(plain) for plain in ((True, False) if turn % 2 else (False, True))}
        ratios.append(pair[False] / pair[True])
        print(f"turn {turn + 1}: as it is {pair[True]:,.0f}, kept {pair[False]:,.0f} tokens/s, {ratios[-1]:.2f}x")
    print(f"median {statistics.median(ratios):.2f}x, from {min(ratios):.2f} to {max(ratios):.2f}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="reference-cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="forward and backward passes of one micro-batch")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def child(plain: bool) -> float:
    """Tokens a second of a fresh process."""
    done = subprocess.run(
        [sys.executable, *sys.argv, "--child"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | ({OFF: "1"} if plain else {}),
    )
    return float(json.loads(done.stdout))


def steps(options: argparse.Namespace) -> float:
    keep_freed_memory()
    run = read_run(options.run)
    config = run.architecture.config(8192, run.sequence_length, {"bos": 0, "eos": 1, "pad": 2})
    model = new_model(run.architecture.model_type(), config, 0)
    batch = Batch(torch.randint(8192, (run.micro_batch_size, run.sequence_length)))
    rates = []
    for _ in range(options.steps):
        start = time.perf_counter()
        with torch.autocast("cpu", getattr(torch, options.dtype), enabled=options.dtype != "float32"):
            loss = run.objective.loss(model, batch)
        loss.backward()
        model.zero_grad(set_to_none=True)
        rates.append(batch.ids.numel() / (time.perf_counter() - start))
    return statistics.median(rates[2:])


if __name__ == "__main__":
    main()
