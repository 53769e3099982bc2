"""Channel pruning of keys: scores by hand and against the full products, bytes, eviction, its place beside SnapKV."""

from types import SimpleNamespace

import pytest
import torch

import paretolm
from paretolm.bridge.bytes import held_bytes
from paretolm.bridge.plain_store import PlainStore
from paretolm.contracts import Moment, Step
from paretolm.errors import ConflictError
from paretolm.methods.store.think import Think, ThinKeys, ThinkPart, channel_scores, watch_of
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny

LAWS = LawSpec(
    neutral="think(recent_size=100000)",
    acts="think(ratio=0.5, recent_size=8, window_size=8)",
    monotone=tuple(f"think(ratio={ratio}, recent_size=8, window_size=8)" for ratio in (0.1, 0.4, 0.8)),
)


def context():
    state, counts = {}, {}

    def count(name, amount=1):
        counts[name] = counts.get(name, 0) + amount

    return SimpleNamespace(place=0, shared=lambda make: state.setdefault("it", make()), count=count, counts=counts)


def step(moment):
    return Step(None, torch.zeros(1, 1), moment, 0)


def pruned_store(method, queries, keys):
    """A store that has read `keys` as a whole prompt."""
    ctx = context()
    watch_of(ctx, method.window_size).select(queries, None, step(Moment.PREFILL_END))
    store = ThinkPart(method, ctx).store("key", PlainStore)
    store.append(keys)
    store.settle(step(Moment.PREFILL_END))
    return store, ctx


def test_scores_are_the_norms_of_each_channels_logits():
    queries, keys = torch.randn(2, 4, 5, 6), torch.randn(2, 2, 9, 6)
    found = channel_scores(queries, keys)
    for b in range(2):
        for h in range(2):
            for c in range(6):
                parts = [torch.outer(queries[b, 2 * h + g, :, c], keys[b, h, :, c]) for g in range(2)]
                assert float(found[b, h, c]) == pytest.approx(sum(float(p.norm() ** 2) for p in parts), rel=1e-4)


def test_a_channel_that_no_query_reads_goes_before_a_small_one():
    """By hand: channel 0 has the largest keys but queries of zero, channel 2 small keys and large queries."""
    keys = torch.tensor([[9.0, 2.0, 0.5], [9.0, 2.0, 0.5]])[None, None]
    queries = torch.tensor([[0.0, 1.0, 8.0]])[None, None]
    thin = ThinKeys.prune(keys, channel_scores(queries, keys), 1)
    assert thin.channels.tolist() == [[[1, 2]]]
    assert thin.decode(torch.float32)[0, 0].tolist() == [[0.0, 2.0, 0.5], [0.0, 2.0, 0.5]]
    largest = ThinKeys.prune(keys, keys.square().sum(2), 1)
    assert largest.channels.tolist() == [[[0, 1]]]


def test_logits_of_what_is_kept_are_exact_and_the_newest_keys_are_whole():
    method = Think(ratio=0.5, window_size=4, recent_size=3)
    queries, keys = torch.randn(1, 4, 10, 8), torch.randn(1, 2, 20, 8)
    store, ctx = pruned_store(method, queries, keys)
    read, old = store.read(), keys[:, :, :17]
    keep = channel_scores(queries[:, :, -4:], old).topk(4).indices
    kept = torch.zeros(1, 2, 8).scatter_(-1, keep, 1.0)[:, :, None]
    torch.testing.assert_close(read[:, :, :17], old * kept)
    assert torch.equal(read[:, :, 17:], keys[:, :, 17:])
    assert ctx.counts == {"keys_thinned": 17}
    later = torch.randn(1, 2, 1, 8)
    store.append(later)
    store.settle(step(Moment.DECODE))
    store.settle(step(Moment.PREFILL_END))
    assert torch.equal(store.read()[:, :, 17:], torch.cat((keys[:, :, 17:], later), 2))


def test_a_sequence_of_evictions_equals_rows_of_a_plain_tensor():
    store, _ = pruned_store(Think(ratio=0.5, recent_size=4), torch.randn(1, 2, 6, 8), torch.randn(1, 2, 16, 8))
    expected = store.read()
    for size in (12, 7):
        index = torch.rand(1, 2, store.length).argsort(-1)[..., :size].sort(-1).values
        store.keep(index)
        expected = expected.gather(2, index[..., None].expand(-1, -1, -1, 8))
        assert torch.equal(store.read(), expected)
        asked = index[..., :3] % size
        assert torch.equal(store.read(asked), expected.gather(2, asked[..., None].expand(-1, -1, -1, 8)))


def test_bytes_of_the_keys_fall_by_the_share():
    keys = torch.randn(1, 2, 320, 10)
    store, _ = pruned_store(Think(ratio=0.4, recent_size=20), torch.randn(1, 2, 32, 10), keys)
    assert held_bytes(store.tensors()) == 4 * 2 * (300 * 6 + 20 * 10) + 2 * 6
    assert held_bytes(store.tensors()) / held_bytes([keys]) == pytest.approx(1 - 0.4 * 300 / 320, abs=0.001)


@pytest.mark.parametrize(
    "line", ["think(ratio=0.5, recent_size=8)", "snapkv(budget=24tok, window_size=8) + think(recent_size=8)"]
)
def test_bytes_are_those_predicted_alone_and_beside_an_eviction(line):
    lm, recipe = tiny(), paretolm.recipe(line)
    with recipe.apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        for part, last in ((text(80)[:, :50], False), (text(80)[:, 50:], True)):
            stream.read(part, last=last)
        predicted = recipe.cost(lm.view, 80).kv_bytes
        assert predicted.low == predicted.high == stream.kv_bytes
        held = {24} if "snapkv" in line else {80}
        assert set(stream.held) == held
        assert session.counters["think"]["keys_thinned"] == 2 * (held.pop() - 8)
        assert not list(session.parts.new_request()(0).attend[0].tensors())


def test_a_ratio_of_less_than_a_channel_is_refused():
    with pytest.raises(ConflictError, match="less than one"):
        list(Think(ratio=0.01).plan(tiny().view))
