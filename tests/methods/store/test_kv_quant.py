"""KIVI's store against lists of rows, byte counts against the prediction, chunks against single steps."""

from collections import Counter
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paretolm.bridge.bytes import held_bytes
from paretolm.bridge.plain_store import PlainStore
from paretolm.contracts import Cost, Interval, LayerCost, Moment, Step
from paretolm.errors import RecipeError
from paretolm.methods.store.kv_quant import KVQuant, QuantPart
from paretolm.recipes.recipe import recipe
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny

LAWS = LawSpec(
    neutral="kv-quant(residual=100000)",
    acts="kv-quant(bits=2, group_size=8, residual=16)",
    monotone=tuple(f"kv-quant(bits={bits}, group_size=8, residual=16)" for bits in (8, 4, 2)),
)

SIDES = ("key", "value")


@dataclass
class Context:
    """What a store asks of the session."""

    counters: Counter = field(default_factory=Counter)

    def count(self, counter, amount=1):
        self.counters[counter] += amount


def step(moment=Moment.DECODE):
    return Step(None, torch.zeros(1, 1), moment, 0)


def new_store(method, side, ctx=None):
    return QuantPart(method, ctx or Context()).store(side, PlainStore)


def fake_quantize(x, bits, dim):
    """What codes of a group over `dim` read as."""
    half = x.dtype if x.dtype.itemsize == 2 else torch.float16
    low, high = x.float().amin(dim, keepdim=True), x.float().amax(dim, keepdim=True)
    zero = low.to(half).float()
    scale = ((high - zero) / (2**bits - 1)).to(half).float()
    codes = torch.round((x.float() - zero) / torch.where(scale > 0, scale, 1)).clamp(0, 2**bits - 1)
    return (codes * scale + zero).to(x.dtype)


class NaiveHead:
    """One head's rows in two lists."""

    def __init__(self, method, side):
        self.method, self.side, self.coded, self.exact = method, side, [], []

    def settle(self):
        group = self.method.group_size
        while len(self.exact) - self.method.residual >= group:
            rows = torch.stack(self.exact[:group])
            if self.side == "key":
                rows = fake_quantize(rows, self.method.bits, 0)
            else:
                size = min(group, rows.shape[1])
                rows = torch.cat([fake_quantize(part, self.method.bits, 1) for part in rows.split(size, 1)], dim=1)
            self.coded += list(rows)
            self.exact = self.exact[group:]

    def keep(self, index):
        rows = self.coded + self.exact
        self.coded, self.exact = ([rows[i] for i in index if (i < len(self.coded)) == coded] for coded in (True, False))

    def read(self):
        return torch.stack(self.coded + self.exact)


class Naive:
    def __init__(self, method, side, batch, heads):
        self.heads = [[NaiveHead(method, side) for _ in range(heads)] for _ in range(batch)]

    def each(self):
        return ((b, h, head) for b, row in enumerate(self.heads) for h, head in enumerate(row))

    def append(self, x):
        for b, h, head in self.each():
            head.exact.extend(x[b, h])

    def read(self):
        return torch.stack([torch.stack([head.read() for head in row]) for row in self.heads])


def draw_index(data, batch, heads, n, smallest=1):
    """[B|1, H|1, m] ascending, different in every head that has a row of its own."""
    m = data.draw(st.integers(smallest, n))
    shape = data.draw(st.sampled_from([(1, 1), (1, heads), (batch, 1), (batch, heads)]))
    return torch.rand(*shape, n).argsort(-1)[..., :m].sort(-1).values


@settings(deadline=None)
@given(st.data())
def test_any_sequence_of_calls_equals_lists_of_rows(data):
    batch, heads, width = data.draw(st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 9)))
    dtype = data.draw(st.sampled_from([torch.float32, torch.bfloat16]))
    side = data.draw(st.sampled_from(SIDES))
    method = KVQuant(
        bits=data.draw(st.sampled_from([8, 4, 2])),
        group_size=data.draw(st.integers(2, 5)),
        residual=data.draw(st.integers(0, 6)),
    )
    store, naive = new_store(method, side), Naive(method, side, batch, heads)
    for call in ["append", *data.draw(st.lists(st.sampled_from(["append", "keep", "settle", "settle"]), max_size=9))]:
        if call == "append":
            x = torch.randn(batch, heads, data.draw(st.integers(1, 14)), width).to(dtype)
            store.append(x)
            naive.append(x)
        elif call == "settle":
            store.settle(step())
            for _, _, head in naive.each():
                head.settle()
        else:
            index = draw_index(data, batch, heads, store.length)
            for b, h, head in naive.each():
                head.keep(index.expand(batch, heads, -1)[b, h].tolist())
            store.keep(index)
        expected = naive.read()
        assert store.length == expected.shape[2]
        assert torch.equal(store.read(), expected)
        asked = draw_index(data, batch, heads, store.length, smallest=0)
        wide = asked.expand(batch, heads, -1)[..., None].expand(-1, -1, -1, width)
        assert torch.equal(store.read(asked), expected.gather(2, wide))


