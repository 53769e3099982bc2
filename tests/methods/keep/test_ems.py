"""EMS: scores and merges by hand, and against loops over heads and entries."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paretolm
from paretolm.contracts import Budget
from paretolm.errors import RecipeError
from paretolm.methods.keep.ems import EMS, evict_then_merge, global_local
from tests.contract.laws import output
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods import checks

LAWS = LawSpec(neutral="ems(budget=100%)", acts="ems(budget=25%, window_size=4, threshold=0.5)")


def test_scores_by_hand():
    """All queries gave 8 in all, the last ones 2: the first are quartered, then the larger counts."""
    everywhere, lately = torch.tensor([[[6.0, 1, 1]]]), torch.tensor([[[0.5, 0.0, 1.5]]])
    assert global_local(everywhere, lately).tolist() == [[[1.5, 0.25, 1.5]]]


def test_where_nobody_looked_scores_are_zero_and_not_nan():
    assert global_local(torch.zeros(1, 1, 2), torch.zeros(1, 1, 2)).tolist() == [[[0, 0]]]


def test_a_merge_by_hand():
    """Of five entries the last is the window and two more stay: 0 and 2. Of the others 1 points where 0 does and has
    half its score; 3 points where nobody does."""
    keys = torch.tensor([[2.0, 0], [4, 0], [0, 1], [-1, 0], [3, 3]])[None, None]
    scores = torch.tensor([[[4.0, 2, 3, 1]]])
    merge = evict_then_merge(keys, scores, capacity=3, candidates=2, threshold=0.9)
    assert merge.index.tolist() == [[[0, 2, 4]]]
    expected = torch.tensor([[(2 + 0.5 * 4) / 1.5, 0], [0, 1], [3, 3]])
    torch.testing.assert_close(merge.apply(keys)[0, 0], expected)
    assert merge.add(torch.tensor([[[4.0, 2, 3, 1, 0]]])).tolist() == [[[6, 3, 0]]]
    assert merge.num_merged == 1


@pytest.mark.parametrize(("capacity", "candidates"), [(3, 0), (1, 2)])
def test_nothing_is_merged_without_candidates_or_without_a_place(capacity, candidates):
    keys, scores = torch.ones(1, 1, 5, 2), torch.tensor([[[4.0, 2, 3, 1]]])
    merge = evict_then_merge(keys, scores, capacity, candidates, threshold=-1)
    assert merge.num_merged == 0
    assert merge.apply(keys).tolist() == keys[:, :, :capacity].tolist()


def loop(keys, values, scores, capacity, candidates, threshold):
    """One head: keys, values [n, D], scores [n - w]; the entries that stay and their keys and values."""
    n, num = len(keys), capacity - (len(keys) - len(scores))
    ranked = sorted(range(len(scores)), key=lambda i: (-scores[i], -i))
    centres, others = sorted(ranked[:num]), ranked[num : num + candidates]
    weights = {c: [(1.0, c)] for c in centres}
    for other in others:
        cosines = [float(torch.cosine_similarity(keys[other], keys[c], dim=0)) for c in centres]
        best = max(range(len(centres)), key=cosines.__getitem__)
        if cosines[best] >= threshold:
            weights[centres[best]].append((scores[other] / scores[centres[best]], other))
    kept = [*centres, *range(len(scores), n)]
    means = []
    for x in (keys, values):
        parts = [weights.get(i, [(1.0, i)]) for i in kept]
        means.append(torch.stack([sum(w * x[j] for w, j in part) / sum(w for w, _ in part) for part in parts]))
    return kept, *means


@settings(deadline=None, max_examples=40)
@given(st.integers(3, 12), st.integers(1, 2), st.integers(0, 4), st.sampled_from([-1.0, 0.0, 0.7]), st.integers(0, 99))
def test_equals_a_loop(n, window, candidates, threshold, seed):
    generator = torch.Generator().manual_seed(seed)
    keys, values = torch.randn(2, 1, 2, n, 3, generator=generator)
    scores = torch.rand(1, 2, n - window, generator=generator) + 0.01
    capacity = window + 1 + seed % (n - window)
    candidates = min(candidates, n - capacity)
    merge = evict_then_merge(keys, scores, capacity, candidates, threshold)
    for head in range(2):
        index, key, value = loop(
            keys[0, head], values[0, head], scores[0, head].tolist(), capacity, candidates, threshold
        )
        assert merge.index[0, head].tolist() == index
        torch.testing.assert_close(merge.apply(keys)[0, head], key, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(merge.apply(values)[0, head], value, atol=1e-5, rtol=1e-4)


def test_a_budget_of_the_whole_text_gives_dense_logits():
    got, dense = output("ems(budget=96tok)", tiny()), output("dense", tiny())
    assert math.isclose(float((got.logits - dense.logits).abs().max()), 0, abs_tol=1e-4)


def test_merging_changes_what_is_read_and_not_how_much_is_held():
    lm, ids, found = tiny(), text(64), []
    for line in ("ems(budget=16tok, window_size=4, threshold=-1)", "ems(budget=16tok, window_size=4, merge_ratio=0)"):
        with paretolm.recipe(line).apply(lm) as session, torch.inference_mode():
            stream = session.stream()
            stream.read(ids[:, :48], last=True)
            found.append((stream.step(ids[:, 48:49]).logits, session.counters["ems"], stream.held))
    (merged, counts, held), (evicted, others, same) = found
    assert held == same == [16, 16]
    assert counts["tokens_merged"] == 2 * (16 + 1)  # as many candidates as the budget, then the one of a step
    assert others == {"tokens_evicted": 2 * 33, "tokens_merged": 0}
    assert not torch.allclose(merged, evicted, atol=1e-3)


@pytest.mark.parametrize("line", ["ems(budget=25%, window_size=4)", "ems(budget=30tok)", "ems(budget=100%)"])
def test_bytes_lie_in_the_prediction_at_every_step(line):
    checks.bytes_at_every_step(line, (40,), 48)


def test_only_few_tokens_a_forward_mean_this_method():
    assert EMS(budget=Budget(64, "tok")).chunk(1000) == 8


def test_a_padded_batch_is_refused():
    checks.padding_is_refused("ems", "ems gives up")


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"budget": Budget(16, "tok")}, "window_size=16 leaves nothing of budget=16tok"),
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"threshold": 1.5}, "threshold must be -1 to 1"),
    ],
)
def test_knobs_that_contradict_are_refused(knobs, sentence):
    with pytest.raises(RecipeError, match=sentence):
        EMS(**knobs)
