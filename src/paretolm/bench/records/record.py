"""A cell's record: what was asked and what held, so that the cell can be measured again from it alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from ...evaluation.machine import machine
from .keys import CellInputs, Conditions, shared_code


@dataclass(frozen=True, kw_only=True)
class Record:
    """request: what the call asked for (model and text as typed, device, dtype, attention, threads in all, seed,
    limit, chunk); directory: where paths as typed begin; code: hash of what measures cells of this kind."""

    recipe: str  # with every knob
    task: str
    kind: str
    request: Mapping[str, Any]
    directory: str
    conditions: Conditions
    inputs: CellInputs
    code: str
    paretolm: str
    machine: Mapping[str, Any]

    def to_meta(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def make_record(
    recipe: str, task: str, request: Mapping[str, Any], conditions: Conditions, inputs: CellInputs
) -> Record:
    """The record of a cell that this process is about to measure."""
    return Record(
        recipe=recipe,
        task=task,
        kind=inputs.kind,
        request=request,
        directory=os.getcwd(),
        conditions=conditions,
        inputs=inputs,
        code=shared_code(inputs.kind),
        paretolm=version("paretolm"),
        machine=machine().as_json(),
    )


def read_record(meta: Mapping[str, Any]) -> Record | None:
    """None where an older version kept less than a repetition needs."""
    try:
        return Record(
            **{**meta, "conditions": Conditions(**meta["conditions"]), "inputs": CellInputs(**meta["inputs"])}
        )
    except (KeyError, TypeError):
        return None


_MODEL = {
    "model": "the weights or the configuration of the model",
    "tokenizer": "the tokenizer",
    "template": "the chat template",
}
_RUN = {"device": "the device", "accelerator": "the accelerator", "dtype": "the dtype", "attention": "the attention"}


def what_is_gone(then: Record, conditions: Conditions, inputs: CellInputs) -> list[str]:
    """Of model, text and data, what is no longer what it was, with both hashes; nothing is left to repeat then."""
    found = [
        _differs(words, getattr(then.conditions, name), getattr(conditions, name)) for name, words in _MODEL.items()
    ]
    found.append(_differs("the text", then.inputs.data, inputs.data))
    found += [_differs(f"the second model {n}", h, inputs.models.get(n, "")) for n, h in then.inputs.models.items()]
    data = {file: hashed for file, hashed in then.inputs.code.items() if not file.endswith(".py")}
    found += [_differs(f"the data file {file}", hashed, inputs.code.get(file, "")) for file, hashed in data.items()]
    return [sentence for sentence in found if sentence]


def what_is_new(then: Record, conditions: Conditions, inputs: CellInputs) -> list[str]:
    """What else is not as it was: a repetition that comes out otherwise may owe it to that."""
    found = [_differs(words, getattr(then.conditions, name), getattr(conditions, name)) for name, words in _RUN.items()]
    found.append(_differs("threads", then.conditions.threads, conditions.threads))
    found += [_differs(n, v, conditions.versions.get(n, "absent")) for n, v in then.conditions.versions.items()]
    found.append(_differs("the code that measures", then.code, shared_code(then.kind)))
    code = {file: hashed for file, hashed in then.inputs.code.items() if file.endswith(".py")}
    found += [_differs(f"the code {file}", hashed, inputs.code.get(file, "")) for file, hashed in code.items()]
    found.append(_differs("the version of the task", then.inputs.task_version, inputs.task_version))
    here = machine().as_json()
    found += [_differs(f"{n} of the machine", then.machine[n], here[n]) for n in ("cpu", "instructions", "python")]
    return [sentence for sentence in found if sentence]


def _differs(what: str, then: Any, now: Any) -> str:
    then, now = (list(v) if isinstance(v, tuple) else v for v in (then, now))
    return "" if then == now else f"{what}: was {_short(then)}, is {_short(now)}"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    text = str(value)
    return text[:12] if len(text) == 64 else text or "none"
