"""A prompt that is read twice: its tokens, its spans, its limits, and the text that follows."""

import pytest
import torch

from paretolm.contracts import Interval, Prompt
from paretolm.errors import RecipeError
from paretolm.methods.prompt.just_read_twice import JustReadTwice, Repeat
from paretolm.recipes.recipe import recipe
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.prompt.part import Context

LAWS = LawSpec(neutral="just-read-twice(times=1)", acts="just-read-twice(first=40)")


def test_three_times_by_hand():
    ctx = Context()
    prompt = Prompt(torch.tensor([[1, 7, 8, 9]]), torch.arange(4), {"context": (0, 3), "question": (3, 4)})
    out = Repeat(JustReadTwice(times=3), 100, ctx).rewrite(prompt, None)
    assert out.ids.tolist() == [[1, 7, 8, 9, 7, 8, 9, 7, 8, 9]]
    assert out.origin.tolist() == [0, 1, 2, 3, 1, 2, 3, 1, 2, 3]
    assert out.spans["question"] == (9, 10)
    assert ctx.counters == {"tokens_repeated": 6}


@pytest.mark.parametrize(("longest", "length"), [(7, 7), (6, 4)])
def test_a_prompt_too_long_to_repeat_is_read_once(longest, length):
    ctx = Context()
    out = Repeat(JustReadTwice(), longest, ctx).rewrite(Prompt(torch.arange(4)[None], torch.arange(4)), None)
    assert out.ids.shape[1] == length
    assert bool(ctx.counters) == (length > 4)


def test_a_text_is_generated_from_both():
    lm, ids = tiny(), text(40)
    arguments = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    with recipe("just-read-twice").apply(lm) as session:
        given = session.generate(ids, **arguments).ids
    twice = torch.cat([ids, ids[:, 1:]], dim=1)
    assert torch.equal(given, lm.model.generate(twice, **arguments)[0, 79:])


def test_cost_reaches_twice_the_prompt_but_not_past_the_limit():
    view = tiny().view
    assert recipe("just-read-twice").cost(view, 48).layers[0].entries == Interval(48, 96)
    assert recipe("just-read-twice").cost(view, 96).layers[0].entries == Interval(96, 128)


@pytest.mark.parametrize(("line", "message"), [("just-read-twice(times=0)", "at least 1")])
def test_mistakes_are_named(line, message):
    with pytest.raises(RecipeError, match=message):
        recipe(line)
