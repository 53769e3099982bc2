"""CItruS: the instruction is read after every chunk and taken back, and what it asks for stays."""

import pytest
import torch

import paretolm
from paretolm.contracts import Budget
from paretolm.errors import ConflictError, RecipeError
from paretolm.methods.keep._attention import mean_attention
from paretolm.methods.keep.citrus import Citrus, asked_at_the_end, asked_for
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods import checks

LINE = "citrus(budget=24tok, chunk_size=8, instruction=4)"
LAWS = LawSpec(neutral="citrus(budget=100%)", acts=LINE)


def test_by_hand():
    """A query along the first axis; the keys stand at 0, 3, 1, 2 on it."""
    keys = torch.tensor([0.0, 3, 1, 2])[None, None, :, None] * torch.tensor([1.0, 0])
    query = torch.tensor([1.0, 0])[None, None, None]
    assert asked_for(query, keys, 1.0, 2).tolist() == [[1, 3]]
    assert asked_at_the_end(query, keys, 1.0, 3).tolist() == [[1, 2, 3]]
    assert asked_at_the_end(query, keys, 1.0, 2).tolist() == [[1, 3]]


def read(session, ids, pieces, prompt=None):
    stream, start = session.stream(prompt), 0
    for size in pieces:
        start += size
        stream.read(ids[:, start - size : start], last=start == ids.shape[1], logits=False)
    return stream


def test_the_first_layer_keeps_what_the_instruction_would_have_asked_for():
    """Queries and keys of layer 0 do not depend on the cache, so plain attention of chunk and instruction says it."""
    lm, ids = tiny(), text(64)
    with paretolm.recipe(LINE).apply(lm) as session, torch.inference_mode():
        asked = torch.cat([ids[:, :32], ids[:, -4:]], 1)
        seen = session.binding.layer_inputs(asked, 0)
        expected = mean_attention(seen.queries[:, :, 32:], seen.keys[:, :, :32], seen.scaling)[0]
        stream = read(session, ids, [32], prompt=ids)
        held = stream.cache.held_layers[0]
        assert held.positions[0, 0].tolist() == sorted(expected.argsort(descending=True)[:16].tolist())
        assert held.seen == 32
        assert session.counters["citrus"] == {"probed_chunks": 2, "tokens_evicted": 32}


def test_the_probe_leaves_nothing_behind():
    """A budget that nothing exceeds: with and without the probe the text goes on alike."""
    lm, ids, found = tiny(), text(48), []
    for prompt in (ids, None):
        with paretolm.recipe("citrus(budget=100%, instruction=4)").apply(lm) as session, torch.inference_mode():
            stream = read(session, ids, [16, 16, 16], prompt)
            found.append(stream.step(ids[:, :1]).logits)
            assert stream.seen == 49
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("architecture", ["gemma3", "gpt_neox"])
def test_the_probe_leaves_nothing_behind_in_native_layers(architecture):
    lm, ids, found = tiny(architecture), text(48), []
    for prompt in (ids, None):
        with paretolm.recipe("citrus(budget=100%, instruction=4)").apply(lm) as session, torch.inference_mode():
            found.append(read(session, ids, [16, 16, 16], prompt).step(ids[:, :1]).logits)
    torch.testing.assert_close(*found)


def test_the_instruction_stays_at_the_end_and_other_instructions_keep_other_tokens():
    lm, ids, kept = tiny(), text(64), []
    for end in (ids[:, -4:], ids[:, :4]):
        whole = torch.cat([ids[:, :60], end], 1)
        with paretolm.recipe(LINE).apply(lm) as session, torch.inference_mode():
            stream = read(session, whole, [16, 16, 16, 16], whole)
            kept.append(stream.cache.held_layers[1].positions[0, 0].tolist())
            assert stream.held == [16, 16]
            assert kept[-1][-4:] == [60, 61, 62, 63]
    assert kept[0] != kept[1]


def test_bytes_lie_in_the_prediction_while_reading_and_writing():
    lm, recipe, ids = tiny(), paretolm.recipe(LINE), text(64)
    with recipe.apply(lm) as session, torch.inference_mode():
        stream = session.stream(ids)
        for t in range(0, 64, 8):
            stream.read(ids[:, t : t + 8], last=t == 56)
            assert stream.kv_bytes in recipe.cost(lm.view, t + 8).kv_bytes
        for t in range(64, 84):
            stream.step(ids[:, t % 64 : t % 64 + 1])
            cost = recipe.cost(lm.view, t + 1)
            assert stream.kv_bytes in cost.kv_bytes
            assert stream.index_bytes in cost.index_bytes
            assert max(stream.held) <= 24


def test_a_padded_batch_is_refused():
    checks.padding_is_refused("citrus", "citrus gives up")


def test_layers_whose_state_has_no_way_back_are_refused():
    with pytest.raises(ConflictError, match="citrus reads tokens that it takes back afterwards, which linear layers"):
        paretolm.recipe("citrus").apply(tiny("qwen3_next")).__enter__()


def test_it_is_read_in_its_own_chunks():
    assert Citrus(budget=Budget(128, "tok"), chunk_size=32).chunk(1000) == 32
    assert Citrus(budget=Budget(50, "%"), chunk_size=256).chunk(100) == 25


def test_a_budget_without_room_is_refused():
    with pytest.raises(RecipeError, match="leave nothing of budget=256tok"):
        Citrus(budget=Budget(256, "tok"), chunk_size=224)
