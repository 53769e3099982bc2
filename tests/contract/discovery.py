"""Every method found in the source, with the LawSpec its test file declares."""

from __future__ import annotations

import importlib
from pathlib import Path

from paretolm.recipes.index import method_names

from .spec import LawSpec

ROOT = Path(__file__).parents[1] / "methods"


def specs() -> dict[str, LawSpec]:
    """name -> LAWS of tests/methods/**/test_<name>.py. A method without one is a KeyError in the laws."""
    found = {}
    for path in sorted(ROOT.rglob("test_*.py")):
        module = importlib.import_module(".".join(("tests", "methods", *path.relative_to(ROOT).with_suffix("").parts)))
        laws = getattr(module, "LAWS", None)
        if laws is not None:
            found[path.stem.removeprefix("test_").replace("_", "-")] = laws
    return found


SPECS = specs()
NAMES = method_names()
