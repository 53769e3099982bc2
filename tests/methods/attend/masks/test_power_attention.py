"""The power-of-two mask: its reach over layers, its gathered form against the mask, chunks against steps."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import paretolm
from paretolm.errors import RecipeError
from paretolm.methods.attend.approximate._gathered import Reads, Tiling
from paretolm.methods.attend.masks.power_attention import PowerMask, blocks_read, readable
from tests.contract.laws import gap, noise, output
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.attend.approximate.masked import mask_of

LINE = "power-attention(window=4, block_size=4)"
LAWS = LawSpec(neutral="power-attention(window=128, block_size=4)", acts=LINE)


def test_the_distances_by_hand():
    assert [d for d in range(20) if readable(torch.tensor(d), 3)] == [0, 1, 2, 4, 8, 16]
    assert blocks_read(torch.tensor([0, 3, 9]), 2).tolist() == [[-1] * 4, [2, 1, -1, -1], [8, 7, 5, 1]]


@given(st.integers(2, 200), st.integers(1, 4))
def test_every_block_is_reached_within_log2_layers_and_a_query_reads_log2_blocks(num, local):
    distance = torch.arange(num)[:, None] - torch.arange(num)
    seen = readable(distance, local) & (distance >= 0)
    layers = math.ceil(math.log2(num))
    reached = torch.linalg.matrix_power(seen.double(), layers) > 0
    assert torch.equal(reached, distance >= 0)
    assert int(seen.sum(1).max()) <= local + math.floor(math.log2(num)) + 1


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 5), st.integers(1, 4))
def test_gathered_blocks_are_the_mask(length, size, block, local):
    size = min(size, length)
    tiling = Tiling(size, length, block, block)
    places = torch.arange(length)
    part = PowerMask(None, local, block)
    seen = part.visible(places[None, length - size :], places[None, None].int())
    expected = torch.ones(size, length, dtype=torch.bool) if seen is None else seen[0, 0]
    expected = expected & (places <= places[length - size :, None])
    assert torch.equal(mask_of(Reads(blocks_read(tiling.own(places.device), local)), tiling), expected)


def test_a_prompt_in_blocks_equals_the_same_text_step_by_step():
    lm = tiny()
    ids = text(90)
    with paretolm.recipe(LINE).apply(lm) as session, torch.inference_mode():
        whole = session.stream().read(ids, last=True).logits
        stream = session.stream()
        steps = torch.cat([stream.step(ids[:, i : i + 1]).logits for i in range(90)], 1)
        pieces = session.stream()
        parts = torch.cat([pieces.read(p).logits for p in ids.split([7, 50, 3, 30], 1)], 1)
    torch.testing.assert_close(whole, steps, atol=4 * noise("llama"), rtol=0)
    torch.testing.assert_close(parts, steps, atol=4 * noise("llama"), rtol=0)


def test_beside_an_eviction_the_mask_holds_by_original_positions():
    line = f"streaming-llm(sinks=4, window=24) + {LINE}"
    coarse, fine = output(line, tiny(), 7), output(line, tiny(), 1)
    assert gap(coarse, fine) <= 4 * noise("llama")
    assert fine.counters["power-attention"]["entries_unread"] > 0


def test_a_window_that_is_no_whole_block_is_refused():
    with pytest.raises(RecipeError, match="whole blocks"):
        paretolm.recipe("power-attention(window=100, block_size=64)")
