"""EchoAtt: who follows whom by hand and by trying all, shared attention against a loop, keys and projections gone."""

import itertools
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paretolm
from paretolm.bridge.bytes import module_bytes
from paretolm.contracts import Artifact
from paretolm.errors import ConflictError, FitError
from paretolm.methods.attend.approximate._adjusting import divergence
from paretolm.methods.attend.approximate._sharing import (
    Matrices,
    Sharing,
    agreement,
    drawn,
    likeness,
    matrix,
    most_alike,
    pairing,
)
from paretolm.methods.attend.approximate._unread import NoKeys, Unread
from paretolm.methods.attend.approximate.echoatt import EchoAtt, operations, unread_of
from tests.contract.laws import _Texts, opened
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.attend.approximate.masked import causal, dense

BOTH = "first=0, last=0, steps=2, rank=2"  # the tiny models have two layers
LAWS = LawSpec(neutral=f"echoatt(share=0, {BOTH})", acts=f"echoatt(share=0.5, {BOTH})")


# --- who follows whom ----------------------------------------------------------------------------


def test_groups_by_hand():
    """The second is like the first, the fourth like the third; the third is like nothing before it."""
    alike = [[1, 0.9, 0.1, 0.2], [0, 1, 0.2, 0.3], [0, 0, 1, 0.8], [0, 0, 0, 1]]
    assert most_alike(alike, 1) == {1: 0}
    assert most_alike(alike, 2) == {1: 0, 3: 2}
    assert most_alike(alike, 3) == {1: 0, 2: 0, 3: 0}
    assert most_alike(alike, 0) == {}


@settings(deadline=None)
@given(st.integers(2, 6), st.data())
def test_no_other_followers_are_more_alike(size, data):
    count = data.draw(st.integers(0, size - 1))
    alike = torch.rand(size, size, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99)))).tolist()

    def follow(followers):
        return {f: max(i for i in range(f) if i not in followers) for f in followers}

    def total(leaders):
        return sum(alike[leader][follower] for follower, leader in leaders.items())

    found = most_alike(alike, count)
    assert len(found) == count
    assert found == follow(set(found))
    every = (follow(set(some)) for some in itertools.combinations(range(1, size), count))
    assert total(found) == pytest.approx(max(map(total, every)))


def test_drawn_followers_follow_the_nearest_that_leads():
    assert drawn(4, 3, seed=0) == {1: 0, 2: 0, 3: 0}
    found = [drawn(6, 2, seed) for seed in range(40)]
    assert found == [drawn(6, 2, seed) for seed in range(40)]
    assert {f for leaders in found for f in leaders} == {1, 2, 3, 4, 5}
    for leaders in found:
        assert len(leaders) == 2
        for follower, leader in leaders.items():
            assert leader not in leaders
            assert all(between in leaders for between in range(leader + 1, follower))


def test_heads_are_paired_with_those_most_like_them():
    """The second layer has the heads of the first in another order, one of them blurred."""
    draw = torch.Generator().manual_seed(0)
    first = matrix(torch.randn(1, 3, 9, 4, generator=draw), torch.randn(1, 3, 9, 4, generator=draw), 1.0, None)[0]
    second = first[[2, 0, 1]].clone()
    second[0] = 0.9 * second[0] + 0.1 * second[0].mean(-1, keepdim=True)
    found = agreement(torch.stack([first, second]))
    matched, same = pairing(found, True), pairing(found, False)
    assert matched[0, 1].tolist() == [2, 0, 1]
    assert same[0, 1].tolist() == [0, 1, 2]
    assert float(likeness(found, matched)[0, 1]) > 0.98 > float(likeness(found, same)[0, 1])
    naive = torch.nn.functional.cosine_similarity(first[1].flatten(), second[0].flatten(), dim=0)
    assert float(found[0, 1, 1, 0]) == pytest.approx(float(naive), abs=1e-6)


# --- attention -----------------------------------------------------------------------------------


def triple(seed, queries=5, length=7):
    draw = torch.Generator().manual_seed(seed)
    shapes = ((2, 4, queries, 8), (2, 2, length, 8), (2, 2, length, 8))
    return [torch.randn(shape, generator=draw) for shape in shapes]


def lazily(layer, q, k, v):
    return layer, q, lambda: k, lambda: v, 0.4, lambda: None


