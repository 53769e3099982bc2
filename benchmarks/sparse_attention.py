"""Sparse attention against dense attention, in one run, taking turns; and from which length on each method is faster.

    python benchmarks/sparse_attention.py                            # prompts of 4,096 to 16,384 tokens are read
    python benchmarks/sparse_attention.py --phase decode             # tokens are generated behind them
    python benchmarks/sparse_attention.py --model DIR --lengths 8192 32768 -m 'hip-attention(k=1024)'

A turn is, under each recipe, one prompt read in one forward (prefill), or 32 tokens one by one behind a prompt that was
read before (decode), attention and everything else; the untouched model uses the attention in force (sdpa). The first
turn is not counted: there MInference chooses its patterns. The ratio is dense over sparse of the same turn, above 1
where sparse is faster; density is the share of pairs of query and key that reading a prompt multiplies. Where a paper
names a size it is the method's default. The whole is written as JSON to --json, by itself sparse_PHASE.json in
benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paretolm.evaluation.isolated import run_isolated
from paretolm.evaluation.machine import machine, usable_threads
from paretolm.evaluation.spread import spread
from paretolm.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from paretolm.recipes.session import Session

RECIPES = {
    "prefill": ("power-attention", "minference", "hip-attention", "hyper-attention", "prflash(keep=0.25)"),
    "decode": (
        "quest(budget=1024tok)",
        "token-select(budget=1024tok, n_local=256)",
        "recycled-attention",
        "longheads",
        "infllm",
        "actqkv",
    ),
}
WANTED = 4  # of the methods should read a prompt faster at the largest length
STEPS = 32  # tokens of a turn of decoding
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    options = parse()
    lines, lengths = options.recipes or list(RECIPES[options.phase]), sorted(options.lengths)
    found: dict[int, Any] = {}
    for length in lengths:
        arguments = {"model": options.model, "lines": lines, "length": length, "repeats": options.repeats}
        arguments["phase"] = options.phase
        print(f"{length} tokens, {options.repeats + 1} turns", file=sys.stderr)
        found[length] = run_isolated(f"{Path(__file__).stem}:job", arguments, threads=options.threads)
    summary = summarise(lines, lengths, found)
    report(summary, lines, lengths, options)
    place = options.json or RESULTS / f"sparse_{options.phase}.json"
    kept = {"model": options.model, "machine": str(machine()), "threads": options.threads, **summary}
    write_whole(place, json.dumps(kept, indent=1) + "\n")
    faster = [line for line in lines if summary["recipes"][line]["ratio"][str(lengths[-1])]["low"] > 1]
    print(f"faster than dense at {lengths[-1]} tokens: {len(faster)} of {len(lines)}")
    return 0 if options.phase == "decode" or len(faster) >= min(WANTED, len(lines)) else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="reference")
    parser.add_argument("--phase", choices=sorted(RECIPES), default="prefill")
    parser.add_argument("-m", "--recipe", dest="recipes", action="append")
    parser.add_argument("--lengths", type=int, nargs="+", default=[4096, 8192, 16384])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=usable_threads())
    parser.add_argument("--json", type=Path, help="where the results are written")
    return parser.parse_args()


def job(model: str, lines: list[str], length: int, repeats: int, phase: str) -> dict[str, Any]:
    """Seconds of each turn and the density, by recipe; runs in a process of its own."""
    import paretolm
    from paretolm.evaluation.source import TextSource
    from paretolm.papers.checks._sparse_prefill import pairs, prompt, unread

    names = ["dense", *lines]
    seconds: dict[str, list[float]] = {line: [] for line in names}
    with ExitStack() as stack:
        models = {line: paretolm.load(model) for line in names}  # a model carries one recipe at a time
        sessions = {line: stack.enter_context(paretolm.recipe(line).apply(lm)) for line, lm in models.items()}
        ids = prompt(TextSource.open(), models["dense"], length)
        make = reading if phase == "prefill" else decoding
        turns = {line: make(session, ids) for line, session in sessions.items()}
        for repeat in range(repeats + 1):
            for line in names if repeat % 2 else names[::-1]:
                spent = timed(turns[line])
                if repeat:
                    seconds[line].append(spent)
        every = (repeats + 1) * pairs(models["dense"], length)
        density = {line: 1 - unread(sessions[line]) / every if phase == "prefill" else None for line in names}
    return {"seconds": seconds, "density": density}


def reading(session: Session, ids: Tensor) -> Callable[[], object]:
    return lambda: session.stream().read(ids, last=True, logits=False).logits.argmax(-1).sum().item()


def decoding(session: Session, ids: Tensor) -> Callable[[], object]:
    """The prompt is read here, in chunks; a turn is STEPS tokens behind it, and the text grows from turn to turn."""
    stream = session.stream(ids)
    for start in range(0, ids.shape[1], 512):
        part = ids[:, start : start + 512]
        out = stream.read(part, last=start + 512 >= ids.shape[1], logits=False)
    token = out.logits[:, -1].argmax(-1)[None]

    def generate() -> None:
        nonlocal token
        for _ in range(STEPS):
            token = stream.step(token).logits[:, -1].argmax(-1)[None]

    return generate


def timed(turn: Callable[[], object]) -> float:
    start = time.perf_counter()
    turn()
    return time.perf_counter() - start


def summarise(lines: Sequence[str], lengths: Sequence[int], found: dict[int, Any]) -> dict[str, Any]:
    recipes = {}
    for line in lines:
        ratios = {}
        for length in lengths:
            seconds = found[length]["seconds"]
            ratio = spread([dense / own for dense, own in zip(seconds["dense"], seconds[line], strict=True)])
            ratios[str(length)] = ratio.as_json()
        density = {str(length): found[length]["density"][line] for length in lengths}
        breaks = break_even([(length, ratios[str(length)]["median"]) for length in lengths])
        recipes[line] = {"ratio": ratios, "density": density, "break_even": breaks}
    dense = {str(n): spread(found[n]["seconds"]["dense"]).as_json() for n in lengths}
    return {"dense_seconds": dense, "recipes": recipes, "raw": {str(n): found[n]["seconds"] for n in lengths}}


def break_even(points: Sequence[tuple[int, float]]) -> str:
    """From which length on sparse is faster: on a line through the logarithms of the neighbouring lengths."""
    if points[-1][1] <= 1:
        return f"above {points[-1][0]}"
    if all(ratio > 1 for _, ratio in points):
        return f"below {points[0][0]}"
    (a, low), (b, high) = [pair for pair in pairwise(points) if pair[0][1] <= 1 < pair[1][1]][-1]
    share = -math.log(low) / (math.log(high) - math.log(low))
    return f"about {round(math.exp(math.log(a) + share * math.log(b / a)))}"


def report(summary: dict[str, Any], lines: Sequence[str], lengths: Sequence[int], options: argparse.Namespace) -> None:
    print(f"{options.model} on {machine()}; {options.threads} threads used; dense over sparse, median [interval]")
    width = max(map(len, lines))
    print(" " * width, *(f"{n:>32}" for n in lengths), "  break-even")
    dense = [summary["dense_seconds"][str(n)]["median"] for n in lengths]
    print(f"{'dense':{width}}", *(f"{f'{s:.2f} s':>32}" for s in dense))
    for line in lines:
        one = summary["recipes"][line]
        cells = []
        for n in map(str, lengths):
            r = one["ratio"][n]
            density = "" if one["density"][n] is None else f" at {one['density'][n]:.0%}"
            cells.append(f"{r['median']:.2f} [{r['low']:.2f}, {r['high']:.2f}]{density}")
        print(f"{line:{width}}", *(f"{cell:>32}" for cell in cells), f"  {one['break_even']}")


if __name__ == "__main__":
    sys.exit(main())
