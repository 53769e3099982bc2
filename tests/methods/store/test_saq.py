"""The staircase against a loop over tokens: which bits each token has, and that it was rounded on every step down."""

import pytest
import torch

import paretolm
from paretolm.bridge.bytes import held_bytes
from paretolm.bridge.plain_store import PlainStore
from paretolm.contracts import Cost, Interval, LayerCost
from paretolm.methods.store.saq import SAQ, StairsPart
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.store.test_kv_quant import Context, View, fake_quantize, step

SIZES = "stair=16, residual=8, group_size=8"
LAWS = LawSpec(
    neutral="saq(residual=100000)",
    acts=f"saq({SIZES})",
    monotone=(f"saq(lowest=4, {SIZES})", f"saq({SIZES})"),
)


def staircase(x, method, side):
    """x [B, H, n, D] after one settling: the oldest whole groups go down a step at a time."""
    x = x.clone()
    for bits, newer in zip(method.steps, method.newer, strict=True):
        coded = max(0, (x.shape[2] - newer) // method.group_size) * method.group_size
        for start in range(0, coded, method.group_size):
            group = x[:, :, start : start + method.group_size]
            parts = [group] if side == "key" else group.split(min(method.group_size, x.shape[3]), dim=3)
            rounded = [fake_quantize(part, bits, 2 if side == "key" else 3) for part in parts]
            x[:, :, start : start + method.group_size] = torch.cat(rounded, dim=3)
    return x


@pytest.mark.parametrize("side", ["key", "value"])
@pytest.mark.parametrize("lowest", [2, 4])
@pytest.mark.parametrize("length", [5, 17, 40, 97])
def test_each_step_rounds_what_the_one_before_left(side, lowest, length):
    method, ctx = SAQ(stair=16, residual=8, group_size=4, lowest=lowest), Context()
    store, x = StairsPart(method, ctx).store(side, PlainStore), torch.randn(2, 2, length, 6)
    store.append(x)
    store.settle(step())
    torch.testing.assert_close(store.read(), staircase(x, method, side), atol=1e-6, rtol=1e-5)
    most = {bits: max(0, (length - newer) // 4) * 4 for bits, newer in zip(method.steps, method.newer, strict=True)}
    assert ctx.counters == {f"tokens_at_{bits}_bits": count for bits, count in most.items() if count}


def test_the_old_are_held_in_fewer_bytes_than_the_new():
    """By hand, 8 channels: 2, 4 and 8 bytes for 2, 4 and 8 bits, 32 for float32."""
    method = SAQ(stair=16, residual=8, group_size=8)
    store = StairsPart(method, Context()).store("key", PlainStore)
    store.append(torch.randn(1, 1, 72, 8))
    store.settle(step())
    codes = 8 * 32 + 16 * 8 + 16 * 4 + 32 * 2
    scales = 4 * 8 * (2 + 2 + 4)  # a 16-bit scale and zero for 8 channels of each group
    numbers = 2 * (16 + 16)  # 16 bits for the group of an entry, on steps that older ones have left
    assert held_bytes(store.tensors()) == codes + scales + numbers


@pytest.mark.parametrize("tokens", [9, 16, 40, 200])
def test_bytes_lie_within_the_prediction(tokens):
    method = SAQ(stair=16, residual=8, group_size=8)
    stores = [StairsPart(method, Context()).store(side, PlainStore) for side in ("key", "value")]
    for store in stores:
        store.append(torch.randn(1, 2, tokens, 12))
        store.settle(step())
    layer = LayerCost(2, Interval.exact(tokens), Interval.exact(48), Interval.exact(48))
    predicted = method.cost(View(torch.float32), tokens, Cost((layer,), Interval.exact(0))).kv_bytes
    assert held_bytes(t for store in stores for t in store.tensors()) in predicted


def test_token_by_token_no_step_holds_more_than_its_width_and_a_group():
    lm, recipe = tiny(), paretolm.recipe(f"saq({SIZES})")
    with recipe.apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        stream.read(text(96)[:, :10], last=True)
        for i in range(10, 96):
            stream.step(text(96)[:, i : i + 1])
        counts = session.counters["saq"]
        assert stream.kv_bytes in recipe.cost(lm.view, 96).kv_bytes
    assert [counts[f"tokens_at_{bits}_bits"] for bits in (8, 4, 2)] == [4 * n for n in (88, 72, 56)]
