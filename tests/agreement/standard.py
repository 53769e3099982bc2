"""lm-evaluation-harness on a model and items of our own, without a network. Imported only where it is installed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import lm_eval.tasks
from lm_eval import evaluator, simple_evaluate
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks._yaml_loader import load_yaml

from paretolm.bridge.lm import LM
from tests.evaluation.sets import write

evaluator.add_env_info = lambda *_: None  # lists what is installed, which takes longer than the model
TASKS = Path(lm_eval.tasks.__file__).parent


@cache
def model(lm: LM) -> HFLM:
    """On the very weights and tokenizer that our tasks read."""
    return HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=1, device="cpu")


def shipped(yaml: str, rows: Iterable[Mapping[str, Any]], to: Path) -> ConfigurableTask:
    """A task that comes with the harness, on other items of the same columns."""
    config = load_yaml(TASKS / yaml)
    split = config.get("test_split") or config.get("validation_split")
    files = {split: str(write(to / f"{split}.jsonl", rows))}
    unused = ("training_split", "validation_split", "fewshot_split", "dataset_name", "num_fewshot")
    others = dict.fromkeys(unused) | {"test_split": split}
    local = {"dataset_path": "json", "dataset_kwargs": {"data_files": files}, "task": Path(yaml).stem}
    return ConfigurableTask(config=config | others | local)


def evaluated(lm: LM, task: ConfigurableTask) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Metric ('acc,none') -> value, and what it logs of each item."""
    found = simple_evaluate(model=model(lm), tasks=[task], num_fewshot=None, bootstrap_iters=0)
    (name,) = found["results"]
    return found["results"][name], found["samples"][name]
