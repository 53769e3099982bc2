"""GemFilter's choice by hand and by loops, and the prompt that the model then reads."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.contracts import Budget, Interval, LayerInputs, Prompt
from paretolm.errors import ConflictError, RecipeError
from paretolm.methods.prompt.gemfilter import GemFilter, GemFilterPart, attention_scores, take, top_tokens
from paretolm.recipes.recipe import recipe
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny

LAWS = LawSpec(
    neutral="gemfilter(budget=100%)",
    acts="gemfilter(budget=25%)",
    refused={"mistral_sliding": "full attention"},
)


def test_scores_and_choice_by_hand():
    """Two heads on one key head see logits 1 2 0 0 3 and 0 1 0 1 0; sums 1 3 0 1 3, three neighbours 4 everywhere."""
    query = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    keys = torch.tensor([[[1.0, 0.0], [2.0, 1.0], [0.0, 0.0], [0.0, 1.0], [3.0, 0.0]]])
    assert attention_scores(query, keys, 1.0, "logits", 1).tolist() == [1, 3, 0, 1, 3]
    assert attention_scores(query, keys, 1.0, "logits", 3).tolist() == pytest.approx(
        [4 / 3, 4 / 3, 4 / 3, 4 / 3, 4 / 3]
    )
    assert top_tokens(torch.tensor([1.0, 3, 0, 1, 4]), 2, 0).tolist() == [1, 4]
    assert top_tokens(torch.tensor([1.0, 3, 0, 1, -4]), 3, 2).tolist() == [1, 3, 4]


@given(
    heads=st.integers(1, 3), groups=st.integers(1, 3), length=st.integers(1, 12), width=st.integers(1, 4),
    half=st.integers(0, 3), score=st.sampled_from(["logits", "probabilities"]),
)  # fmt: skip
def test_scores_equal_loops(heads, groups, length, width, half, score):
    query, keys = torch.randn(heads * groups, width), torch.randn(heads, length, width)
    total = torch.zeros(length)
    for head in range(heads * groups):
        row = torch.stack([torch.dot(query[head], keys[head // groups, t]) * 0.5 for t in range(length)])
        total += row.exp() / row.exp().sum() if score == "probabilities" else row
    expected = []
    for t in range(length):
        near = [total[i] for i in range(t - half, t + half + 1) if 0 <= i < length]
        expected.append(sum(near) / (2 * half + 1))
    scores = attention_scores(query, keys, 0.5, score, 2 * half + 1)
    torch.testing.assert_close(scores, torch.stack(expected), atol=1e-5, rtol=1e-4)


@given(st.data())
def test_the_choice_is_the_best_in_text_order(data):
    scores = torch.randn(data.draw(st.integers(1, 30)))
    k = data.draw(st.integers(1, len(scores)))
    recent = data.draw(st.integers(0, k))
    older = list(range(len(scores) - recent))
    best = sorted(older, key=lambda i: -scores[i])[: k - recent]
    assert top_tokens(scores, k, recent).tolist() == sorted(best) + list(range(len(scores) - recent, len(scores)))


def test_spans_and_origins_follow_the_tokens():
    prompt = Prompt(torch.tensor([[7, 8, 9, 10, 11]]), torch.tensor([0, 2, 4, 6, 8]), {"a": (0, 3), "b": (3, 5)})
    left = take(prompt, torch.tensor([1, 2, 4]))
    assert left.ids.tolist() == [[8, 9, 11]]
    assert left.origin.tolist() == [2, 4, 8]
    assert left.spans == {"a": (0, 2), "b": (2, 3)}


class Context:
    """What a part asks of the session."""

    def __init__(self):
        self.counters, self.notes = {}, {}

    def count(self, counter, amount=1):
        self.counters[counter] = self.counters.get(counter, 0) + amount

    def note(self, name, value):
        self.notes[name] = value


class Runner:
    """A layer whose last query looks for the keys 3 and 6."""

    def __init__(self):
        self.layers = []

    def layer_inputs(self, ids, layer):
        self.layers.append(layer)
        keys = torch.zeros(1, 1, ids.shape[1], 2)
        keys[..., [3, 6], 0] = 1
        return LayerInputs(torch.ones(1, 1, ids.shape[1], 2), keys, 1.0)


def test_the_prompt_is_what_the_layer_looks_for():
    ctx, runner = Context(), Runner()
    part = GemFilterPart(GemFilter(budget=Budget(2, "tok"), kernel_size=1), 1, ctx)
    out = part.rewrite(Prompt(torch.arange(10, 20)[None], torch.arange(10)), runner)
    assert out.ids.tolist() == [[13, 16]]
    assert (runner.layers, ctx.counters, ctx.notes) == ([1], {"tokens_dropped": 8}, {"selected": [3, 6]})


def test_a_prompt_within_the_budget_is_left_alone():
    ctx, runner, prompt = Context(), Runner(), Prompt(torch.arange(10)[None], torch.arange(10))
    assert GemFilterPart(GemFilter(budget=Budget(10, "tok")), 0, ctx).rewrite(prompt, runner) is prompt
    assert (runner.layers, ctx.counters) == ([], {})


def test_a_text_is_generated_from_the_selection_alone():
    lm, ids = tiny(), text(96)
    arguments = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    with recipe("gemfilter(budget=25%)").apply(lm) as session:
        given = session.generate(ids, **arguments).ids
        selected = session.notes["gemfilter"]["selected"]
        assert session.counters == {"gemfilter": {"tokens_dropped": 72}}
    again = lm.model.generate(ids[:, selected], **arguments)[0, len(selected) :]
    assert torch.equal(given, again)
    assert selected == sorted(selected)


def test_queries_and_keys_are_those_of_the_model():
    """The selection from the model's own attention weights, before softmax up to a constant a head."""
    lm, ids = tiny(attention="eager"), text(60)
    weights = lm.model(ids, output_attentions=True).attentions[1][0, :, -1]
    best = weights.sum(0).topk(15).indices.sort().values
    with recipe("gemfilter(budget=25%, score=probabilities, kernel_size=1)").apply(lm) as session:
        session.generate(ids, max_new_tokens=1)
        assert session.notes["gemfilter"]["selected"] == best.tolist()


@pytest.mark.parametrize(("num_layers", "expected"), [(32, 13), (40, 16), (5, 2), (2, 1), (1, 0)])
def test_the_layer_that_picks(num_layers, expected):
    class View:
        full_layers = frozenset(range(num_layers))

    View.num_layers = num_layers
    assert GemFilter().layer(View) == expected


def test_only_layers_with_full_attention_pick():
    view = tiny("gemma3").view
    assert GemFilter().layer(view) == 1
    with pytest.raises(ConflictError, match="choose filter_layer among 1, 2"):
        GemFilter(filter_layer=0).layer(view)


def test_cost_lies_between_all_prompt_and_no_prompt():
    view = tiny().view
    cost = recipe("gemfilter(budget=25%)").cost(view, 96)
    assert [layer.entries for layer in cost.layers] == [Interval(24, 96)] * 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("gemfilter(kernel_size=4)", "must be odd"),
        ("gemfilter(budget=32)", "256tok or 25%"),
        ("gemfilter(score=norm)", "logits, probabilities"),
        ("gemfilter(recent=-1)", "at least 0"),
    ],
)
def test_mistakes_are_named(line, message):
    with pytest.raises(RecipeError, match=message):
        recipe(line)