@pytest.mark.parametrize("side", SIDES)
def test_rows_can_be_chosen_after_uneven_eviction(side):
    method = KVQuant(bits=4, group_size=4, residual=4)
    store = new_store(method, side)
    store.append(torch.randn(2, 2, 16, 5))
    store.settle(step())
    store.keep(torch.stack([torch.arange(8), torch.arange(8, 16)])[:, None])
    before = store.read()
    twin = store.clone()
    rows = torch.tensor([1, 1, 0])
    twin.select_rows(rows)
    assert torch.equal(twin.read(), before[rows])
    twin.append(torch.randn(3, 2, 9, 5))
    twin.settle(step())
    assert torch.equal(twin.read()[0, :, :4], before[1, :, :4])
    assert torch.equal(store.read(), before)


@pytest.mark.parametrize("side", SIDES)
def test_a_clone_shares_its_bytes(side):
    store = new_store(KVQuant(group_size=4, residual=4), side)
    store.append(torch.randn(1, 2, 20, 8))
    store.settle(step())
    assert held_bytes([*store.tensors(), *store.clone().tensors()]) == held_bytes(store.tensors())


@pytest.mark.parametrize("moment", [Moment.PREFILL, Moment.VERIFY])
def test_nothing_is_encoded_before_the_prompt_ends_or_while_drafts_are_verified(moment):
    ctx, x = Context(), torch.randn(1, 1, 40, 4)
    store = new_store(KVQuant(group_size=4, residual=4), "key", ctx)
    store.append(x)
    store.settle(step(moment))
    assert torch.equal(store.read(), x)
    assert not ctx.counters
    store.settle(step(Moment.PREFILL_END))
    assert ctx.counters == {"tokens_quantized": 36}
    assert torch.equal(store.read()[:, :, 36:], x[:, :, 36:])


def test_a_group_is_dropped_with_its_last_token():
    store = new_store(KVQuant(bits=8, group_size=4, residual=0), "key")
    store.append(torch.randn(1, 2, 16, 8))
    store.settle(step())
    full = held_bytes(store.tensors())
    store.keep(torch.tensor([[[0, 1, 4], [1, 14, 15]]]))  # two groups a head, other ones
    assert full == 2 * 16 * 8 + 2 * (2 * 4 * 8 * 2)  # codes; scales and zeros of four groups
    assert held_bytes(store.tensors()) == 2 * 3 * 8 + 2 * (2 * 2 * 8 * 2) + 2 * 3 * 2  # and group numbers


@pytest.mark.parametrize("side", SIDES)
@settings(deadline=None)
@given(st.data())
def test_heads_of_different_age_encode_when_each_is_due(side, data):
    """Uneven eviction, then many settlings: each head flushes groups of its own."""
    method = KVQuant(bits=4, group_size=3, residual=data.draw(st.integers(0, 4)))
    store, naive = new_store(method, side), Naive(method, side, 2, 2)
    for _ in range(4):
        x = torch.randn(2, 2, data.draw(st.integers(1, 12)), 4)
        store.append(x)
        naive.append(x)
        store.settle(step())
        kept = data.draw(st.integers(1, store.length))
        index = torch.rand(2, 2, store.length).argsort(-1)[..., :kept].sort(-1).values
        if data.draw(st.booleans()):  # old entries in one head, new ones in the other
            index[:, 0], index[:, 1] = torch.arange(kept), torch.arange(store.length - kept, store.length)
        store.keep(index)
        for b, h, head in naive.each():
            head.settle()
            head.keep(index[b, h].tolist())
        assert torch.equal(store.read(), naive.read())


def test_more_groups_than_16_bits_can_number():
    x = torch.randn(1, 1, 2**16 + 8, 1)
    store = new_store(KVQuant(bits=8, group_size=2, residual=0), "key")
    store.append(x)
    store.settle(step())
    before, index = store.read(), torch.arange(1, 2**16 + 8)[None, None]
    store.keep(index)
    assert torch.equal(store.read(), before[:, :, 1:])
    assert torch.int32 in {t.dtype for t in store.tensors()}


def dense(tokens, heads, width, value_width, size):
    layer = LayerCost(heads, Interval.exact(tokens), Interval.exact(width * size), Interval.exact(value_width * size))
    return Cost((layer,), weight_bytes=Interval.exact(0))


