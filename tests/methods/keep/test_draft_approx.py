"""SpecKV: votes against a loop, and the first layer against one plain reading of prompt and draft."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paretolm
from paretolm.contracts import Budget
from paretolm.errors import RecipeError
from paretolm.methods.keep.draft_approx import DraftApprox, lookahead_votes, num_known
from paretolm.methods.keep.snapkv import smooth
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods import checks

LAWS = LawSpec(neutral="draft-approx(budget=100%)", acts="draft-approx(budget=25%, window_size=8)")
PROMPT = "Once upon a time there was a miller who had a daughter. One day the king came by and asked"


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 3), st.integers(0, 3), st.integers(1, 5), st.sampled_from(["max", "mean"]), st.integers(0, 99))
def test_votes_equal_a_loop(window, ahead, before, reduction, seed):
    generator, n = torch.Generator().manual_seed(seed), window + before
    queries = torch.randn(1, 4, window + ahead, 3, generator=generator)
    keys = torch.randn(1, 2, n, 3, generator=generator)
    found = lookahead_votes(queries, keys, window, 0.5, reduction)
    for head in range(2):
        rows = []
        for query_head in (2 * head, 2 * head + 1):
            for i in range(window + ahead):
                seen = range(min(n, before + i + 1))
                weights = [math.exp(0.5 * float(queries[0, query_head, i] @ keys[0, head, j])) for j in seen]
                rows.append([weights[j] / sum(weights) for j in range(before)])
        columns = list(zip(*rows, strict=True))
        expected = [max(c) if reduction == "max" else sum(c) / len(c) for c in columns]
        torch.testing.assert_close(found[0, head], torch.tensor(expected), atol=1e-5, rtol=0)


def test_a_draft_ends_where_the_model_has_no_such_token():
    assert num_known(torch.tensor([3, 9, 10, 2]), vocab_size=10) == 2
    assert num_known(torch.tensor([3, 9]), vocab_size=10) == 2


def opened(line, ids, lm, whole=True):
    with paretolm.recipe(line).apply(lm) as session, torch.inference_mode():
        stream = session.stream(ids if whole else None)
        half = ids.shape[1] // 2
        stream.read(ids[:, :half])
        stream.read(ids[:, half:], last=True, logits=False)
        logits = stream.step(ids[:, :1]).logits
        return stream, logits, dict(session.notes.get("draft-approx", {})), list(session.seconds)


@pytest.fixture(scope="module")
def reference():
    return paretolm.load("reference")


def test_the_first_layer_keeps_what_prompt_and_draft_look_at(reference):
    """Read once with the draft behind it, without a cache, layer 0 has the same queries and keys."""
    line = "draft-approx(budget=50%, window_size=4, lookahead_tokens=6)"
    ids = torch.tensor([reference.tokenizer(PROMPT).input_ids])
    n = ids.shape[1]
    stream, _, notes, seconds = opened(line, ids, reference)
    assert notes == {"lookahead": 6}
    assert [one.lm.name for one in seconds] == ["draft"]
    draft = paretolm.load("draft").model.generate(ids, max_new_tokens=6, do_sample=False)
    with paretolm.recipe("dense").apply(reference) as session, torch.inference_mode():
        seen = session.binding.layer_inputs(draft, 0)
    votes = lookahead_votes(seen.queries[:, :, n - 4 :], seen.keys[:, :, :n], 4, seen.scaling, "max")
    pooled, size = smooth(votes, 7, "maxpool")[0], math.ceil(n / 2)
    for head, own in enumerate(stream.cache.held_layers[0].positions[0].tolist()):
        least = float(pooled[head].sort(descending=True).values[size - 5])
        assert all(float(pooled[head, i]) >= least - 1e-6 for i in own[: size - 4])
        assert own[size - 4 :] == [n - 4, n - 3, n - 2, n - 1, n]  # the window, and the token that was read since


def test_the_draft_leaves_nothing_but_its_choice(reference):
    """A budget that keeps all but one entry: positions go on where the prompt ended."""
    ids = torch.tensor([reference.tokenizer(PROMPT).input_ids])
    stream, *_ = opened("draft-approx(budget=50%, window_size=4)", ids, reference)
    layer = stream.cache.held_layers[0]
    assert stream.seen == ids.shape[1] + 1
    assert layer.positions[..., -1].unique().tolist() == [ids.shape[1]]


def test_a_prompt_that_others_read_goes_on_alike(reference):
    ids = torch.tensor([reference.tokenizer(PROMPT).input_ids])
    recipe = paretolm.recipe("draft-approx(budget=50%, window_size=4)")
    dense, other = paretolm.recipe("dense").apply(reference), recipe.apply(paretolm.load("reference"))
    with dense as first, other as second, torch.inference_mode():
        snapshot = first.prefill(ids, observe=second.observes())
        got = second.resume(snapshot).step(ids[:, :1]).logits
    _, expected, *_ = opened("draft-approx(budget=50%, window_size=4)", ids, reference)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_without_the_whole_prompt_the_window_votes_alone():
    stream, _, notes, seconds = opened("draft-approx(budget=50%, window_size=4)", text(40), tiny(), whole=False)
    assert notes == {}
    assert seconds == []
    assert stream.held == [21, 21]


def test_beams_share_one_draft(reference):
    ids = torch.tensor([reference.tokenizer(PROMPT).input_ids])
    with paretolm.recipe("draft-approx(budget=50%, window_size=4)").apply(reference) as session:
        out = session.lm.model.generate(ids, max_new_tokens=3, num_beams=2, do_sample=False, eos_token_id=None)
        assert session.notes["draft-approx"]["lookahead"] == 16
    assert out.shape == (1, ids.shape[1] + 3)


def test_a_padded_batch_is_refused():
    checks.padding_is_refused("draft-approx", "gives up")


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"budget": Budget(32, "tok")}, "window_size=32 leaves nothing of budget=32tok"),
        ({"kernel_size": 4}, "kernel_size must be odd"),
    ],
)
def test_knobs_that_contradict_are_refused(knobs, sentence):
    with pytest.raises(RecipeError, match=sentence):
        DraftApprox(**knobs)
