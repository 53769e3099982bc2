"""What a recipe is predicted to hold at a length, before anything is measured. Reads shapes alone."""

from __future__ import annotations

import math
from typing import Any

from ...bridge.artifacts import load_artifact
from ...bridge.fitter import text_hash
from ...bridge.lm import LM
from ...contracts import Interval
from ...errors import ParetoError
from ...evaluation.source import TextSource
from ...recipes.making import method_line
from ...recipes.recipe import Recipe
from .fitting import fitted_methods


def foresee(lm: LM, source: TextSource, line: str, tokens: int) -> dict[str, Any]:
    """Bytes as [low, high] (high is None where nobody knows), the fewest forwards a token, the slots of each method, methods that are exact and
    those not yet fitted on this text; or why the recipe cannot be ('error') or cannot stand on this model ('conflict')."""
    try:
        recipe = Recipe.parse(line)
    except ParetoError as error:
        return {"error": str(error)}
    try:
        plan = recipe.plan(lm.view)
        plan.raise_conflicts()
        cost = recipe.cost(lm.view, tokens)
    except ParetoError as error:
        return {"conflict": " ".join(str(error).split())}
    return {
        "kv": _finite(cost.kv_bytes),
        "weights": _finite(cost.weight_bytes),
        "index": _finite(cost.index_bytes),
        "passes": cost.passes.low,
        "slots": {m.name: sorted({e.slot.value for o, e in plan.pairs if o is m}) for m in recipe.methods},
        "exact": [m.name for m in recipe.methods if m.exact],
        "unfitted": _unfitted(lm, source, recipe),
    }


def _unfitted(lm: LM, source: TextSource, recipe: Recipe) -> list[str]:
    found = []
    for method in fitted_methods(recipe, lm):
        try:
            load_artifact(lm.content_hash, method_line(method), text_hash([d.text for d in source.fit_documents]))
        except ParetoError:
            found.append(method.name)
    return found


def _finite(interval: Interval) -> list[float | None]:
    return [interval.low, interval.high if math.isfinite(interval.high) else None]
