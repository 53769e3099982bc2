"""Squeezed Attention: one threshold for all layers, one and two levels; many tokens against single steps."""

import pytest
import torch

import paretolm
from paretolm.contracts import Budget, Moment
from paretolm.errors import RecipeError
from paretolm.methods.attend.select.squeezed_attention import Calibration, Levels, Squeezed, SqueezedAttention
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.attend.select.chunks import FakeContext, FakeHeld, logits_of, step, tensors

LAWS = LawSpec(
    neutral="squeezed-attention(budget=100%)",
    acts="squeezed-attention(budget=20%, clusters=30, observation_window=8)",
)
TWO = "squeezed-attention(budget=20%, clusters=40, levels=2, coarse_clusters=10, observation_window=8)"


def squeezed(queries, keys, **knobs):
    """A part that has read a prompt of these keys, whose last queries these are."""
    levels, n = Levels(), keys.shape[2]
    part = Squeezed(FakeContext(shared=lambda make: levels), SqueezedAttention(**knobs))
    assert part.choose(queries, FakeHeld(keys, n - queries.shape[2]), step(queries.shape[2], 0, Moment.PREFILL)) is None
    end = step(0, n, Moment.PREFILL_END)
    assert part.choose(queries[:, :, :0], FakeHeld(keys, n), end) is None
    return part


def test_one_threshold_for_all_layers_and_one_a_row():
    """Scores 0.1 to 0.8 in two layers of a row: a quarter of them lies at 0.65 or above."""
    calibration = Calibration()
    calibration.add(torch.tensor([[[0.1, 0.2, 0.3, 0.4]], [[1.0, 1.0, 1.0, 1.0]]]))
    calibration.add(torch.tensor([[[0.5, 0.6, 0.7, 0.8]], [[2.0, 2.0, 2.0, 2.0]]]))
    limit = calibration.at(Budget(25, "%"))
    torch.testing.assert_close(limit.flatten(), torch.tensor([0.625, 2.0]))
    assert calibration.at(Budget(25, "%")) is limit


@pytest.mark.parametrize("levels", [1, 2])
def test_the_prompts_own_queries_read_about_the_budget_and_what_follows_is_read_by_all(levels):
    queries, keys = tensors(10, 200)
    knobs = {"clusters": 20, "coarse_clusters": 5, "levels": levels, "observation_window": 10}
    part = squeezed(queries, keys, budget=Budget(30, "%"), coarse_budget=Budget(80, "%"), **knobs)
    later, more = tensors(4, 4, seed=1)
    held = FakeHeld(torch.cat([keys, more], 2), 200)
    mask = part.choose(later, held, step(4, 200))
    assert mask[..., 190:201].all()
    assert not mask[0, 0, 0, 201:].any()
    assert 0.1 < float(mask[..., :190].float().mean()) < 0.5
    fine = part.fine.labels
    for head in range(2):
        for row in mask[0, head, :, :190]:
            groups = {int(c): set(row[fine[0, head] == c].tolist()) for c in fine[0, head].unique()}
            assert all(len(found) == 1 for found in groups.values())


@pytest.mark.parametrize("line", [LAWS.acts, TWO])
def test_many_tokens_in_one_forward_read_what_each_reads_alone(line):
    single, counts = logits_of(line, 1)
    assert counts["entries_unread"] > 0
    for chunk in (5, 56):
        together, also = logits_of(line, chunk)
        torch.testing.assert_close(together, single, atol=1e-4, rtol=0)
        assert also == counts


def test_a_prompt_read_in_pieces_is_squeezed_alike():
    logits = []
    for size in (7, 48):
        with paretolm.recipe(LAWS.acts).apply(tiny()) as session, torch.inference_mode():
            stream = session.stream()
            for start in range(0, 48, size):
                stream.read(text(48)[:, start : start + size], last=start + size >= 48)
            logits.append(stream.step(text(4, seed=3)).logits)
    torch.testing.assert_close(*logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("line", [LAWS.acts, TWO])
def test_centroids_and_labels_lie_in_the_prediction(line):
    lm, recipe = tiny(), paretolm.recipe(line)
    with recipe.apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        stream.read(text(60), last=True)
        stream.step(text(4))
        assert stream.held == [64, 64]
        assert stream.kv_bytes in recipe.cost(lm.view, 64).kv_bytes
        assert 0 < stream.index_bytes <= recipe.cost(lm.view, 64).index_bytes.high


def test_rows_follow_the_batch():
    queries, keys = tensors(10, 40)
    part = squeezed(queries, keys, clusters=20, observation_window=10, levels=2, coarse_clusters=5)
    alone = part.choose(queries[:, :, -1:], FakeHeld(keys, 39), step(1, 39))
    part.select_rows(torch.tensor([0, 0]))
    both = part.choose(queries[:, :, -1:].expand(2, -1, -1, -1), FakeHeld(keys.expand(2, -1, -1, -1), 39), step(1, 39))
    assert torch.equal(both, alone.expand(2, -1, -1, -1))


def test_a_prompt_of_one_token_is_left_alone():
    queries, keys = tensors(1, 1)
    part = squeezed(queries, keys)
    assert part.choose(queries, FakeHeld(keys.expand(-1, -1, 2, -1), 1), step(1, 1)) is None


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"budget": Budget(64, "tok")}, "written like 30%, not 64tok"),
        ({"levels": 2, "coarse_budget": Budget(20, "%")}, "lets less through than budget=30%"),
        ({"levels": 3}, "levels is one of 1, 2"),
    ],
)
def test_knobs_that_contradict_are_refused(knobs, sentence):
    with pytest.raises(RecipeError, match=sentence):
        SqueezedAttention(**knobs)