class View:
    """What `cost` reads of a model."""

    full_layers = frozenset({0})

    def __init__(self, dtype):
        self.dtype_bytes = dtype.itemsize


@settings(deadline=None)
@given(
    tokens=st.integers(1, 70), heads=st.integers(1, 3), width=st.integers(1, 20), value_width=st.integers(1, 20),
    bits=st.sampled_from([8, 4, 2]), group=st.integers(2, 16), residual=st.integers(0, 20),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]), steps=st.integers(0, 30),
)  # fmt: skip
def test_bytes_held_are_the_bytes_predicted(tokens, heads, width, value_width, bits, group, residual, dtype, steps):
    method = KVQuant(bits=bits, group_size=group, residual=residual)
    stores = [new_store(method, side) for side in SIDES]
    for store, channels in zip(stores, (width, value_width), strict=True):
        sizes = [tokens] if steps >= tokens else [tokens - steps, *[1] * steps]
        for size in sizes:
            store.append(torch.randn(1, heads, size, channels).to(dtype))
            store.settle(step())
    predicted = method.cost(View(dtype), tokens, dense(tokens, heads, width, value_width, dtype.itemsize)).kv_bytes
    assert predicted.low == predicted.high == held_bytes(t for store in stores for t in store.tensors())


@settings(deadline=None)
@given(st.data())
def test_bytes_after_eviction_lie_in_the_predicted_interval(data):
    heads, width = 2, 8
    method = KVQuant(bits=data.draw(st.sampled_from([8, 4, 2])), group_size=4, residual=data.draw(st.integers(0, 8)))
    stores, budget, tokens = [new_store(method, side) for side in SIDES], data.draw(st.integers(1, 30)), 0
    for size in data.draw(st.lists(st.integers(1, 20), min_size=1, max_size=6)):
        tokens += size
        for store in stores:
            store.append(torch.randn(1, heads, size, width))
            if store.length > budget:
                store.keep(torch.rand(1, heads, store.length).argsort(-1)[..., :budget].sort(-1).values)
            store.settle(step())
    held = min(budget, tokens)
    before = dense(tokens, heads, width, width, 4)
    before = before.with_layers(
        frozenset({0}), lambda c: LayerCost(c.heads, c.entries.at_most(held), c.key_bytes, c.value_bytes)
    )
    predicted = method.cost(View(torch.float32), tokens, before).kv_bytes
    assert held_bytes(t for store in stores for t in store.tensors()) in predicted


def test_what_is_never_encoded_costs_what_it_did():
    before = dense(47, 2, 16, 16, 2)
    assert KVQuant(group_size=16, residual=32).cost(View(torch.float16), 47, before) == before


def test_two_bits_of_a_long_text_by_hand():
    """Llama-2-7B's layer at 4096 tokens, float16: the paper's setting."""
    tokens, heads, width = 4096, 32, 128
    predicted = KVQuant().cost(View(torch.float16), tokens, dense(tokens, heads, width, width, 2)).kv_bytes
    coded = tokens - 128
    codes = 2 * heads * coded * width // 4
    scales = 2 * heads * (coded // 32) * width * 2 * 2
    exact = 2 * heads * 128 * width * 2
    assert predicted == Interval.exact(codes + scales + exact)
    assert predicted.high < 2 * heads * tokens * width * 2 / 4.5


@pytest.mark.parametrize("line", ["kv-quant(bits=3)", "kv-quant(group_size=1)", "kv-quant(residual=-1)"])
def test_knobs_out_of_range_are_refused(line):
    with pytest.raises(RecipeError):
        recipe(line)


@pytest.mark.parametrize(
    ("method", "tokens", "expected"),
    [
        (KVQuant(), 4096, 16),
        (KVQuant(), 159, None),
        (KVQuant(), 160, 16),
        (KVQuant(residual=4), 4096, 1),
        (KVQuant(group_size=24), 4096, 8),
    ],
)
def test_the_chunk_divides_group_and_residual(method, tokens, expected):
    assert method.chunk(tokens) == expected


def test_chunks_of_the_size_it_asks_for_equal_single_steps():
    lm, ids = tiny(), text(80)
    coarse = recipe("kv-quant(bits=2, group_size=8, residual=16)")
    size, logits = coarse.chunk(ids.shape[1]), []
    assert size == 2
    for width in (1, size):
        with coarse.apply(lm) as session:
            stream = session.stream()
            stream.read(ids[:, :16], last=True)
            out = [stream.step(ids[:, i : i + width]).logits for i in range(16, 80, width)]
            assert session.counters["kv-quant"]["tokens_quantized"] == 2 * 2 * 64
        logits.append(torch.cat(out, dim=1))
    torch.testing.assert_close(*logits, atol=1e-4, rtol=1e-4)
