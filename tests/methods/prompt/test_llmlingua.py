"""LLMLingua's surprise and choice by hand, against a whole pass where one piece holds all, and in generation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.contracts import Budget, Interval, Prompt
from paretolm.errors import RecipeError
from paretolm.methods.prompt.llmlingua import LLMLingua, LLMLinguaPart, surprise
from paretolm.recipes.recipe import recipe
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.prompt.part import Context

LAWS = LawSpec(neutral="llmlingua(budget=100%, segment=32)", acts="llmlingua(budget=50%, segment=8, question=4)")


class Guessing:
    """Thinks that every token is twice as likely to be repeated as anything else; 4 tokens in all."""

    def logits(self, ids):
        return torch.nn.functional.one_hot(ids, 4)[..., :4].float() * torch.log(torch.tensor(2.0))


def test_surprise_by_hand():
    """The token just seen has probability 2 / 5, another one 1 / 5."""
    ids = torch.tensor([1, 1, 2, 2, 3])
    found = surprise(Guessing().logits(ids[None])[0], ids).exp()
    assert found.tolist() == pytest.approx([torch.inf, 2.5, 5, 2.5, 5])


def test_repetitions_are_left_out():
    """0 0 1 1 2 2 3 3 and the question 0 0: of four tokens a piece, the two that change stay."""
    ids, ctx = torch.tensor([[0, 0, 1, 1, 2, 2, 3, 3, 0, 0]]), Context()
    method = LLMLingua(budget=Budget(6, "tok"), segment=4, question=2, first=0)
    out = LLMLinguaPart(method, 100, ctx).rewrite(Prompt(ids, torch.arange(10)), Guessing())
    assert out.origin.tolist() == [0, 2, 4, 6, 8, 9]
    assert ctx.counters == {"tokens_dropped": 4}


@given(
    length=st.integers(8, 60), share=st.integers(10, 99), segment=st.integers(1, 20), question=st.integers(0, 9),
    first=st.integers(0, 3), longest=st.integers(21, 80),
)  # fmt: skip
def test_the_budget_is_met_and_the_question_whole(length, share, segment, question, first, longest):
    ids = torch.randint(0, 4, (1, length))
    method = LLMLingua(budget=Budget(share, "%"), segment=segment, question=question, first=first)
    out = LLMLinguaPart(method, longest, Context()).rewrite(Prompt(ids, torch.arange(length)), Guessing())
    kept = out.origin.tolist()
    k = method.budget.tokens(length)
    assert len(kept) == k
    assert kept == sorted(set(kept))
    asked = min(question, k)
    assert kept[k - asked :] == list(range(length - asked, length))


def test_one_piece_keeps_what_a_whole_pass_finds_surprising():
    lm, ids = tiny(), text(60)
    with torch.inference_mode():
        log = lm.model(ids).logits[0, :-1].log_softmax(-1)
    told = -log.gather(-1, ids[0, 1:, None])[:, 0]
    best = (told[:55].topk(24).indices + 1).sort().values
    with recipe("llmlingua(budget=29tok, segment=100, question=4)").apply(lm) as session:
        session.generate(ids, max_new_tokens=1)
        assert session.notes["llmlingua"]["selected"] == [0, *best.tolist(), *range(56, 60)]


def test_cost_lies_between_the_kept_and_no_prompt():
    cost = recipe("llmlingua(budget=25%, segment=16, question=4)").cost(tiny().view, 96)
    assert [layer.entries for layer in cost.layers] == [Interval(24, 96)] * 2


@pytest.mark.parametrize(
    ("line", "message"),
    [("llmlingua(budget=20tok)", "leave nothing of budget=20tok"), ("llmlingua(segment=0)", "at least 1")],
)
def test_mistakes_are_named(line, message):
    with pytest.raises(RecipeError, match=message):
        recipe(line)
