"""E2-LLM (2401.06951): one tuning on short text, and a model reads at many lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..claim import Claim, Direct, Limit, Paper

if TYPE_CHECKING:
    from ...studies.study import Findings, Place

LONGER = (2, 4, 8)
DOCUMENTS = 16
IN_WINDOW = "in-window"
USES = ("studies/_beyond.py", "cards/positions.py", "methods/_low_rank.py", "methods/frequency/e2_llm.py")


def work(at: Place) -> Findings:
    """One text of 8 trained lengths in pieces of 1, 2, 4 and 8, each read with the scale of its length. What is
    scored is the same everywhere: tokens with half a trained length or more before them in every piece."""
    from dataclasses import asdict

    from ...bench.workers.fitting import fit_recipe
    from ...evaluation.streams import build
    from ...recipes.recipe import Recipe
    from ...studies._beyond import read, token_rows
    from ...studies.study import Findings
    from ..numbers import change, exact

    lm = at.load(at.models[0])
    trained = lm.view.trained_length
    arms = {IN_WINDOW: ("dense", 1), "tuned, 1": ("e2-llm(scale=1)", 1)}
    arms |= {f"tuned, {n}": (f"e2-llm(scale={n})", n) for n in LONGER}
    arms |= {f"untuned, {n}": (f"e2-llm(scale={n}, steps=0)", n) for n in LONGER}
    at.progress.plan({"tuning": "tuning"} | {name: name for name in arms})
    artifacts = fit_recipe(lm, Recipe.parse("e2-llm"), lambda: [d.text for d in at.source.fit_documents])
    (artifact,) = artifacts.values()
    at.progress.update("tuning", 1.0)
    length = LONGER[-1] * trained
    (stream,) = build(at.source, lm, length, 1, per_document=length // DOCUMENTS, seed=0)
    places = [p for p in range(length - 1) if trained // 2 <= p % trained < trained - 1]
    rows = {}
    for name, (line, times) in arms.items():
        rows[name] = token_rows(stream, places, read(lm, line, stream.ids, times * trained))
        at.progress.update(name, 1.0)
    numbers = {"short text, perplexity against the untouched model": change(rows["tuned, 1"], rows[IN_WINDOW])}
    for n in LONGER:
        numbers[f"{n} trained lengths, perplexity against in-window"] = change(rows[f"tuned, {n}"], rows[IN_WINDOW])
        numbers[f"{n} trained lengths, against interpolation untuned"] = change(
            rows[f"tuned, {n}"], rows[f"untuned, {n}"]
        )
    numbers["parameters learnt"] = exact(float(artifact.facts["parameters"]))
    return Findings(numbers=numbers, rows=[{"arm": arm, **asdict(row)} for arm, own in rows.items() for row in own])


ONCE = Direct(work=work, uses=USES)

PAPER = Paper(
    title="E^2-LLM: Efficient and Extreme Length Extension of Large Language Models",
    arxiv=("2401.06951",),
    family="positions",
    methods=("e2-llm",),
    claims=(
        Claim(
            says="One tuning on text of the trained length serves several longer contexts.",
            metric="perplexity",
            setting="tuned on 4 or 8 thousand tokens, read at 8 to 32 and more; here at 2, 4 and 8 trained lengths",
            size="Llama-2-7B and 13B",
            figure="level from length to length",
            section="abstract; experiments on long text",
            experiment=ONCE,
            limits=tuple(
                Limit(number=f"{n} trained lengths, perplexity against in-window", at_most=10, expected=3)
                for n in LONGER
            ),
            also=("parameters learnt",),
        ),
        Claim(
            says="It reads better than position interpolation without such a tuning.",
            metric="perplexity; accuracy on LongBench",
            setting="the same scale at the same length",
            size="Llama-2-7B and 13B",
            figure="better at every length",
            section="experiments; ablation",
            experiment=ONCE,
            limits=tuple(
                Limit(number=f"{n} trained lengths, against interpolation untuned", at_most=0, expected=-20)
                for n in LONGER
            ),
        ),
        Claim(
            says="Short text is read as well as before.",
            metric="accuracy on short benchmarks",
            setting="scale 1; here perplexity within the trained length",
            size="Llama-2-7B and 13B",
            figure="on a par",
            section="experiments on short text",
            experiment=ONCE,
            limits=(Limit(number="short text, perplexity against the untouched model", at_most=2, expected=0.5),),
        ),
    ),
)
