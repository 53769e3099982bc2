"""What the judge costs: a quality cell of the untouched model beside bare forwards over the same tokens.

    python benchmarks/judge_overhead.py                          # the embedded model and text
    python benchmarks/judge_overhead.py --model DIR --length 2048 --json

Three arms take turns in one process: the judge (items, prompts, scores, rows in a results file on the disk), forwards
of the same sizes through the model's own cache, and one whole forward a stream; the bare ones keep the logits of
every token and do nothing with them. It passes when the judge takes at most 10% more than the same forwards, by the
median of the ratios within a turn. Seconds of the clock and of the processor are given: on a busy machine the second
are the better witness, but only the first hold the waiting for the disk. The judge asks a prompt for the logits of its
last token only, which is part of what it saves to pay for the rest. What is done once a task (its items, the results
file) weighs more on less text: half a second of forwards, --length 512 --streams 4, is too little to pass. What the
judge's check of itself adds, once a task of several recipes, is timed apart.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import DynamicCache

import paretolm
from paretolm.bench.records.store import Store
from paretolm.bench.workers.arm import make_arm
from paretolm.bench.workers.audit import Auditor
from paretolm.bench.workers.facts import parse_task
from paretolm.bench.workers.measure import PREFILL_CHUNK, TaskRun
from paretolm.bridge.lm import LM
from paretolm.evaluation.machine import machine
from paretolm.evaluation.source import TextSource
from paretolm.evaluation.spread import spread
from paretolm.evaluation.streams import chunks
from paretolm.evaluation.task import DEFAULT_CHUNK, Item
from paretolm.recipes.recipe import Recipe

MOST = 1.10
Seconds = tuple[float, float]  # of the clock, of the processor


def main() -> int:
    options = parse()
    torch.set_num_threads(options.threads)
    lm, source = paretolm.load(options.model), TextSource.open(options.text)
    line = f"perplexity(length={options.length}, streams={options.streams}, audit=0)"
    items = parse_task(line, 0).items(source, lm)
    arms: dict[str, Callable[[], object]] = {
        "judge": lambda: judge(lm, source, line, ["dense"]),
        "bare": lambda: bare(lm, items),
        "whole": lambda: whole(lm, items),
    }
    turns = interleaved(arms, options.repeats)
    found = {
        "task": line,
        "model": options.model,
        "threads": options.threads,
        "tokens": sum(item.data["stream"].length for item in items),
        "ratios": {
            f"judge / {other} ({clock})": spread([t["judge"][i] / t[other][i] for t in turns]).as_json()
            for other in ("bare", "whole")
            for i, clock in enumerate(("wall", "cpu"))
        },
        "check_of_itself": own_check(lm, source, line, options.repeats),
        "turns": turns,
        "machine": machine().as_json(),
    }
    passed = report(found)
    if options.json:
        print(json.dumps({**found, "passed": passed}))
    return 0 if passed else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="reference")
    parser.add_argument("--text", help="a text file or a folder; the embedded text by default")
    parser.add_argument("--length", type=int, default=1024, help="tokens of a stream")
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    return parser.parse_args()


def interleaved(arms: dict[str, Callable[[], object]], repeats: int) -> list[dict[str, Seconds]]:
    """Every arm once a turn, in another order each time, after one turn that does not count."""
    names, turns = list(arms), []
    for turn in range(repeats + 1):
        order = names[turn % len(names) :] + names[: turn % len(names)]
        turns.append({name: timed(arms[name]) for name in order})
    return turns[1:]


def timed(run: Callable[[], object]) -> Seconds:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def judge(lm: LM, source: TextSource, line: str, recipes: Sequence[str], check: bool = False) -> None:
    """As a worker measures these cells of one task."""
    with tempfile.TemporaryDirectory() as place, Store(Path(place) / "results.sqlite") as store:
        store.plan({recipe: {} for recipe in recipes})
        store.claim(recipes)
        task = parse_task(line, 0)
        items = task.items(source, lm)
        names = {item.id for item in items}
        arms = [make_arm(lm, recipe, Recipe.parse(recipe), {}, set(names)) for recipe in recipes]
        audit = Auditor("dense") if check else None
        TaskRun(lm, task, items, arms, store, lambda _: None, audit=audit, text=source.data_hash).run()


@torch.inference_mode()
def bare(lm: LM, items: Sequence[Item]) -> None:
    """The forwards that the judge does, and nothing else."""
    for item in items:
        ids, cache = item.data["stream"].ids, DynamicCache(config=lm.model.config)
        parts = [*chunks(0, item.prompt_length, PREFILL_CHUNK)]
        parts += chunks(item.prompt_length, ids.shape[1] - 1, DEFAULT_CHUNK)
        for start, end in parts:
            lm.model(input_ids=ids[:, start:end], past_key_values=cache, use_cache=True)


@torch.inference_mode()
def whole(lm: LM, items: Sequence[Item]) -> None:
    for item in items:
        lm.model(input_ids=item.data["stream"].ids[:, :-1], use_cache=False)


def own_check(lm: LM, source: TextSource, line: str, repeats: int) -> dict[str, object]:
    """Share of the time of a task with two recipes that the judge spends on checking itself."""
    recipes = ["dense", "snapkv(budget=25%)", "window(window=128)"]
    arms = {str(check): (lambda check=check: judge(lm, source, line, recipes, check)) for check in (True, False)}
    turns = interleaved(arms, max(3, repeats // 2))
    return {"recipes": recipes, "ratio (cpu)": spread([t["True"][1] / t["False"][1] for t in turns]).as_json()}


def report(found: dict[str, object]) -> bool:
    print(f"{found['model']}, {found['task']}, {found['tokens']} tokens, {found['threads']} threads, {machine()}")
    ratios: dict[str, dict[str, float]] = found["ratios"]  # type: ignore[assignment]
    for name, ratio in ratios.items():
        print(f"{name:>22}: {ratio['median']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]")
    check: dict[str, dict[str, float]] = found["check_of_itself"]  # type: ignore[assignment]
    print(f"with its check of itself, dense and two recipes: {check['ratio (cpu)']['median']:.3f} of the time without")
    passed = all(ratios[f"judge / bare ({clock})"]["median"] <= MOST for clock in ("wall", "cpu"))
    print(f"the judge adds at most {100 * (MOST - 1):.0f}%: {'yes' if passed else 'no'}")
    return passed


if __name__ == "__main__":
    sys.exit(main())
