"""A made-up comparison with everything a report can hold."""

from __future__ import annotations

import math
import random

from paretolm.bench.results.types import Bytes, CellResult, Comparison, Estimate, Metric, RecipeResult, Series, TaskInfo

LINES = [
    ("dense", (), 1.0, 1.0, 1.0, 1.0),
    ("window(window=512)", ("keep",), 6.4, 0.26, 1.0, 1.10),
    ("streaming-llm(sinks=4, window=508)", ("keep",), 1.09, 0.26, 1.0, 1.08),
    ("lm-infinite", ("attend",), 1.10, 0.27, 1.0, 0.96),
    ("h2o(budget=25%)", ("keep",), 1.05, 0.25, 1.0, 0.91),
    ("snapkv(budget=25%)", ("keep",), 1.02, 0.25, 1.0, 1.12),
    ("kv-quant(bits=4)", ("store",), 1.004, 0.29, 1.0, 0.83),
    ("kv-quant(bits=2)", ("store",), 1.11, 0.17, 1.0, 0.82),
    ("finequant(bits=8)", ("weights",), 1.001, 1.0, 0.53, 0.95),
    ("finequant(bits=4)", ("weights",), 1.03, 1.0, 0.31, 0.90),
    ("streaming-llm(sinks=4, window=508) + kv-quant(bits=4) + finequant(bits=4)", ("keep", "store", "weights"), 1.13, 0.08, 0.31, 0.80),
    ("token-recycling", ("decode",), None, 1.02, 1.0, 1.44),
    ("giraffe(scale=4)", ("frequency",), 1.0, 1.0, 1.0, 1.0),
    ("knn-lm(k=16, lambda_=0.25)", ("logits",), 0.97, 1.0, 1.0, 0.61),
    ("gemfilter(budget=25%) <script>alert('x')</script> שלום 🦊", ("prompt",), None, 0.25, 1.0, 1.3),
]  # fmt: skip
TASKS = (
    TaskInfo("perplexity", "perplexity(length=4096)", "1", "Next-token perplexity of streams read through the cache.", ("perplexity", "kl"), 120, 40, "ab" * 32, ("weights", "keep", "store", "attend", "frequency", "logits")),
    TaskInfo("recall", "recall", "2", "Planted facts asked for at the end of a context.", ("accuracy",), 200, 50, "cd" * 32, ("prompt", "weights", "keep", "store", "attend", "frequency", "logits")),
)  # fmt: skip


def comparison(num_recipes: int | None = None, **changes) -> Comparison:
    dice = random.Random(0)
    recipes = tuple(_recipe(i, *line, dice) for i, line in enumerate(LINES[:num_recipes]))
    facts = {
        "model": "reference",
        "model_hash": "0123456789abcdef" * 4,
        "trained_length": 1024,
        "text": "the embedded text",
        "recipes": recipes,
        "tasks": TASKS,
        "conditions": {"dtype": "float32", "attention": "sdpa", "device": "cpu", "threads": 2, "seed": 0},
        "machine": {"cpu": "Example CPU", "instructions": ["avx2"], "cores": 2, "gpus": []},
        "versions": {"torch": "2.13.0", "transformers": "5.23.0", "paretolm": "0.1.0"},
        "created": "2026-07-01T12:00:00+00:00",
        "seconds": 212.4,
        "computed": 31,
        "reused": 4,
        "store": ".paretolm/results.sqlite",
    }
    return Comparison(**{**facts, **changes})


def _recipe(i, line, slots, factor, kv, weights, speed, dice) -> RecipeResult:
    held = 8_126_464 * kv
    return RecipeResult(
        line=line,
        hash=f"{i:02x}" * 32,
        typed=line,
        cells=(_perplexity(factor, slots, i), _recall(factor, kv, i, dice)),
        kv_bytes=Bytes(held, held * 0.98, held * 1.02, 8_126_464, 4096),
        weight_bytes=Bytes(61_000_000 * weights, 61_000_000 * weights, 61_000_000 * weights, 61_000_000),
        acted={line.split("(")[0]: {"entries_evicted": 1234 * i}} if i else {},
        memory={"held_kv_bytes": held, "steady_kv_bytes": held * 1.03, "peak_kv_bytes": held * 1.4},
        papers=("2309.17453",) if i else (),
        slots=slots,
        speed=None if i == 0 else Metric("speed", True, Estimate(speed, speed - 0.03, speed + 0.03, "ratio", 5, 5)),
        on_frontier=("kv_bytes",) if i in (5, 6, 10) else (),
    )


def _perplexity(factor, slots, i) -> CellResult:
    if factor is None:
        return CellResult("perplexity", "n/a", f"perplexity does not see {slots[0]}")
    if i == 12:
        return CellResult("perplexity", "did not act", "giraffe changed nothing: every counter is zero", chunk=512)
    value = 18.4 * factor
    percent = 100 * (factor - 1)
    metrics = (
        Metric("perplexity", False, Estimate(value, value * 0.95, value * 1.05, "", 120, 40),
               None if i == 0 else Estimate(percent, percent - 0.4, percent + 0.4, "%", 120, 40), 0.6, 0.01),
        Metric("kl", False, Estimate(0.02 + abs(math.log(factor)), 0.01, 0.03 + abs(math.log(factor)), "nats", 120, 40)),
    )  # fmt: skip
    xs = (64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0)
    bend = [
        v * (1 + (factor - 1) * k / 6) * (1 + (0.5 * (k - 4) if k > 4 and i in (0, 6, 8) else 0))
        for k, v in enumerate((31, 26, 23, 20, 18, 17.6, 17.4))
    ]
    series = Series(
        "perplexity", "position", xs, tuple(bend), tuple(v * 0.96 for v in bend), tuple(v * 1.04 for v in bend)
    )
    return CellResult(
        "perplexity", "done", chunk=64 if "keep" in slots else 512, metrics=metrics, series=(series,), seconds=8.2
    )


def _recall(factor, kv, i, dice) -> CellResult:
    if i == 3:
        return CellResult("recall", "failed", "out of memory asking for 2.0 GiB")
    if i == 11:
        return CellResult("recall", "n/a", "recall does not see a way of decoding")
    lengths, depths = (256.0, 512.0, 1024.0, 2048.0), (0.0, 0.25, 0.5, 0.75, 1.0)
    x, y, v = [], [], []
    for length in lengths:
        for depth in depths:
            lost = (1 - kv) * (1 - depth) * (length / 2048) + (0.3 if length > 1024 else 0)
            x.append(length)
            y.append(depth)
            v.append(min(max(0.97 - lost + dice.uniform(-0.06, 0.03), 0), 1))
    mean = sum(v) / len(v)
    delta = (
        None
        if i == 0
        else Estimate(100 * (mean - 0.9), 100 * (mean - 0.9) - 4, 100 * (mean - 0.9) + 4, "points", 200, 50)
    )
    metric = Metric(
        "accuracy", True, Estimate(100 * mean, 100 * mean - 5, 100 * mean + 5, "%", 200, 50), delta, 5.0, 0.2
    )
    grid = Series("accuracy", "length", tuple(x), tuple(v), y_name="depth", y=tuple(y), num_items=(10,) * len(v))
    unseen = ("kv-quant",) if i == 10 else ()
    return CellResult("recall", "done", chunk=None, metrics=(metric,), series=(grid,), unseen=unseen)
