"""SpecPC: attention and selection against loops; the model reads what the draft looked at."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paretolm
from paretolm.contracts import Budget, LayerInputs
from paretolm.errors import RecipeError
from paretolm.methods.prompt.specpc import SpecPC, important, window_attention
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny

LINE = "specpc(budget=50%, window_size=4, kernel_size=3, neighbor_tokens=0)"
LAWS = LawSpec(neutral="specpc(budget=100%)", acts=LINE)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 4), st.integers(0, 5), st.booleans(), st.integers(0, 99))
def test_attention_equals_a_loop(w, before, weighted, seed):
    generator, n = torch.Generator().manual_seed(seed), w + before
    queries, keys = torch.randn(1, 4, n, 3, generator=generator), torch.randn(1, 2, n, 3, generator=generator)
    expected = [0.0] * n
    for head in range(4):
        for i in range(w):
            seen = range(before + i + 1)
            weights = [math.exp(0.5 * float(queries[0, head, before + i] @ keys[0, head // 2, j])) for j in seen]
            share = i / (w - 1) if weighted and w > 1 else 1.0
            for j in seen:
                expected[j] = max(expected[j], share * weights[j] / sum(weights))
    found = window_attention(LayerInputs(queries, keys, 0.5), w, weighted)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=0)


def test_selection_by_hand():
    """Ten tokens, the last the window; 2 is best, then 6."""
    scores = torch.tensor([0.0, 0, 9, 0, 0, 0, 5, 0, 0, 1])
    assert important(scores, 3, 1, 1, 0).tolist() == [2, 6, 9]
    assert important(scores, 5, 1, 1, 3).tolist() == [1, 2, 3, 6, 9]  # neighbours of 2 before those of 6
    assert important(scores, 4, 1, 3, 0).tolist() == [1, 2, 3, 9]  # pooled: the neighbours of 2 are as good
    assert important(scores, 10, 1, 3, 3).tolist() == list(range(10))


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 6), st.integers(0, 99))
def test_a_selection_has_its_size_and_its_window(n, kernel_size, neighbors, seed):
    scores = torch.rand(n, generator=torch.Generator().manual_seed(seed))
    k = 1 + seed % n
    window = max(1, k // 2)
    index = important(scores, k, window, kernel_size, neighbors).tolist()
    assert index == sorted(set(index))
    assert len(index) == k
    assert index[-window:] == list(range(n - window, n))


def test_the_model_reads_the_selection_and_the_draft_is_counted():
    lm, ids = tiny(), text(40)
    with paretolm.recipe(LINE).apply(lm) as session, torch.inference_mode():
        prompt = session.rewrite(ids)
        assert prompt.ids.tolist() == ids[:, prompt.origin].tolist()
        assert prompt.origin.tolist() == session.notes["specpc"]["selected"]
        assert prompt.origin[-4:].tolist() == [36, 37, 38, 39]
        assert session.counters["specpc"]["tokens_dropped"] == 20
        assert [one.lm.name for one in session.seconds] == ["draft"]


def test_a_draft_without_such_a_layer_is_one_sentence():
    sentence = "has no layer with full attention from starting_layer=9"
    recipe = paretolm.recipe("specpc(budget=50%, starting_layer=9)")
    with recipe.apply(tiny()) as session, pytest.raises(RecipeError, match=sentence):
        session.rewrite(text(40))


def test_the_control_needs_no_draft_and_keeps_other_tokens():
    ids, found = text(40), []
    for line in (LINE, LINE.replace("neighbor", "scores=random, neighbor")):
        with paretolm.recipe(line).apply(tiny()) as session, torch.inference_mode():
            found.append(session.rewrite(ids).origin.tolist())
            drafts = len(session.seconds)
    assert drafts == 0
    assert found[0] != found[1]
    assert len(found[0]) == len(found[1]) == 20


def test_a_budget_within_the_window_is_refused():
    with pytest.raises(RecipeError, match="window_size=64 leaves nothing of budget=64tok"):
        SpecPC(budget=Budget(64, "tok"))
