"""Small evaluation sets in a folder, one of every shape that tasks read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

CHOICES = {
    "question": "Which one is made of stone?",
    "choices": ["the river", "a bridge of grey stone", "paper", "morning music"],
}


CHECKS = [
    {"type": "change_case:english_lowercase", "args": {}},
    {"type": "keywords:existence", "args": {"keywords": ["river"]}},
]


def _question(number: int) -> dict[str, Any]:
    return {"id": f"q-{number}", "question": f"Number {number}? {CHOICES['question']}", "choices": CHOICES["choices"]}


def _item(name: str, n: int) -> dict[str, Any]:
    """Item n of a set, its right answer on changing places."""
    passage = {"id": f"p-{n}", "context": f"Lamp {n} was silver.", "questions": ["What was silver?", "Which colour?"]}
    shapes = {
        "winogrande": {"id": f"w-{n}", "question": f"{n} letters for Ben, not Sam, as _ was late.", "answer": n % 2}
        | {"choices": ["Ben", "Sam"]},
        "hellaswag": _question(n) | {"activity": "Walking", "context": f"A man has {n} dogs. he", "answer": n % 4},
        "mmlu": _question(n) | {"subject": ("world_religions", "anatomy")[n % 2], "answer": n % 4},
        "piqa": _question(n) | {"choices": ["a lamp", "a long silver road"], "answer": n % 2},
        "lambada": {"id": f"l-{n}", "context": f"The bridge and road {n} led to the", "target": "river"},
        "blimp": {"paradigm": ("one", "two")[n % 2], "good": f"The {n} lamps are.", "bad": f"The {n} lamps is."},
        "gsm8k": {"id": f"g-{n}", "question": f"{n} plus 1?", "answer": str(n + 1)},
        "closed-book": _question(n) | {"subject": "stone", "answer": n % 4},
        "nq-open": {"id": f"n-{n}", "question": f"what is number {n}", "answers": [f"lamp {n}", "the lamp"]},
        "summary": {"id": f"s-{n}", "context": f"Lamp {n} was silver.", "answers": ["A silver lamp."]},
        "ifeval": {"id": f"i-{n}", "prompt": f"Write {n} words in lower case.", "checks": CHECKS},
        "squad": passage | {"answers": [[f"Lamp {n}", "the lamp"], ["silver"]]},
    }
    return shapes.get(name, _question(n) | {"answer": n % 4})


def write(file: Path, items: Iterable[Mapping[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items), encoding="utf-8")
    return file


def folder(name: str, to: Path, count: int = 12) -> Path:
    """`count` items for the task of this name."""
    write(to / ("pairs.jsonl" if name == "blimp" else "test.jsonl"), (_item(name, n) for n in range(count)))
    if name == "blimp":
        write(to / "paradigms.jsonl", ({"paradigm": p, "phenomenon": f"kind-{p}"} for p in ("one", "two")))
    return to


WITHOUT_A_PATH = (
    "charbench",
    "charbench-choice",
    "closed-book",
    "divergence",
    "generation-quality",
    "l-eval",
    "licon-bench",
    "lm-eval",
    "m4le",
    "needle-threading",
    "perplexity",
    "recall",
    "rolling-perplexity",
)
ROOM: dict[str, dict[str, Any]] = {
    "recall": {"lengths": (2.0,)},  # a question in the tiny tokenizer is as long as the tiny model's trained length
    "gsm8k": {"max_new_tokens": 16},
    "closed-book": {"limit": 6},
    "l-eval": {"limit": 1, "length": 1536},
    "licon-bench": {"lengths": (12.0,), "queries": 3},
    "m4le": {"lengths": (8.0,), "repeats": 1},
    "needle-threading": {"lengths": (10.0,), "repeats": 1},
    "summary": {"max_new_tokens": 16},
    "ifeval": {"max_new_tokens": 16},
}


def described(to: Path, **keys: Any) -> Path:
    """A YAML of lm-evaluation-harness over twelve questions beside it; keys that are None are left out."""
    write(to / "docs.jsonl", (_question(n) | {"answer": n % 4} for n in range(12)))
    known = {
        "task": "stones",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "docs.jsonl"}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_target": "answer",
        "doc_to_choice": "choices",
    }
    file = to / "task.yaml"
    file.write_text(json.dumps({k: v for k, v in (known | keys).items() if v is not None}), encoding="utf-8")
    return file


def knobs(name: str, to: Path) -> dict[str, Any]:
    """What a task needs to have items here, some drawn by seed."""
    if name == "lm-eval":
        return {"yaml": str(described(to)), "limit": 6}
    data = {} if name in WITHOUT_A_PATH else {"path": str(folder(name, to)), "limit": 6}
    return ROOM.get(name, {}) | data
