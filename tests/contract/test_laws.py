"""The laws on every method found in the source, on the tiny architectures."""

from __future__ import annotations

from itertools import pairwise

import pytest

from paretolm.contracts import Slot
from paretolm.errors import RecipeError
from paretolm.recipes.index import load_method, method_info
from paretolm.recipes.recipe import recipe

from . import laws
from .discovery import NAMES, SPECS
from .tiny import ARCHITECTURES, MUST_WORK, tiny

MUST_HAVE_A_PLACE = {Slot.KEEP, Slot.STORE, Slot.ATTEND}
OTHERS = sorted(set(ARCHITECTURES) - {"llama"})

every_method = pytest.mark.parametrize("name", NAMES)


def test_every_method_declares_its_laws() -> None:
    assert set(NAMES) == set(SPECS)


@every_method
def test_1_neutral(name: str) -> None:
    spec = SPECS[name]
    if spec.neutral is not None:
        assert laws.neutral(spec.neutral) is None
        return
    assert spec.monotone, "a method without a neutral setting lists settings from mild to strong"
    assert laws.monotone(spec.monotone) is None
    if spec.twin is not None:
        assert laws.twin(spec.acts, spec.twin) is None


@every_method
def test_1_neutral_in_bfloat16(name: str) -> None:
    spec = SPECS[name]
    if spec.neutral is not None:
        assert laws.neutral_bfloat16(spec.neutral) is None


@every_method
def test_2_acts(name: str) -> None:
    assert laws.acts(SPECS[name].acts) is None


@every_method
def test_3_undo(name: str) -> None:
    assert laws.undo(SPECS[name].acts) is None


@every_method
def test_4_bytes(name: str) -> None:
    spec = SPECS[name]
    assert laws.held_as_predicted(spec.acts) is None
    lines = spec.monotone or ((spec.neutral, spec.acts) if spec.neutral else ())
    for mild, strong in pairwise(lines):
        assert laws.tighter_holds_less(mild, strong) is None


@every_method
def test_5_batch(name: str) -> None:
    assert laws.batch(SPECS[name].acts) is None


@pytest.mark.parametrize("architecture", OTHERS)
@every_method
def test_6_architectures(name: str, architecture: str) -> None:
    spec, lm = SPECS[name], tiny(architecture)
    why = laws.refusal(spec.acts, lm)
    if why is None:
        assert laws.acts(spec.acts, architecture) is None
        if spec.neutral is not None:
            assert laws.neutral(spec.neutral, architecture) is None
        return
    assert len(why.split()) > 5, f"a refusal is a sentence, not {why!r}"
    slots = {edit.slot for _, edit in recipe(spec.acts).plan(tiny("llama").view).pairs}
    if architecture in MUST_WORK and slots & MUST_HAVE_A_PLACE:
        assert spec.refused.get(architecture, "no refusal is declared") in why


@pytest.mark.parametrize("name", [n for n in NAMES if method_info(n).exact])
def test_7_exact_greedy(name: str) -> None:
    assert laws.exact_greedy(SPECS[name].acts, "dense") is None


@every_method
def test_8_recipe(name: str) -> None:
    for line in filter(None, (SPECS[name].neutral, SPECS[name].acts, *SPECS[name].monotone)):
        assert laws.round_trip(recipe(line)) is None
    with pytest.raises(RecipeError, match="no_such_knob"):
        recipe(f"{name}(no_such_knob=1)")
    for knob in method_info(name).knobs:
        if knob.annotation in ("int", "float"):
            with pytest.raises(RecipeError, match=knob.name):
                recipe(f"{name}({knob.name}=nan)")


@every_method
def test_9_seed(name: str) -> None:
    assert laws.seeded(SPECS[name].acts) is None


@every_method
def test_every_method_names_its_papers(name: str) -> None:
    cls = load_method(name)
    assert cls.papers
    assert all(len(paper.split(".")) == 2 for paper in cls.papers)