def test_a_follower_reads_its_values_by_the_leaders_matrix():
    order = torch.tensor([3, 3, 0, 1])
    matrices = Matrices(Sharing({2: 1, 3: 1}, {2: order, 3: torch.arange(4)}))
    q, k, v = triple(0)
    torch.testing.assert_close(matrices.output(*lazily(1, q, k, v)), dense(q, k, v, causal(5, 7), 0.4))
    _, _, own = triple(1)
    found = matrices.output(2, None, None, lambda: own, 0.4, None)  # neither queries nor keys nor masks are looked at
    probability = (q @ k.repeat_interleave(2, 1).mT * 0.4).masked_fill(~causal(5, 7), float("-inf")).softmax(-1)
    for head, by in enumerate(order.tolist()):
        torch.testing.assert_close(found[:, head], probability[:, by] @ own[:, head // 2])
    assert matrices.kept
    matrices.output(3, None, None, lambda: own, 0.4, None)
    assert not matrices.kept, "the last follower frees the matrix"
    assert matrices.output(*lazily(0, q, k, v)) is None


def test_divergence_by_hand():
    """Half and half, told as one to three: half the logarithm of two, and half that of two thirds."""
    original, logits = torch.zeros(1, 1, 2), torch.tensor([[[1.0, 3.0]]]).log()
    assert float(divergence(logits, original)) == pytest.approx(0.5 * torch.tensor(2 * 2 / 3).log().item(), abs=1e-6)
    assert float(divergence(original, original)) == pytest.approx(0, abs=1e-7)


# --- what is not held and not computed -----------------------------------------------------------


def test_keys_that_are_not_held_are_counted():
    store = NoKeys()
    store.append(torch.ones(2, 3, 5, 4))
    store.append(torch.ones(2, 3, 2, 4))
    assert store.length == 7
    assert store.read().shape == (2, 3, 7, 4)
    assert not store.read(torch.tensor([[[1, 2]]])).any()
    store.select_rows(torch.tensor([0, 0, 1]))
    store.keep(torch.arange(4)[None, None])
    assert store.read().shape == (3, 3, 4, 4)
    assert sum(t.nbytes for t in store.tensors()) == 0
    assert [t.shape[0] for t in store.tensors()] == [3]


def test_an_unread_projection_holds_nothing_and_answers_outside_of_a_forward():
    original = torch.nn.Linear(4, 6)
    unread, x = Unread(original), torch.randn(1, 3, 4)
    assert module_bytes(unread) == 0
    torch.testing.assert_close(unread(x), original(x))


@cache
def artifact(line):
    (method,) = paretolm.recipe(line).methods
    return method.fit(_Texts(tiny(), [text(40, seed=i)[0] for i in range(4)]), None)


def test_bytes_of_cache_and_weights_are_as_predicted_at_every_step():
    lm, recipe, ids = tiny(), paretolm.recipe(LAWS.acts), text(40)
    whole = module_bytes(lm.model)
    with torch.inference_mode(), opened(recipe, lm) as session:
        stream = session.stream()
        stream.read(ids[:, :30], last=True)
        for t in range(30, 40):
            stream.step(ids[:, t : t + 1])
            cost = recipe.cost(lm.view, t + 1)
            assert cost.kv_bytes.low == stream.kv_bytes == cost.kv_bytes.high
            assert stream.index_bytes == 0
        assert cost.weight_bytes.low == module_bytes(lm.model) == cost.weight_bytes.high
        gone = sum(li.bytes for li in unread_of(lm.view, 1))
        assert gone == (64 * 64 + 32 * 64) * 4
        assert module_bytes(lm.model) == whole - gone
        assert session.notes["echoatt"]["leaders"] == {"1": 0}
    assert module_bytes(lm.model) == whole


def test_operations_by_hand():
    """A follower of the tiny model: 64x64 and 32x64 weights, and products of 4 heads of 16 with 64.5 entries."""
    found = operations(tiny().view, [1])
    assert found["projections"] == 2 * (64 * 64 + 32 * 64)
    assert found["scores"] == 2 * 64 * 64.5
    layer = 2 * (64 * 64 + 2 * 32 * 64 + 64 * 64 + 3 * 64 * 96) + 4 * 64 * 64.5
    every = 2 * layer + 2 * 97 * 64
    assert found["percent"] == pytest.approx(100 * (found["projections"] + found["scores"]) / every, abs=1e-3)
    fused = operations(tiny("phi3").view, [1])
    assert fused["projections"] == 0, "queries, keys and values are one matrix, which is still multiplied"


# --- in a model ----------------------------------------------------------------------------------


def logits_of(line, chunk, ids):
    lm = tiny()
    with torch.inference_mode(), opened(paretolm.recipe(line), lm) as session:
        stream = session.stream()
        parts = [stream.read(ids[:, :40], last=True).logits]
        parts += [stream.step(piece).logits for piece in ids[:, 40:].split(chunk, dim=1)]
        return torch.cat(parts, 1)[0], session.counters["echoatt"]


def test_decoding_through_the_cache_equals_reading_in_chunks():
    ids = text(96)
    single, counts = logits_of(LAWS.acts, 1, ids)
    assert counts["rows_reused"] == 4 * 96
    for chunk in (5, 56):
        together, _ = logits_of(LAWS.acts, chunk, ids)
        torch.testing.assert_close(together, single, atol=1e-4, rtol=0)


def test_a_session_equals_the_forward_that_it_learnt_in():
    """Through our cache, without keys and projections, as through `altered`."""
    from paretolm.bridge.altered import altered_forward
    from paretolm.contracts import Altered
    from paretolm.methods._low_rank import merged, pair_at

    lm, ids, made = tiny(), text(60), artifact(LAWS.acts)
    paths = [name.removesuffix(".up") for name in made.tensors if name.endswith(".up")]
    weights = {p: merged(lm.model.get_submodule(p).weight.detach(), pair_at(made, p)) for p in paths}
    sharing = Sharing.of(made, torch.device("cpu"))
    expected, _ = altered_forward(lm, ids, Altered(weights=weights, attention=Matrices(sharing).instead))
    found, _ = logits_of(LAWS.acts, 7, ids)
    torch.testing.assert_close(found, expected[0].detach(), atol=1e-4, rtol=1e-4)


def test_distillation_lowers_the_divergence_from_the_original():
    line = "echoatt(share=0.5, first=0, last=0, rank=8, alpha=0, steps=40)"
    first, last = artifact(line).facts["divergence"]
    assert last < 0.8 * first


def test_without_steps_it_copies_and_changes_no_matrix():
    made = artifact("echoatt(share=0.5, first=0, last=0, steps=0)")
    assert set(made.tensors) == {"heads.1"}
    ids = text(50)
    found, counts = logits_of("echoatt(share=0.5, first=0, last=0, steps=0)", 1, ids)
    assert set(counts) == {"rows_reused"}
    assert torch.isfinite(found).all()


def test_the_model_is_frozen_and_the_likeness_is_written_down():
    lm = tiny()
    before = {name: p.clone() for name, p in lm.model.named_parameters()}
    (method,) = paretolm.recipe(LAWS.acts).methods
    made = method.fit(_Texts(lm, [text(40)[0]]), None)
    assert all(torch.equal(before[name], p) and p.grad is None for name, p in lm.model.named_parameters())
    assert made.facts["layers"] == [0, 1]
    (a, b), (_, c) = made.facts["similarity"]
    assert (a, c) == (1, 1)
    assert 0 < b < 1


def test_a_method_that_looks_into_attention_first_sees_the_layers_own():
    lm, ids, line = tiny(), text(30), "echoatt(share=0.5, first=0, last=0, steps=0)"
    with paretolm.recipe("dense").apply(lm) as session:
        expected = session.binding.layer_inputs(ids, 1)
    with opened(paretolm.recipe(line), lm) as session:
        found = session.binding.layer_inputs(ids, 1)
    torch.testing.assert_close(found.queries, expected.queries)
    torch.testing.assert_close(found.keys, expected.keys)


def test_forks_and_drafts_go_through_it():
    lm = tiny()
    assert not paretolm.recipe(f"{LAWS.acts} + token-recycling").check(lm.view)
    with torch.inference_mode(), opened(paretolm.recipe(f"{LAWS.acts} + contrastive-search"), lm) as session:
        assert len(session.generate(text(20)[0], max_new_tokens=6, eos_token_id=None).ids) == 6


# --- refusals ------------------------------------------------------------------------------------


def test_eviction_other_stores_and_moved_positions_are_refused():
    for other in ("snapkv(budget=50%)", "kv-quant(bits=4)", "self-extend", "window(window=16)", "think(ratio=0.5)"):
        assert paretolm.recipe(f"{LAWS.acts} + {other}").check(tiny().view), other


@pytest.mark.parametrize("share", [0.1, 1])
def test_shares_that_leave_nobody_to_follow_or_to_lead_are_refused(share):
    with pytest.raises(ConflictError, match="left alone from 1 to 1 can"):
        list(EchoAtt(share=share, first=0, last=0).plan(tiny().view))


def test_matrices_in_another_form_are_refused():
    with pytest.raises(ConflictError, match=r"adjusts nn\.Linear"):
        list(EchoAtt(share=0.5, first=0, last=0).plan(tiny("gpt2").view))


def test_without_a_fit_it_says_what_to_do():
    with pytest.raises(FitError, match="paretolm fit"):
        paretolm.recipe(LAWS.acts).apply(tiny()).__enter__()
    assert isinstance(EchoAtt(share=0).fit(_Texts(tiny(), [text(40)[0]]), None), Artifact)
