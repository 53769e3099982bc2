"""AdaKV: sharing out against a loop, bytes that are really freed, and attention that never reads padding."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paretolm
from paretolm.errors import ConflictError
from paretolm.methods.keep.adakv import ragged_index, share_out
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny

LAWS = LawSpec(neutral="adakv(budget=100%)", acts="adakv(budget=25%, window_size=8)")
LINE = "adakv(budget=16tok, window_size=4, alpha=0)"


def test_by_hand():
    """Two heads share four places; the first has the three best votes. With a safeguard of one the second is sure of
    its best."""
    votes = torch.tensor([[[9.0, 8, 7, 1], [2, 0, 3, 0]]])
    assert share_out(votes, 2, 0).int().tolist() == [[[1, 1, 1, 0], [0, 0, 1, 0]]]
    assert share_out(torch.tensor([[[9.0, 8, 7, 6], [2, 0, 3, 0]]]), 2, 1).int().tolist() == [
        [[1, 1, 1, 0], [0, 0, 1, 0]]
    ]
    assert share_out(torch.tensor([[[9.0, 8, 7, 6], [2, 0, 3, 0]]]), 2, 0).int().tolist() == [
        [[1, 1, 1, 1], [0, 0, 0, 0]]
    ]
    wanted = torch.tensor([[[1, 1, 1, 0], [0, 0, 1, 0]]], dtype=torch.bool)
    assert ragged_index(wanted).tolist() == [[[0, 1, 2], [-1, -1, 2]]]


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 99))
def test_equals_a_loop(n, num, alpha, seed):
    num, heads = min(n, num), 3
    votes = torch.rand(2, heads, n, generator=torch.Generator().manual_seed(seed))
    safe = int(alpha * num)
    for row, wanted in zip(votes, share_out(votes, num, safe), strict=True):
        order = {h: sorted(range(n), key=lambda i: -float(row[h, i])) for h in range(heads)}
        chosen = {(h, i) for h in range(heads) for i in order[h][:safe]}
        rest = sorted(((h, i) for h in range(heads) for i in range(n)), key=lambda p: -float(row[p]))
        for pair in rest:
            if len(chosen) < heads * num:
                chosen.add(pair)
        assert {tuple(pair) for pair in wanted.nonzero().tolist()} == chosen


def opened(line, ids, steps=0, architecture="llama"):
    lm, recipe = tiny(architecture), paretolm.recipe(line)
    with recipe.apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        stream.read(ids[:, :48], last=True)
        logits = [stream.step(ids[:, 48 + t : 49 + t]).logits for t in range(steps)]
        return stream, logits, recipe.cost(lm.view, 48), session.counters["adakv"]


def test_an_entry_that_a_head_drops_costs_no_bytes():
    stream, _, cost, counts = opened(LINE, text(48))
    assert stream.kv_bytes == cost.kv_bytes.low == cost.kv_bytes.high
    layers = list(stream.cache.held_layers.values())
    sizes = [(layer.positions >= 0).sum(-1)[0].tolist() for layer in layers]
    assert all(sum(heads) == 32 for heads in sizes)
    assert any(heads[0] != heads[1] for heads in sizes), "this text shows nothing"
    assert stream.held == [max(heads) for heads in sizes]
    entry = 2 * 16 * 4 + 4  # a key and a value of 16 float32, and its position
    assert stream.kv_bytes == 2 * 32 * entry
    assert counts["tokens_evicted"] == sum(48 - min(heads) for heads in sizes)


def test_what_follows_joins_every_head_and_bytes_grow_by_as_much():
    before, *_ = opened(LINE, text(56))
    after, *_ = opened(LINE, text(56), steps=8)
    assert after.kv_bytes - before.kv_bytes == 2 * 2 * 8 * (2 * 16 * 4 + 4)
    assert all(
        layer.positions[..., -8:].tolist() == [[list(range(48, 56))] * 2] for layer in after.cache.held_layers.values()
    )


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
def test_attention_reads_no_padding(architecture):
    """Padding that would drown everything changes nothing."""
    ids = text(49)
    _, (expected,), *_ = opened(LINE, ids, 1, architecture)
    with paretolm.recipe(LINE).apply(tiny(architecture)) as session, torch.inference_mode():
        stream = session.stream()
        stream.read(ids[:, :48], last=True)
        for layer in stream.cache.held_layers.values():
            layer.key_store._fill = layer.value_store._fill = 100.0
        torch.testing.assert_close(stream.step(ids[:, 48:]).logits, expected)


def test_with_the_whole_budget_safe_it_is_snapkv():
    ids = text(48)
    stream, *_ = opened("adakv(budget=16tok, window_size=4, alpha=1)", ids)
    with paretolm.recipe("snapkv(budget=16tok, window_size=4)").apply(tiny()) as session, torch.inference_mode():
        other = session.stream()
        other.read(ids, last=True)
    pairs = zip(stream.cache.held_layers.values(), other.cache.held_layers.values(), strict=True)
    assert all(torch.equal(ours.positions, theirs.positions) for ours, theirs in pairs)


def test_drafts_are_taken_back():
    ids = text(50)
    with paretolm.recipe(LINE).apply(tiny()) as session, torch.inference_mode():
        stream = session.stream()
        stream.read(ids[:, :48], last=True)
        held = stream.kv_bytes
        stream.verify(ids[:, :2], [-1, 0])
        stream.commit([])
        assert stream.kv_bytes == held
        got = stream.step(ids[:, 48:49]).logits
    torch.testing.assert_close(got, opened(LINE, ids, steps=1)[1][0])


def test_beams_follow():
    with paretolm.recipe(LINE).apply(tiny()) as session:
        out = session.lm.model.generate(text(48), max_new_tokens=4, num_beams=2, do_sample=False)
    assert out.shape == (1, 52)


def test_a_cache_that_is_encoded_is_refused():
    with pytest.raises(ConflictError, match="adakv"):
        paretolm.recipe("adakv + kv-quant").apply(tiny()).__enter__()
