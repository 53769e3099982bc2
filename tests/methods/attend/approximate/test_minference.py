"""Patterns by hand and by loops, the choice among them, the table that is kept."""

import pytest
import torch

import paretolm
from paretolm.methods.attend.approximate import _patterns as patterns
from paretolm.methods.attend.approximate._gathered import Tiling
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.attend.approximate.masked import causal, mask_of

LAWS = LawSpec(
    neutral="minference(budget=100%, block_size=4)",
    acts="minference(budget=12tok, block_size=4)",
)
TILING = Tiling(30, 37, 4, 4)


def weights_of(queries, keys, scaling=1.0):
    mask = causal(len(queries), len(keys))
    return (queries @ keys.T * scaling).masked_fill(~mask, float("-inf")).softmax(-1)


def test_weights_of_the_last_queries_are_causal():
    queries, keys = torch.randn(30, 8), torch.randn(37, 8)
    torch.testing.assert_close(patterns.last_weights(queries, keys, 0.3), weights_of(queries, keys, 0.3))


def test_a_distance_is_that_of_blocks_and_the_nearest_is_always_read():
    weights = torch.zeros(2, 12)
    weights[0, 1], weights[1, 6], weights[1, 7] = 0.7, 0.2, 0.1  # queries 10 and 11 in block 2: distances 2 and 1
    tiling = Tiling(2, 12, 4, 4)
    assert patterns.best_distances(weights, tiling, 1).tolist() == [1]
    assert sorted(patterns.best_distances(weights, tiling, 2).tolist()) == [1, 2]


def test_columns_are_the_most_attended_and_the_first():
    weights = torch.zeros(3, 80)
    weights[:, 40], weights[:, 77] = 0.4, 0.3
    found = patterns.best_columns(weights, 32)
    assert found.tolist() == [*range(30), 40, 77]


def test_blocks_are_those_of_the_most_similar_means():
    queries, keys = torch.randn(30, 8), torch.randn(37, 8)
    found = patterns.best_blocks(queries, keys, TILING, 3)
    for i, own in enumerate(TILING.own(keys.device).tolist()):
        rows = [p - 7 for p in range(own * 4, own * 4 + 4) if 7 <= p < 37]
        mean = queries[rows].mean(0)
        scores = {b: float(mean @ keys[b * 4 : b * 4 + 4].mean(0)) for b in range(own)}
        best = sorted(scores, key=scores.__getitem__, reverse=True)[:3]
        assert sorted(b for b in found[i].tolist() if b >= 0) == sorted(best)


@pytest.mark.parametrize("pattern", patterns.PATTERNS, ids=str)
def test_the_share_caught_is_the_weight_under_the_mask(pattern):
    queries, keys = torch.randn(30, 8), torch.randn(37, 8)
    reads = patterns.reads_of(pattern, queries, keys, TILING, 12, 0.5)
    weights, places = patterns.sampled_weights(queries, keys, 0.5)
    torch.testing.assert_close(weights, weights_of(queries, keys, 0.5))
    read = mask_of(reads, TILING)
    assert patterns.caught(weights, places, reads, TILING) == pytest.approx(
        float((weights * read).sum() / 30), abs=1e-5
    )


def test_a_head_gets_the_pattern_its_attention_has():
    """Keys that only single entries carry; keys alike within a block; and nothing but what is near."""
    length, tiling = 512, Tiling(512, 512, 8, 8)
    queries = torch.ones(length, 8)
    keys = torch.zeros(length, 8)
    keys[torch.randperm(400, generator=torch.Generator().manual_seed(0))[:40]] = 3.0
    assert patterns.best_pattern(queries, keys, tiling, 96, 1.0)[0].kind == "vertical-slash"
    of_block = torch.nn.functional.one_hot(torch.arange(64) % 8, 8).float().repeat_interleave(8, 0) * 4
    shuffled = of_block[torch.randperm(64, generator=torch.Generator().manual_seed(1)).repeat_interleave(8) * 8]
    assert patterns.best_pattern(shuffled, of_block, tiling, 72, 2.0)[0].kind == "block-sparse"


def test_the_table_is_made_at_the_first_prompt_and_kept():
    lm, recipe = tiny(), paretolm.recipe("minference(budget=16tok, block_size=4)")
    with recipe.apply(lm) as session, torch.inference_mode():
        session.stream().read(text(96), last=True)
        table = session.notes["minference"]
        assert [len(table[f"patterns of layer {i}"]) for i in (0, 1)] == [4, 4]
        session.stream().read(text(90, seed=5), last=True)
        assert session.notes["minference"] == table
        assert session.counters["minference"]["pairs_unread"] > 0


def test_what_follows_the_prompt_is_read_densely():
    lm, ids = tiny(), text(60)
    with paretolm.recipe("minference(budget=8tok, block_size=4)").apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        stream.read(ids[:, :40], last=True)
        before = dict(session.counters["minference"])
        stream.step(ids[:, 40:])
        assert session.counters["minference"] == before
