"""Recycled Attention against a loop over steps; a forward of many tokens against single steps."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paretolm
from paretolm.contracts import Budget, Moment
from paretolm.errors import RecipeError
from paretolm.methods.attend.select.recycled_attention import RecycledAttention, Recycling
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods import checks
from tests.methods.attend.select.chunks import FakeContext, FakeHeld, logits_of, step, tensors

LAWS = LawSpec(neutral="recycled-attention(stride=1)", acts="recycled-attention(budget=10%, stride=5)")


def loop(queries, keys, prompt, budget, stride):
    """What each query after the prompt reads, a set a head, one step and one pair at a time."""
    heads, group = keys.shape[1], queries.shape[1] // keys.shape[1]
    n, found, kept, since = keys.shape[2], [], [], 0
    for t in range(prompt, n):
        if (t - prompt) % stride == 0:
            kept, since = [], t
            for h in range(heads):
                mass = [0.0] * (t + 1)
                for query in queries[0, h * group : (h + 1) * group, t - prompt]:
                    weights = [math.exp(float(query @ keys[0, h, j]) / math.sqrt(len(query))) for j in range(t + 1)]
                    mass = [m + w / sum(weights) for m, w in zip(mass, weights, strict=True)]
                kept.append(set(sorted(range(t), key=mass.__getitem__)[-budget:]))
            found.append([set(range(t + 1))] * heads)
        else:
            found.append([k | set(range(since, t + 1)) for k in kept])
    return found


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 8), st.integers(1, 5), st.integers(1, 4), st.lists(st.integers(1, 5), min_size=1), st.integers(0, 99)
)
def test_any_chunks_equal_a_loop_over_steps(prompt, budget, stride, chunks, seed):
    num = sum(chunks)
    queries, keys = tensors(num, prompt + num, seed=seed)
    part = Recycling(FakeContext(), RecycledAttention(budget=Budget(budget, "tok"), stride=stride))
    found, seen = [], 0
    for size in chunks:
        held = FakeHeld(keys[:, :, : prompt + seen + size], prompt + seen)
        mask = part.choose(queries[:, :, seen : seen + size], held, step(size, prompt + seen))
        for i in range(size):
            everything = set(range(prompt + seen + i + 1))
            rows = [everything] * 2 if mask is None else [set(m.nonzero()[:, 0].tolist()) for m in mask[0, :, i]]
            found.append(rows)
        seen += size
    assert found == loop(queries, keys, prompt, budget, stride)


@pytest.mark.parametrize("line", [LAWS.acts, "recycled-attention(budget=12tok, stride=50, similarity=0.5)"])
def test_many_tokens_in_one_forward_read_what_each_reads_alone(line):
    single, counts = logits_of(line, 1)
    assert counts["entries_unread"] > 0
    for chunk in (3, 56):
        together, also = logits_of(line, chunk)
        torch.testing.assert_close(together, single, atol=1e-4, rtol=0)
        assert also == counts


def test_unlike_queries_bring_full_steps_sooner():
    _, rare = logits_of("recycled-attention(budget=12tok, stride=50)", 8)
    _, often = logits_of("recycled-attention(budget=12tok, stride=50, similarity=0.5)", 8)
    assert 0 < often["entries_unread"] < rare["entries_unread"]


def test_the_prompt_is_read_densely():
    queries, keys = tensors(20, 20)
    part = Recycling(FakeContext(), RecycledAttention())
    assert part.choose(queries, FakeHeld(keys, 0), step(20, 0, Moment.PREFILL_END)) is None
    assert list(part.tensors()) == []


def test_what_is_remembered_lies_in_the_prediction():
    lm, recipe = tiny(), paretolm.recipe(LAWS.acts)
    with recipe.apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        stream.read(text(60), last=True)
        stream.step(text(20))
        assert stream.held == [80, 80]
        assert stream.kv_bytes in recipe.cost(lm.view, 80).kv_bytes
        assert 0 < stream.index_bytes <= recipe.cost(lm.view, 80).index_bytes.high


def test_a_padded_batch_is_refused():
    checks.padding_is_refused("recycled-attention", "gives up")


def test_a_stride_of_nothing_is_refused():
    with pytest.raises(RecipeError, match="stride must be at least 1"):
        RecycledAttention(stride=0)
