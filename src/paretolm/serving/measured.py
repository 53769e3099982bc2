"""Whether anybody knows what a recipe costs on a model: rows in a results store."""

from __future__ import annotations

from pathlib import Path

from ..bench.records.place import store_file
from ..bench.records.record import read_record
from ..bench.records.store import Store
from ..bridge.content import contents
from ..bridge.locate import locate
from ..errors import UserError
from ..recipes.recipe import Recipe


def is_measured(model: str, recipe: Recipe, results: Path) -> bool:
    """Whether the results file, or the directory it is in, has rows of this recipe on these weights, of any task and
    under any conditions. Raises StoreError, ModelError."""
    path = store_file(results)
    if not path.is_file():
        return False
    weights = contents(locate(model)).model
    with Store(path) as store:
        keys = store.cell_keys()
        for key, cell in store.cells(keys).items():
            record = read_record(cell.meta)
            same = record and record.inputs.recipe_hash == recipe.hash and record.conditions.model == weights
            if same and store.item_names(key):
                return True
    return False


def check_measured(model: str, recipe: Recipe, results: Path) -> None:
    """Raises UserError for a recipe that was never measured on this model; the untouched model needs no measuring."""
    if not recipe.is_dense and not is_measured(model, recipe, results):
        raise UserError(
            f"{recipe} was never measured on {model}: {results} has no row of it. Measure it first "
            f'(paretolm compare {model} -m "{recipe}"), name other --results, or serve it --unmeasured'
        )
