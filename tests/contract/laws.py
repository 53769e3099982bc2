"""The nine laws as functions: each returns None where the law holds, else a sentence that says how it is broken.

They take recipes, not methods by name, so that saboteurs can be put before the same judge.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface

from paretolm.bridge.fitter import TextFitter
from paretolm.bridge.lm import LM
from paretolm.bridge.view import OWN_ATTENTION
from paretolm.contracts import Slot
from paretolm.errors import CallError, ConflictError
from paretolm.recipes.making import PartMaker, method_line
from paretolm.recipes.recipe import Recipe, recipe
from paretolm.recipes.session import Session

from .tiny import text, tiny

PROMPT, LENGTH, NEW = 48, 96, 12
NOISE_FACTOR = 4


# --- what a recipe puts out ----------------------------------------------------------------------


@dataclass(frozen=True)
class Output:
    """logits [T, V] of a text read through the cache; tokens [N] a greedy continuation of its prompt."""

    logits: Tensor
    tokens: Tensor
    counters: dict[str, dict[str, int]]


def opened(line: Recipe, lm: LM) -> Session:
    """A session; methods that must be fitted are fitted on random text first."""
    artifacts = {}
    for method in line.methods:
        if method.fits:
            texts = [text(40, seed=i)[0] for i in range(4)]
            artifact = method.fit(_Texts(lm, texts), None)
            if artifact is not None:
                artifacts[method_line(method)] = artifact
    return Session.open(lm, line, artifacts)


class _Texts(TextFitter):
    """Token ids in place of documents."""

    def __init__(self, lm: LM, ids: list[Tensor]) -> None:
        self.view, self.tokenizer, self._lm, self._model, self._ids = lm.view, lm.tokenizer, lm, lm.model, ids

    def documents(self) -> Any:
        return (ids[None] for ids in self._ids)


def output(line: str | Recipe, lm: LM, chunk: int = 1, ids: Tensor | None = None) -> Output:
    """Reads a prompt in one piece, then the rest in chunks; then continues the prompt greedily."""
    asked = recipe(line) if isinstance(line, str) else line
    ids = text(LENGTH) if ids is None else ids
    with torch.inference_mode(), opened(asked, lm) as session:
        if not lm.view.refusals.get(Slot.KEEP.value):
            session.take_cache()
        stream = session.stream()
        logits = [stream.read(ids[:, :PROMPT], last=True).logits]
        for start in range(PROMPT, ids.shape[1], chunk):
            logits.append(stream.step(ids[:, start : start + chunk]).logits)
        tokens = lm.model.generate(ids[:, :PROMPT], max_new_tokens=NEW, do_sample=False, eos_token_id=None)
        counters = session.counters
    return Output(torch.cat(logits, 1)[0].float(), tokens[0, PROMPT:], counters)


@cache
def _dense(architecture: str, chunk: int) -> Output:
    return output("dense", tiny(architecture), chunk)


@cache
def noise(architecture: str) -> float:
    """How far dense is from itself when the same text comes in other chunks."""
    gap = (_dense(architecture, 1).logits - _dense(architecture, 7).logits).abs().max()
    return max(float(gap), 1e-6)


def gap(a: Output, b: Output) -> float:
    return float((a.logits - b.logits).abs().max())


def refusal(line: str, lm: LM) -> str | None:
    """Why the recipe has no place in the model, or None."""
    try:
        conflicts = recipe(line).check(lm.view)
    except ConflictError as error:
        return str(error)
    return "; ".join(map(str, conflicts)) or None


# --- 1 neutral, 2 acts ---------------------------------------------------------------------------


def neutral(line: str | Recipe, architecture: str = "llama") -> str | None:
    """At its neutral setting a recipe equals dense through the cache within 4 times the noise."""
    allowed = NOISE_FACTOR * noise(architecture)
    for chunk in (1, 7):
        got, dense = output(line, tiny(architecture), chunk), _dense(architecture, chunk)
        if not gap(got, dense) <= allowed:
            return f"neutral logits differ from dense by {gap(got, dense):.2g} (allowed {allowed:.2g}) at chunk {chunk}"
        if not torch.equal(got.tokens, dense.tokens):
            return "the neutral setting writes another greedy text than dense"
    return None


def neutral_bfloat16(line: str) -> str | None:
    """The same in bfloat16, beside the noise of bfloat16."""
    dtype = torch.bfloat16
    dense = [output("dense", tiny("llama", dtype=dtype), chunk) for chunk in (1, 7)]
    allowed = NOISE_FACTOR * gap(*dense)
    got = output(line, tiny("llama", dtype=dtype), 7)
    if not gap(got, dense[1]) <= allowed:
        return f"neutral logits differ from dense by {gap(got, dense[1]):.2g} in bfloat16 (allowed {allowed:.2g})"
    return None


def twin(line: str, twin_of: Callable[[Any], None], architecture: str = "llama") -> str | None:
    """Without a neutral setting: equal to a simple twin put on a copy of the model."""
    lm = tiny(architecture)
    twin_of(lm.model)
    got, expected = output(line, tiny(architecture)), output("dense", lm)
    allowed = NOISE_FACTOR * noise(architecture) + 1e-5
    if not gap(got, expected) <= allowed:
        return f"differs from its simple twin by {gap(got, expected):.2g} (allowed {allowed:.2g})"
    return None


def monotone(lines: tuple[str, ...], architecture: str = "llama") -> str | None:
    """From mild to strong the mean error against dense grows."""
    dense = _dense(architecture, 1)
    errors = [float((output(line, tiny(architecture)).logits - dense.logits).abs().mean()) for line in lines]
    if errors != sorted(errors) or errors[0] == errors[-1]:
        return f"errors {[f'{e:.3g}' for e in errors]} of {lines} do not grow"
    return None


def acts(line: str | Recipe, architecture: str = "llama") -> str | None:
    """It changes the output (unless it promises not to) and its counters are not zero."""
    asked = recipe(line) if isinstance(line, str) else line
    got, dense = output(asked, tiny(architecture)), _dense(architecture, 1)
    for name, counts in got.counters.items():
        if not any(counts.values()):
            return f"{name} counted nothing: {counts}"
    if all(method.exact for method in asked.methods):
        return None
    changed = gap(got, dense) > NOISE_FACTOR * noise(architecture) or not torch.equal(got.tokens, dense.tokens)
    return None if changed else "neither logits nor greedy text differ from dense"


# --- 3 undo --------------------------------------------------------------------------------------


def fingerprint(lm: LM) -> dict[str, Any]:
    """Everything undo must put back: objects, values, hooks, names, registries (but our two entries)."""
    model = lm.model
    modules = dict(model.named_modules())
    own = {OWN_ATTENTION}
    return {
        "modules": {path: id(m) for path, m in modules.items()},
        "parameters": {n: (id(p), _hash(p)) for n, p in model.named_parameters()},
        "buffers": {n: (id(b), _hash(b)) for n, b in model.named_buffers()},
        "hooks": {path: (list(m._forward_hooks), list(m._forward_pre_hooks)) for path, m in modules.items()},
        "attributes": {path: sorted(m.__dict__) for path, m in modules.items()},
        "attention": model.config._attn_implementation,
        "generation": model.generation_config.to_json_string(),
        "config": model.config.to_json_string(),
        "functions": {k: id(v) for k, v in AttentionInterface._global_mapping.items() if k not in own},
        "masks": {k: id(v) for k, v in AttentionMaskInterface._global_mapping.items() if k not in own},
    }


def _hash(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


def undo(line: str | Recipe, architecture: str = "llama") -> str | None:
    """Every object is back after use, after an exception inside, and after one at each edit."""
    asked = recipe(line) if isinstance(line, str) else line
    broken = undo_after_use(asked, architecture)
    if broken:
        return broken
    lm = tiny(architecture)
    output("dense", lm)
    before = fingerprint(lm)
    for fail_at in range(_num_edits(asked, lm) + 1):
        try:
            _run_until(asked, lm, fail_at)
        except _Planted:
            changed = _changed(before, fingerprint(lm))
            if changed:
                return f"after an exception at edit {fail_at} these are not put back: {changed}"
    return None


def undo_after_use(asked: Recipe, architecture: str = "llama") -> str | None:
    lm = tiny(architecture)
    output("dense", lm)  # transformers installs hooks of its own on first use
    before = fingerprint(lm)
    output(asked, lm)
    changed = _changed(before, fingerprint(lm))
    return f"after use these are not put back: {changed}" if changed else None


class _Planted(Exception):
    pass


@contextmanager
def _failing_at(place: int) -> Iterator[None]:
    """Raises when the n-th part is made."""
    made, make = itertools.count(), PartMaker.make

    def failing(self: PartMaker, *args: Any, **kwargs: Any) -> Any:
        if next(made) == place:
            raise _Planted
        return make(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PartMaker, "make", failing)
        yield


def _num_edits(asked: Recipe, lm: LM) -> int:
    return sum(len(edit.where) for _, edit in asked.plan(lm.view).pairs)


def _run_until(asked: Recipe, lm: LM, fail_at: int) -> None:
    session = opened(asked, lm)
    with _failing_at(fail_at), session:
        lm.model.generate(text(PROMPT), max_new_tokens=2, do_sample=False)
        raise _Planted


def _changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [key for key in before if before[key] != after[key]]


# --- 4 bytes -------------------------------------------------------------------------------------


def held_after_prompt(line: str | Recipe, architecture: str = "llama") -> int:
    """Bytes of keys, values and positions, counted as unique storages, once a prompt of LENGTH is read."""
    asked, lm = recipe(line) if isinstance(line, str) else line, tiny(architecture)
    with torch.inference_mode(), opened(asked, lm) as session:
        stream = session.stream()
        stream.read(text(LENGTH), last=True)
        return stream.kv_bytes


def held_as_predicted(line: str | Recipe, architecture: str = "llama") -> str | None:
    """Bytes held lie in the interval predicted before."""
    asked, lm = recipe(line) if isinstance(line, str) else line, tiny(architecture)
    held, predicted = held_after_prompt(asked, architecture), asked.cost(lm.view, LENGTH).kv_bytes
    if not predicted.low <= held <= predicted.high:
        return f"holds {held} bytes, predicted {predicted.low:.0f} to {predicted.high:.0f}"
    return None


def tighter_holds_less(mild: str, strong: str, architecture: str = "llama") -> str | None:
    a, b = held_after_prompt(mild, architecture), held_after_prompt(strong, architecture)
    return None if b <= a else f"{strong} holds {b} bytes, {mild} only {a}"


# --- 5 batch -------------------------------------------------------------------------------------


def batch(line: str | Recipe, architecture: str = "llama") -> str | None:
    """A left-padded batch gives each row what the row alone gives, or is refused before compute."""
    asked = recipe(line) if isinstance(line, str) else line
    lm = tiny(architecture)
    rows = [text(LENGTH, seed=1)[0], text(LENGTH - 17, seed=2)[0]]
    padded = torch.zeros(2, LENGTH, dtype=torch.long)
    mask = torch.zeros(2, LENGTH, dtype=torch.long)
    for i, row in enumerate(rows):
        padded[i, LENGTH - len(row) :], mask[i, LENGTH - len(row) :] = row, 1
    arguments = {"max_new_tokens": NEW, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    with torch.inference_mode(), opened(asked, lm) as session:
        try:
            together = lm.model.generate(padded, attention_mask=mask, **arguments)[:, LENGTH:]
        except CallError:
            return None if session.forwards == 0 else "refused only after a forward had run"
        alone = torch.cat([lm.model.generate(row[None], **arguments)[:, len(row) :] for row in rows])
    return None if torch.equal(together, alone) else "rows of a padded batch are not what the rows alone are"


# --- 7 exact -------------------------------------------------------------------------------------


def exact_greedy(line: str | Recipe, without: str | Recipe, architecture: str = "llama") -> str | None:
    """Replayed under the recipe without the method, every token is within 4 times the noise of the best."""
    lm = tiny(architecture)
    allowed = NOISE_FACTOR * noise(architecture)
    for seed in range(4):
        ids = text(PROMPT, seed=seed).repeat(1, 2)[:, :PROMPT]
        asked = recipe(line) if isinstance(line, str) else line
        base = recipe(without) if isinstance(without, str) else without
        with torch.inference_mode(), opened(asked, lm):
            full = lm.model.generate(ids, max_new_tokens=24, do_sample=False, eos_token_id=None)
        if full.shape[1] != PROMPT + 24:
            return f"wrote {full.shape[1] - PROMPT} tokens instead of 24"
        with torch.inference_mode(), opened(base, lm) as session:
            stream = session.stream()
            prompt = session.rewrite(full[:, :PROMPT]).ids
            logits = [stream.read(prompt, last=True).logits[:, -1]]
            logits += [stream.step(full[:, i : i + 1]).logits[:, -1] for i in range(PROMPT, full.shape[1] - 1)]
        scores = torch.stack(logits, 1)[0]
        short = scores.max(-1).values - scores.gather(-1, full[0, PROMPT:, None])[:, 0]
        if float(short.max()) > allowed:
            return f"a token lies {float(short.max()):.2g} below the best, allowed {allowed:.2g}"
    return None


# --- 9 seed --------------------------------------------------------------------------------------


def seeded(line: str | Recipe, architecture: str = "llama") -> str | None:
    """Equal seed, equal bits, greedy and sampled."""
    asked = recipe(line) if isinstance(line, str) else line
    runs = []
    for _ in range(2):
        lm = tiny(architecture)
        with torch.inference_mode(), opened(asked, lm) as session:
            sampled = _sampled(session)
        runs.append((output(asked, lm), sampled))
    (first, a), (second, b) = runs
    same = torch.equal(first.logits, second.logits) and torch.equal(a, b) and first.counters == second.counters
    return None if same else "two runs with one seed differ"


def _sampled(session: Session) -> Tensor:
    """Tokens drawn with a fixed seed; none where the recipe says that it does not sample."""
    try:
        return session.generate(text(PROMPT), max_new_tokens=NEW, do_sample=True, seed=3).ids
    except CallError:
        return torch.empty(0)


# --- 8 recipe ------------------------------------------------------------------------------------


def round_trip(asked: Recipe) -> str | None:
    """Printed and parsed it is the same recipe with the same hash, also with every knob spelled out."""
    for line in (str(asked), asked.full()):
        again = Recipe.parse(line)
        if again != asked or again.hash != asked.hash or str(again) != str(asked):
            return f"{line!r} is read back as {again.full()!r}"
    return None
