"""Facts and tables of sampled lengths: a sheet a prompt, and what a predictor fitted to other prompts says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..evaluation import statistics as st
from ..evaluation.metrics.ridge import ridge
from ._sampling import LIMIT
from .study import Column, Figure, Line, Number, Table

FOLDS = 5
PERCENTILES = (25, 50, 75, 99)
DEGENERATE = 0.5  # share of runs of four tokens that stood there before
SHOWN = 10  # prompts in the printed table


def crossed(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Each y [n] as told by a fit to the other folds, and by their plain mean."""
    fold = np.random.default_rng(seed).permutation(np.arange(len(y)) % FOLDS)
    told, mean = np.empty(len(y)), np.empty(len(y))
    for i in range(FOLDS):
        out = fold == i
        told[out] = ridge(x[~out], y[~out])(x[out])
        mean[out] = y[~out].mean()
    return told, mean


def sheet(model: str, fact: Mapping[str, Any], settings: Mapping[str, Any], seed: int) -> dict[str, Any]:
    lengths = fact["lengths"]
    order = np.argsort(lengths, kind="stable")
    return {
        "model": model,
        **{k: fact[k] for k in ("prompt_id", "prompt", "prompt_tokens", "lengths", "ended")},
        "mean": float(np.mean(lengths)),
        "std": float(np.std(lengths, ddof=1)),
        "percentiles": {f"p{p}": float(np.percentile(lengths, p)) for p in PERCENTILES},
        "shortest": fact["texts"][order[0]],
        "longest": fact["texts"][order[-1]],
        "degenerate": [r > DEGENERATE for r in fact["repeated"]],
        "settings": {**settings, "seed": seed},
    }


def numbers_of(sheets: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Number]:
    """Prompts are the units of every interval."""
    size = len(sheets)

    def mean(values: Sequence[float], unit: str) -> Number:
        clusters = st.clustered(values, [1.0] * size, [s["prompt_id"] for s in sheets])
        return Number(clusters.mean, unit, *st.interval(clusters, seed), size)

    ours = [abs(s["predicted"] - s["mean"]) for s in sheets]
    plain = [abs(s["global_mean"] - s["mean"]) for s in sheets]
    return {
        "mean length": mean([s["mean"] for s in sheets], "tokens"),
        "deviation within a prompt": mean([s["std"] for s in sheets], "tokens"),
        "relative deviation within a prompt": mean([100 * s["std"] / s["mean"] for s in sheets], "%"),
        "samples cut at the limit": mean([100 * float(np.mean([e == LIMIT for e in s["ended"]])) for s in sheets], "%"),
        "degenerate samples": mean([100 * float(np.mean(s["degenerate"])) for s in sheets], "%"),
        "absolute error of the predictor": mean(ours, "tokens"),
        "absolute error of the global mean": mean(plain, "tokens"),
        "error saved by the predictor": mean([b - a for a, b in zip(ours, plain, strict=True)], "tokens"),
    }


def overview(model: str, sheets: Sequence[Mapping[str, Any]]) -> Table:
    lengths = np.array([s["lengths"] for s in sheets])
    means = np.array([s["mean"] for s in sheets])
    bad = np.array([s["degenerate"] for s in sheets])
    cells = [
        (Column("prompts"), len(sheets)),
        (Column("samples"), int(lengths.size)),
        (Column("mean", "tokens", ".1f"), float(lengths.mean())),
        *((Column(f"p{p}", "tokens", ".0f"), float(np.percentile(lengths, p))) for p in PERCENTILES),
        (Column("deviation of prompts' means", "tokens", ".1f"), float(means.std(ddof=1))),
        (Column("mean deviation within a prompt", "tokens", ".1f"), float(np.mean([s["std"] for s in sheets]))),
        (
            Column("cut at the limit", "%", ".1f"),
            100 * float(np.mean([[e == LIMIT for e in s["ended"]] for s in sheets])),
        ),
        (Column("degenerate", "%", ".1f", "half of the runs of four tokens stood there before"), 100 * bad.mean()),
        (Column("prompts with a degenerate one", "%", ".1f"), 100 * bad.any(axis=1).mean()),
    ]
    columns, row = zip(*cells, strict=True)
    return Table(f"{model}: lengths of samples", columns, (row,))


def error_table(model: str, numbers: Mapping[str, Number]) -> Table:
    names = ("absolute error of the predictor", "absolute error of the global mean", "error saved by the predictor")
    rows = tuple((name, numbers[name].value, numbers[name].low, numbers[name].high) for name in names)
    columns = (
        Column("a prompt's mean length, held out"),
        *(Column(c, "tokens", ".2f") for c in ("mean", "low", "high")),
    )
    return Table(f"{model}: predicting lengths before a sample is made", columns, rows)


def examples(model: str, sheets: Sequence[Mapping[str, Any]]) -> Table:
    names = ("mean", "deviation", "shortest", *(f"p{p}" for p in PERCENTILES), "longest", "degenerate", "predicted")
    columns = (Column("prompt"), *(Column(name, format=".1f") for name in names))
    rows = tuple(
        (
            s["prompt_id"],
            s["mean"],
            s["std"],
            min(s["lengths"]),
            *(s["percentiles"][f"p{p}"] for p in PERCENTILES),
            max(s["lengths"]),
            sum(s["degenerate"]),
            s["predicted"],
        )
        for s in sheets[:SHOWN]
    )
    return Table(f"{model}: the first {len(rows)} of {len(sheets)} prompts (all in castillo.jsonl)", columns, rows)


def figure(model: str, sheets: Sequence[Mapping[str, Any]]) -> Figure:
    ordered = sorted(sheets, key=lambda s: s["mean"])
    x = tuple(float(i + 1) for i in range(len(ordered)))
    means = tuple(s["mean"] for s in ordered)
    low = tuple(s["mean"] - s["std"] for s in ordered)
    high = tuple(s["mean"] + s["std"] for s in ordered)
    lines = (
        Line("mean, one deviation", x, means, low, high, points=True),
        Line("predicted", x, tuple(s["predicted"] for s in ordered), points=True),
    )
    return Figure(f"{model}: length by prompt, shortest first", "prompt", "tokens", lines)
