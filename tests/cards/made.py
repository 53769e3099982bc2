"""A whole card of a tiny model, measured once."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import torch

from paretolm.bridge.lm import LM
from paretolm.cards.longer import Effort
from paretolm.cards.measure import Measured, Request, measure
from tests.evaluation import judging

ROOMY = 512  # trained length with room for several planted facts


@cache
def roomy() -> LM:
    """The tiny model of the judge's tests, as if trained on longer texts."""
    model = copy.deepcopy(judging.lm().model)
    model.config.max_position_embeddings = ROOMY
    return LM.from_model(model, judging.tokenizer(), "roomy")


@cache
def other(std: float = 0.02) -> LM:
    """The judge's tiny model with some noise in its weights."""
    model = copy.deepcopy(judging.lm().model)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=std)
    return LM.from_model(model, judging.tokenizer(), "other")


def request(**changes: object) -> Request:
    given = {"source": judging.source(24, 20), "characters": 200, "effort": Effort(4, 2, 8)}
    return Request(**{**given, **changes})  # type: ignore[arg-type]


def blimp_folder(to: Path) -> Path:
    to.mkdir(exist_ok=True)
    (to / "pairs.jsonl").write_text('{"paradigm": "p", "good": "The river.", "bad": "River the."}\n')
    (to / "paradigms.jsonl").write_text('{"paradigm": "p", "phenomenon": "word_order"}\n')
    return to


def run_folder(to: Path) -> Path:
    to.mkdir(exist_ok=True)
    lines = [f'{{"step": {s}, "loss": {5 - s / 1000}, "tokens": {s * 64}}}' for s in range(1, 1001)]
    lines.insert(500, '{"step": 500, "valid": {"all": 1.9, "code": 1.2}}')
    lines.append('{"step": 1000, "valid": {"all": 1.4, "code": 1.1}}')
    (to / "log.jsonl").write_text("\n".join(lines) + '\n{"step": 1001, "lo')
    (to / "run.toml").write_text('steps = 1000\ntext = "/home/someone/corpus"\n[optimizer]\nname = "muon"\nlr = 0.01\n')
    return to


@cache
def whole(folder: Path) -> Measured:
    """Every part, recall of several facts left out for want of room."""
    blimp, run = blimp_folder(folder / "blimp"), run_folder(folder / "run")
    return measure(judging.lm(), request(blimp=blimp, run=run, draft=other()))
