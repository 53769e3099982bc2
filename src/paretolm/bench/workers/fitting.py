"""Artifacts for the methods of a recipe: found on disk, or fitted now and kept there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...bridge.artifacts import artifact_key, load_artifact, save_artifact
from ...bridge.fitter import TextFitter, text_hash
from ...contracts import Artifact, Method, Need
from ...errors import FitError, ParetoError
from ...recipes.making import method_line
from ...recipes.recipe import Recipe
from .turns import held

if TYPE_CHECKING:
    from ...bridge.lm import LM


def fitted_methods(recipe: Recipe, lm: LM) -> list[Method]:
    """Methods of the recipe whose plan needs something fitted on text."""
    pairs = recipe.plan(lm.view).pairs
    needy = {id(method) for method, edit in pairs if Need.FITTED in edit.needs}
    return [m for m in recipe.methods if id(m) in needy]


def fit_model(
    model: str,
    recipe: str,
    text: str | Path | None,
    *,
    budget: int | None = None,
    again: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> dict[str, dict[str, list[int]]]:
    """Fits what a recipe needs for a model, on the documents of a text that are not judged. Line of each method ->
    name of each tensor -> its shape. Raises FitError where nothing needs fitting."""
    from ...evaluation.source import TextSource
    from ...recipes.convert import load

    parsed = Recipe.parse(recipe)
    source = TextSource.open(text)
    lm = load(model, **options)
    found = fit_recipe(
        lm, parsed, lambda: [d.text for d in source.fit_documents], budget=budget, again=again, tell=tell
    )
    if not found:
        raise FitError(f"nothing in {str(parsed)!r} needs fitting")
    return {line: {name: list(t.shape) for name, t in artifact.tensors.items()} for line, artifact in found.items()}


def fit_recipe(
    lm: LM,
    recipe: Recipe,
    documents: Callable[[], Sequence[str]],
    *,
    budget: int | None = None,
    again: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Artifact]:
    """Line of each method that needs one (see method_line) -> its artifact for exactly this model and text.

    documents is only called where something is to be fitted; tell hears of each method before it is."""
    found: dict[str, Artifact] = {}
    for method in fitted_methods(recipe, lm):
        line, texts = method_line(method), documents()
        data = text_hash(texts)
        known = None if again else _kept(lm, line, data)
        found[line] = known or _fit_once(lm, method, texts, budget, again, tell)
    return found


def _kept(lm: LM, line: str, data: str) -> Artifact | None:
    try:
        return load_artifact(lm.content_hash, line, data)
    except FitError:
        return None


def _fit_once(
    lm: LM, method: Method, texts: Sequence[str], budget: int | None, again: bool, tell: Callable[[str], None]
) -> Artifact:
    """Of several processes that need the same artifact one fits it, and the others wait for it."""
    line, data = method_line(method), text_hash(texts)

    def wait() -> None:
        tell(f"another process fits {method.name}; waiting for it")

    with held(f"fits/{artifact_key(lm.content_hash, line, data)}", waiting=wait):
        known = None if again else _kept(lm, line, data)
        if known is None:
            tell(f"fitting {method.name} on {len(texts)} documents")
            known = _fit(lm, method, texts, budget)
            save_artifact(known, lm.content_hash, line, data)
        return known


def _fit(lm: LM, method: Method, texts: Sequence[str], budget: int | None) -> Artifact:
    try:
        artifact = method.fit(TextFitter(lm, texts), budget)
    except ParetoError:
        raise
    except Exception as error:
        raise FitError(f"{method.name} could not be fitted ({type(error).__name__}: {error})") from error
    if artifact is None:
        raise FitError(f"{method.name} asks for an artifact but fits none")
    return artifact
