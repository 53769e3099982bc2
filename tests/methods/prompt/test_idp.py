"""IDP's attention by loops, its choice, and the prompt that the model then reads."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.contracts import Interval, LayerInputs, Prompt
from paretolm.errors import CallError, ConflictError, RecipeError
from paretolm.methods.prompt.idp import IDP, IDPPart, mean_attention, put
from paretolm.recipes.recipe import recipe
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.prompt.part import Context, Looking

LAWS = LawSpec(
    neutral='idp(prompts="")',
    acts='idp(prompts="5 6 7 | 8 9 | 10 11 12 13")',
    refused={"mistral_sliding": "full attention", "gemma3": "full attention"},
)


@given(
    heads=st.integers(1, 2), groups=st.integers(1, 2), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    length=st.integers(1, 5),
)  # fmt: skip
def test_attention_equals_loops(heads, groups, sizes, length):
    begin = sum(sizes)
    queries, keys = torch.randn(1, heads * groups, begin + length, 3), torch.randn(1, heads, begin + length, 3)
    paid = torch.zeros(begin)
    for head in range(heads * groups):
        for q in range(begin, begin + length):
            row = torch.stack([queries[0, head, q] @ keys[0, head // groups, t] * 0.5 for t in range(q + 1)])
            paid += (row.exp() / row.exp().sum())[:begin] / (heads * groups * length)
    expected = [float(part.mean()) for part in paid.split(sizes)]
    assert mean_attention(LayerInputs(queries, keys, 0.5), sizes).tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("wanted", "chosen"), [(7, 0), (9, 1)])
def test_the_prompt_that_is_looked_at_is_chosen(wanted, chosen):
    ctx = Context(tiny().view)
    prompt = Prompt(torch.tensor([[1, 20, 21]]), torch.arange(3), {"question": (1, 3)})
    out = IDPPart(IDP(prompts="6 7 | 8 9"), ctx).rewrite(prompt, Looking(wanted))
    assert out.ids.tolist() == [[1, *((6, 7), (8, 9))[chosen], 20, 21]]
    assert out.origin.tolist() == [0, -1, -1, 1, 2]
    assert out.spans == {"question": (3, 5)}
    assert ctx.notes == {"prompt": chosen}


def test_spans_around_what_is_put_in():
    out = put(Prompt(torch.arange(4)[None], torch.arange(4), {"all": (0, 4), "head": (0, 2)}), torch.tensor([[9]]), 2)
    assert out.spans == {"all": (0, 5), "head": (0, 2)}


class Words:
    def __call__(self, text, add_special_tokens):
        return SimpleNamespace(input_ids=[len(word) for word in text.split()])


def test_texts_go_through_the_tokenizer():
    prompt = Prompt(torch.tensor([[1, 20]]), torch.arange(2))
    out = IDPPart(IDP(prompts="some words here"), Context(tokenizer=Words())).rewrite(prompt, None)
    assert out.ids.tolist() == [[1, 4, 5, 4, 20]]


def test_a_text_is_generated_from_the_prompt_and_the_input():
    lm, ids = tiny(), text(40)
    arguments = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    with recipe('idp(prompts="5 6 7 | 8 9")').apply(lm) as session:
        given = session.generate(ids, **arguments).ids
        chosen = session.notes["idp"]["prompt"]
    own = torch.tensor([[[5, 6, 7], [8, 9]][chosen]])
    whole = torch.cat([ids[:, :1], own, ids[:, 1:]], dim=1)
    assert torch.equal(given, lm.model.generate(whole, **arguments)[0, whole.shape[1] :])


def test_an_id_that_the_model_does_not_have_is_named():
    lm = tiny()
    with recipe('idp(prompts="5 970")').apply(lm) as session, pytest.raises(CallError, match="token id 970"):
        session.generate(text(20), max_new_tokens=1)


def test_texts_need_a_tokenizer():
    view = tiny().view.changed(has_tokenizer=False)
    with pytest.raises(ConflictError, match="give prompts as token ids"):
        list(IDP().plan(view))


def test_cost_has_room_for_the_longest_prompt():
    cost = recipe('idp(prompts="5 6 7 | 8 9")').cost(tiny().view, 48)
    assert cost.layers[0].entries == Interval(48, 53)


@pytest.mark.parametrize(("line", "message"), [('idp(prompts="5 | ")', "is empty"), ("idp(layer=-1)", "at least 0")])
def test_mistakes_are_named(line, message):
    with pytest.raises(RecipeError, match=message):
        recipe(line)
