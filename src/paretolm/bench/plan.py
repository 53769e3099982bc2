"""Which cells a comparison consists of, from plain facts about recipes and tasks. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..bridge.content import content_hash
from ..bridge.locate import locate
from ..errors import ParetoError
from .records.keys import PACKAGE, CellInputs, Conditions, cell_key, code_hashes, file_hash, shared_code

DENSE = "dense"
SPEED = "speed"
MEMORY = "memory"
PROCESS_TASKS = (SPEED, MEMORY)  # measured in a process of their own, one after the other
LONGEST = 8192
SHORT = 512
_FACTS = "bench/workers/facts.py"


def default_tasks(trained_length: int, rope: bool) -> list[str]:
    """Perplexity within the trained length, and beyond it where the model has positions there; all of it short
    enough to end in minutes."""
    inside = min(LONGEST, trained_length)
    beyond = min(LONGEST, 16 * trained_length)
    tasks = [f"perplexity(length={inside}, streams=10, audit=256)"]
    if rope and beyond > inside:
        tasks.append(f"perplexity(length={beyond}, streams=1, documents=24, context=0.0625, audit=0)")
    return [*tasks, f"divergence(length={min(SHORT, trained_length)}, streams=20)", "recall", SPEED]


def default_recipes(trained_length: int) -> list[str]:
    """One or two of every family, with windows that scale with what the model was trained on."""
    window = max(16, trained_length // 4)
    return [
        f"window(window={window})",
        f"streaming-llm(sinks=4, window={window})",
        f"lm-infinite(n_local={window})",
        "h2o(budget=25%)",
        "snapkv(budget=25%)",
        "kv-quant(bits=4)",
        "kv-quant(bits=2)",
        "finequant(bits=8)",
        "finequant(bits=4)",
        f"streaming-llm(sinks=4, window={2 * window}) + kv-quant(bits=4) + finequant(bits=4)",
        "giraffe",
        "knn-lm(k=64, max_keys=16384)",
        "gemfilter(budget=25%)",
        "token-recycling",
    ]


@dataclass(frozen=True)
class Cell:
    """One recipe on one task. key is empty where there is nothing to measure, and reason says why."""

    recipe: str  # as typed
    task: str  # as typed
    key: str = ""
    kind: str = "quality"
    reason: str = ""
    failed: bool = False  # the recipe cannot stand on this model, or the text does not serve the task
    unseen: tuple[str, ...] = ()  # methods the task cannot see
    inputs: CellInputs | None = None  # what the key was made of

    @property
    def needs(self) -> dict[str, str]:
        """Second models and files of data, by name -> hash: what another machine must have beside model and text."""
        if self.inputs is None:
            return {}
        data = {file: known for file, known in self.inputs.code.items() if not file.endswith(".py")}
        return {**self.inputs.models, **data}


@dataclass(frozen=True)
class Table:
    """Recipes and tasks as typed -> their facts, and the cells of all pairs."""

    recipes: Mapping[str, Mapping[str, Any]]
    tasks: Mapping[str, Mapping[str, Any]]
    cells: Sequence[Cell]
    notes: tuple[str, ...] = ()  # for the report

    @property
    def names(self) -> dict[str, str]:
        """Task as typed -> how it is shown: its name, with the first knob that tells it from its namesakes."""
        return {line: self._name(line, facts) for line, facts in self.tasks.items()}

    def _name(self, line: str, facts: Mapping[str, Any]) -> str:
        name = str(facts.get("name", line))
        others = [f["params"] for f in self.tasks.values() if f.get("name") == name and f is not facts]
        if not others:
            return name
        for knob, value in sorted(facts["params"].items(), key=lambda item: item[0] != "length"):  # length says most
            if all(other[knob] != value for other in others):
                return f"{name}({knob}={value})"
        return line

    @property
    def lines(self) -> dict[str, str]:
        """Recipe as typed -> with every knob."""
        return {text: facts["line"] for text, facts in self.recipes.items()}


def make_cells(
    conditions: Conditions,
    recipes: Mapping[str, Mapping[str, Any]],
    tasks: Mapping[str, Mapping[str, Any]],
    params: Mapping[str, Any],
    data: str,
) -> Iterator[Cell]:
    """Every recipe on every task. recipes and tasks: as typed -> facts; params: limit and chunk of a quality cell;
    data: hash of the text."""
    for text, recipe in recipes.items():
        for line, task in tasks.items():
            yield _cell(conditions, text, recipe, line, task, params, data)


def _cell(
    conditions: Conditions,
    text: str,
    recipe: Mapping[str, Any],
    line: str,
    task: Mapping[str, Any],
    params: Mapping[str, Any],
    data: str,
) -> Cell:
    kind = line if line in PROCESS_TASKS else "quality"
    if kind == SPEED and not recipe["methods"]:
        return Cell(text, line, kind=kind, reason="the others are measured against it")
    if "error" in task:
        return Cell(text, line, kind=kind, reason=task["error"]["message"], failed=True)
    if recipe["conflict"]:
        return Cell(text, line, kind=kind, reason=recipe["conflict"], failed=True)
    unseen = unseen_methods(recipe["methods"], task["sees"])
    if recipe["methods"] and len(unseen) == len(recipe["methods"]):
        places = sorted({s for slots in recipe["methods"].values() for s in slots})
        return Cell(text, line, kind=kind, reason=f"{task['name']} cannot see what acts on {' and '.join(places)}")
    inputs = CellInputs(
        kind=kind,
        recipe=recipe["line"],
        recipe_hash=recipe["hash"],
        task=task["name"],
        task_version=task["version"],
        params=task["params"],
        data=data,
        chunk=params["chunk"] if kind == "quality" else None,
        limit=params["limit"] if kind == "quality" else None,
        code={**recipe["code"], **task["code"]},
        fitted_on=data if recipe["fits"] else None,
        models=recipe["models"],
    )
    return Cell(text, line, cell_key(conditions, inputs), kind, unseen=unseen, inputs=inputs)


def unseen_methods(methods: Mapping[str, Sequence[str]], sees: Sequence[str] | None) -> tuple[str, ...]:
    """Methods none of whose slots the task sees; sees=None sees everything."""
    return () if sees is None else tuple(name for name, slots in methods.items() if not set(slots) & set(sees))


def still_true(facts: Mapping[str, Any]) -> bool:
    """Whether the files and second models that facts were drawn from are as they were."""
    return bool(facts["code"] == code_hashes(facts["code"]) and second_models_unchanged(facts.get("models", {})))


def second_models_unchanged(models: Mapping[str, str]) -> bool:
    try:
        return all(content_hash(locate(name)) == known for name, known in models.items())
    except ParetoError:
        return False


def facts_key(what: str, data: str, **more: Any) -> dict[str, Any]:
    """What facts are kept under: everything but the files they name themselves."""
    return {"what": what, "data": data, "code": [shared_code(), file_hash(PACKAGE / _FACTS)], **more}
