"""XL3M's segments, certainty and choice by hand, and the prompt that the model then reads."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.contracts import Interval, Prompt
from paretolm.errors import CallError, RecipeError
from paretolm.methods.prompt._context import indices, question_start, stretches
from paretolm.methods.prompt.xl3m import XL3M, XL3MPart, entropy, surest
from paretolm.recipes.recipe import recipe
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.prompt.part import Context, Sure

LAWS = LawSpec(neutral="xl3m(question=8, overlap=4)", acts="xl3m(window=24, top_k=2, overlap=2, question=4)")


def test_entropy_by_hand():
    assert entropy(torch.zeros(8)) == pytest.approx(math.log(8))
    assert entropy(torch.tensor([0.0, -torch.inf])) == 0
    assert entropy(torch.tensor([0.25, 0.75]).log()) == pytest.approx(-0.25 * math.log(0.25) - 0.75 * math.log(0.75))


@given(st.integers(0, 9), st.integers(1, 60), st.integers(1, 12), st.integers(0, 11))
def test_stretches_cover_all_and_overlap(start, length, size, overlap):
    overlap = min(overlap, size - 1)
    found = stretches(start, start + length, size, overlap)
    assert indices(found).tolist() == list(range(start, start + length))
    assert all(0 < high - low <= size for low, high in found)
    assert all(a[1] - b[0] == overlap for a, b in pairwise(found))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.integers(1, 12))
def test_the_surest_are_kept_in_text_order(values, k):
    chosen = surest(values, k)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(k, len(values))
    left = [v for i, v in enumerate(values) if i not in chosen]
    assert not left or max(values[i] for i in chosen) <= min(left)


def test_the_question_is_its_span_or_the_last_tokens():
    ids, origin = torch.arange(9)[None], torch.arange(9)
    assert question_start(Prompt(ids, origin, {"question": (5, 9)}), 2) == 5
    assert question_start(Prompt(ids, origin), 2) == 7
    assert question_start(Prompt(ids, origin), 20) == 0


def test_the_segment_that_makes_sure_is_read():
    """20 tokens, the last two the question; segments of 6, 2 shared. 11 stands in the third segment alone."""
    ctx, runner = Context(), Sure(11)
    method = XL3M(window=10, top_k=1, segment=6, overlap=2, question=2)
    out = XL3MPart(method, 10, ctx).rewrite(Prompt(torch.arange(20)[None], torch.arange(20)), runner)
    assert runner.read == [[*range(low, high), 18, 19] for low, high in ((0, 6), (4, 10), (8, 14), (12, 18))]
    assert out.ids.tolist() == [[8, 9, 10, 11, 12, 13, 18, 19]]
    assert ctx.notes == {"segments": [[8, 14]]}
    assert ctx.counters == {"tokens_dropped": 12}


def test_first_tokens_stand_before_every_segment_and_shared_ones_once():
    ctx, runner = Context(), Sure(-1)
    method = XL3M(window=14, top_k=2, segment=5, overlap=2, question=2, first=1)
    out = XL3MPart(method, 14, ctx).rewrite(Prompt(torch.arange(20)[None], torch.arange(20)), runner)
    assert all(read[0] == 0 and read[-2:] == [18, 19] for read in runner.read)
    assert out.ids[0].tolist() == [0, *range(1, 9), 18, 19]


def test_a_prompt_that_fits_is_left_alone():
    prompt, runner = Prompt(torch.arange(10)[None], torch.arange(10)), Sure(1)
    assert XL3MPart(XL3M(question=2), 10, Context()).rewrite(prompt, runner) is prompt
    assert runner.read == []


def test_a_question_that_leaves_no_room_is_refused():
    prompt = Prompt(torch.arange(20)[None], torch.arange(20), {"question": (4, 20)})
    with pytest.raises(CallError, match="has no room"):
        XL3MPart(XL3M(top_k=1, overlap=0, question=2), 10, Context()).rewrite(prompt, Sure(1))


def test_a_text_is_generated_from_the_kept_segments_alone():
    lm, ids = tiny(), text(96)
    arguments = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    with recipe("xl3m(window=40, top_k=2, overlap=4, question=8)").apply(lm) as session:
        given = session.generate(ids, **arguments).ids
        kept = session.notes["xl3m"]["segments"]
    index = indices([*map(tuple, kept), (88, 96)])
    assert len(index) <= 40
    again = lm.model.generate(ids[:, index], **arguments)[0, len(index) :]
    assert torch.equal(given, again)


def test_cost_lies_between_the_kept_and_no_prompt():
    cost = recipe("xl3m(window=24, top_k=2, overlap=2, question=4)").cost(tiny().view, 96)
    assert [layer.entries for layer in cost.layers] == [Interval(1, 96)] * 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("xl3m(segment=16, overlap=16)", "must be below"),
        ("xl3m(window=64)", "do not fit a window of 64"),
        ("xl3m(top_k=0)", "at least 1"),
    ],
)
def test_mistakes_are_named(line, message):
    with pytest.raises(RecipeError, match=message):
        recipe(line)
