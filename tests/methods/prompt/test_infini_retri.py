"""InfiniRetri's attention, sentences and windows by hand and by loops, and the prompt that the model then reads."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.contracts import Budget, Interval, LayerInputs, Prompt
from paretolm.errors import ConflictError, RecipeError
from paretolm.methods.prompt._context import indices
from paretolm.methods.prompt.infini_retri import (
    InfiniRetri,
    InfiniRetriPart,
    best_sentences,
    looked_at,
    sentences,
    windows,
)
from paretolm.recipes.recipe import recipe
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.prompt.part import Context, Looking

LAWS = LawSpec(
    neutral="infini-retri(budget=16tok, longest=8)",
    acts="infini-retri(window=24, budget=8tok, longest=4, question=4)",
    refused={"mistral_sliding": "full attention"},
)


@given(
    heads=st.integers(1, 2), groups=st.integers(1, 3), length=st.integers(2, 9), asked=st.integers(1, 4),
    half=st.integers(0, 2),
)  # fmt: skip
def test_attention_equals_loops(heads, groups, length, asked, half):
    asked = min(asked, length)
    queries, keys = torch.randn(1, heads * groups, length, 3), torch.randn(1, heads, length, 3)
    each = torch.zeros(length)
    for head in range(heads * groups):
        for q in range(length - asked, length):
            row = torch.stack([queries[0, head, q] @ keys[0, head // groups, t] * 0.5 for t in range(q + 1)])
            each[: q + 1] += row.exp() / row.exp().sum()
    expected = [float(each[max(0, t - half) : t + half + 1].sum()) for t in range(length)]
    found = looked_at(LayerInputs(queries, keys, 0.5), asked, 2 * half + 1)
    assert found.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_sentences_end_at_their_mark_or_after_the_longest():
    assert sentences([False, True, False, False, False, False], 3) == [(0, 2), (2, 5), (5, 6)]
    assert sentences([], 3) == []


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 9), st.integers(1, 20))
def test_windows_hold_every_sentence_once(ends, longest, size):
    parts = sentences(ends, longest)
    found = windows(parts, size)
    assert [part for some in found for part in some] == parts
    assert all(len(some) == 1 or some[-1][1] - some[0][0] <= size for some in found)
    assert indices(parts).tolist() == list(range(len(ends)))


def test_the_best_sentences_within_the_budget():
    parts = [(0, 3), (10, 12), (20, 22)]
    scores = torch.tensor([1.0, 0, 5, 4, 0, 9, 0])
    assert best_sentences(scores, parts, 7, 4) == [(10, 12), (20, 22)]  # 20 first; (0, 3) is too long for what is left
    assert best_sentences(scores, parts, 7, 5) == [(0, 3), (20, 22)]
    assert best_sentences(scores, parts, 1, 9) == [(20, 22)]


def test_the_sentence_that_the_question_looks_at_goes_along():
    """30 tokens in sentences of 3; the question 28 29 looks for 7 and 20."""
    ctx, runner = Context(), Looking(7, 20)
    method = InfiniRetri(window=14, budget=Budget(6, "tok"), chunk_size=6, top_k=2, phrase=1, longest=3, question=2)
    out = InfiniRetriPart(method, 14, 0, ctx).rewrite(Prompt(torch.arange(30)[None], torch.arange(30)), runner)
    assert out.ids.tolist() == [[6, 7, 8, 18, 19, 20, 28, 29]]
    assert ctx.notes == {"kept": [[6, 9], [18, 21]]}
    assert ctx.counters == {"tokens_dropped": 22}
    assert all(len(read) <= 14 and read[-2:] == [28, 29] for read in runner.read)


class Letters:
    def decode(self, ids):
        return ".ab"[ids[0]]


def test_a_tokenizer_says_where_sentences_end():
    ctx, runner = Context(tokenizer=Letters()), Looking(2)
    method = InfiniRetri(window=9, budget=Budget(4, "tok"), phrase=1, top_k=1, longest=4, question=1)
    ids = torch.tensor([[1, 0, 1, 1, 0, 2, 0, 1, 0, 1]])
    out = InfiniRetriPart(method, 9, 0, ctx).rewrite(Prompt(ids, torch.arange(10)), runner)
    assert out.origin.tolist() == [5, 6, 9]


def test_a_text_is_generated_from_the_kept_sentences_alone():
    lm, ids = tiny(), text(96)
    arguments = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    with recipe("infini-retri(window=40, budget=12tok, longest=4, question=4)").apply(lm) as session:
        given = session.generate(ids, **arguments).ids
        kept = session.notes["infini-retri"]["kept"]
    index = indices([*map(tuple, kept), (92, 96)])
    assert len(index) <= 16
    again = lm.model.generate(ids[:, index], **arguments)[0, len(index) :]
    assert torch.equal(given, again)


def test_only_layers_with_full_attention_look():
    view = tiny("gemma3").view
    assert InfiniRetri().looking_layer(view) == 2
    with pytest.raises(ConflictError, match="choose layer among 1, 2"):
        InfiniRetri(layer=0).looking_layer(view)


def test_cost_lies_between_the_kept_and_no_prompt():
    cost = recipe("infini-retri(window=24, budget=8tok, longest=4, question=4)").cost(tiny().view, 96)
    assert [layer.entries for layer in cost.layers] == [Interval(1, 96)] * 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("infini-retri(phrase=2)", "must be odd"),
        ("infini-retri(window=64)", "a window has 64"),
        ("infini-retri(budget=9)", "256tok or 25%"),
    ],
)
def test_mistakes_are_named(line, message):
    with pytest.raises(RecipeError, match=message):
        recipe(line)
