"""Make a language model cheaper with published methods, and see what each one really costs and saves.

    lm = paretolm.load("reference")
    with paretolm.recipe("streaming-llm(window=256)").apply(lm) as session:
        print(session.generate("Once upon a time").text)

Importing this imports neither torch nor transformers: a name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bench.compare import compare
    from .bench.tune.tune import tune
    from .bridge.lm import LM
    from .errors import ParetoError, RunError, UserError
    from .recipes.convert import load
    from .recipes.recipe import Recipe, recipe
    from .recipes.session import Session

__all__ = ["LM", "ParetoError", "Recipe", "RunError", "Session", "UserError", "compare", "load", "recipe", "tune"]

_WHERE = {
    "LM": ("bridge.lm", "LM"),
    "ParetoError": ("errors", "ParetoError"),
    "Recipe": ("recipes.recipe", "Recipe"),
    "RunError": ("errors", "RunError"),
    "Session": ("recipes.session", "Session"),
    "UserError": ("errors", "UserError"),
    "compare": ("bench.compare", "compare"),
    "load": ("recipes.convert", "load"),
    "recipe": ("recipes.recipe", "recipe"),
    "tune": ("bench.tune.tune", "tune"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("paretolm")
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, original = _WHERE[name]
    found = getattr(import_module(f".{module}", __name__), original)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
