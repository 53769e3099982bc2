"""Contrastive search: equal to the objective computed naively, to greedy decoding at alpha 0, and to hand sums."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import RepetitionPenaltyLogitsProcessor, SuppressTokensLogitsProcessor

from paretolm.contracts import Cost, Interval, Need, Slot
from paretolm.errors import CallError, RecipeError
from paretolm.methods.decode.contrastive_search import (
    ContrastiveSearch,
    Searcher,
    contrastive_scores,
    degeneration_penalty,
    isotropy,
    likeliest,
    unit,
)
from tests.contract.spec import LawSpec
from tests.fakes import FakeContext, PlainDecode, TableModel, tiny_view, write

LAWS = LawSpec(neutral="contrastive-search(alpha=0)", acts="contrastive-search(alpha=0.6, k=4)")


def searcher(**knobs):
    return Searcher(ContrastiveSearch(**knobs), FakeContext(tiny_view(12)))


def naive(model, prompt, new, alpha, k):
    """The objective read off the paper, everything computed anew for every candidate."""
    ids = list(prompt)
    for _ in range(new):
        probabilities = model(ids)[0].softmax(-1)
        best, chosen = -float("inf"), -1
        for token in probabilities.argsort(descending=True)[:k].tolist():
            candidate = model([*ids, token])[1]
            context = [model(ids[: end + 1])[1] for end in range(len(ids))]
            penalty = max(float(torch.cosine_similarity(candidate, h, dim=0)) for h in context)
            score = (1 - alpha) * float(probabilities[token]) - alpha * penalty
            if score > best:
                best, chosen = score, token
        ids.append(chosen)
    return ids[len(prompt) :]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.1, 0.6, 1.0]), st.integers(1, 6))
def test_text_equals_the_naive_search(seed, alpha, k):
    model = TableModel(12, hidden_size=8, seed=seed)
    text = write(searcher(alpha=alpha, k=k), model, [1, 2, 3], new=8)
    assert text.ids == naive(model, [1, 2, 3], 8, alpha, k)
    assert text.port.settled == [1, 2, 3, *text.ids]


@pytest.mark.parametrize("scale", [1.0, 0.0])  # 0: all logits equal, so only the order of ids decides
@pytest.mark.parametrize("knobs", [{"alpha": 0.0}, {"k": 1}])
def test_without_penalty_or_choice_it_is_greedy_decoding(knobs, scale):
    model, processors = TableModel(12, scale=scale), [RepetitionPenaltyLogitsProcessor(1.3)]
    part = searcher(**knobs)
    text = write(part, model, [1, 2, 3], new=20, processors=processors)
    assert text.ids == write(PlainDecode(), model, [1, 2, 3], new=20, processors=processors).ids
    assert part.ctx.counters["tokens_changed"] == 0


def test_it_repeats_less_than_greedy_decoding():
    """Greedy text of this model falls into a loop; the penalty leaves it."""
    model, part = TableModel(12, hidden_size=8, scale=1, seed=5), searcher()
    greedy = write(PlainDecode(), model, [1, 2, 3], new=60).ids
    text = write(part, model, [1, 2, 3], new=60).ids

    def repeated(ids):
        grams = [tuple(ids[i : i + 4]) for i in range(len(ids) - 3)]
        return 1 - len(set(grams)) / len(grams)

    assert repeated(greedy) > 0.5
    assert repeated(text) < repeated(greedy) / 2
    assert part.ctx.counters["tokens_changed"] > 0


def test_a_forbidden_token_is_never_chosen():
    model = TableModel(4, scale=0.1)
    text = write(searcher(alpha=1.0, k=4), model, [0, 1], new=20, processors=[SuppressTokensLogitsProcessor([2, 3])])
    assert set(text.ids) <= {0, 1}


def test_the_objective_by_hand():
    context = unit(torch.tensor([[1.0, 0.0], [3.0, 4.0]]))
    candidates = unit(torch.tensor([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0]]))
    penalty = degeneration_penalty(candidates, context)
    torch.testing.assert_close(penalty, torch.tensor([1.0, 0.8, -0.6]))
    scores = contrastive_scores(torch.tensor([0.5, 0.3, 0.2]), penalty, 0.6)
    torch.testing.assert_close(scores, torch.tensor([-0.4, -0.36, 0.44]))


@given(st.lists(st.sampled_from([-float("inf"), -1.0, 0.0, 1.0, 2.0]), min_size=1, max_size=9), st.integers(1, 12))
def test_likeliest_orders_by_score_then_by_id(values, k):
    scores = torch.tensor(values)
    ordered = sorted((i for i, v in enumerate(values) if v > -float("inf")), key=lambda i: (-values[i], i))
    assert likeliest(scores, k).tolist() == ordered[:k]


def test_isotropy_by_hand():
    """Orthogonal rows: 1. Parallel rows: 0. Rows at 0, 60 and 90 degrees: cosines 0.5, 0, sqrt(3)/2."""
    assert isotropy(torch.eye(5) * 3) == pytest.approx(1)
    assert isotropy(torch.ones(4, 3)) == pytest.approx(0, abs=1e-6)
    rows = torch.tensor([[1.0, 0.0], [0.5, 3**0.5 / 2], [0.0, 1.0]])
    assert isotropy(rows) == pytest.approx(1 - (0.5 + 3**0.5 / 2) / 3, abs=1e-6)


def test_isotropy_of_the_prompt_is_noted():
    model, part = TableModel(12), searcher()
    write(part, model, [1, 2, 3, 4], new=2)
    hidden = torch.stack([model([1, 2, 3, 4][: end + 1])[1] for end in range(4)])
    pairs = [float(torch.cosine_similarity(hidden[i], hidden[j], dim=0)) for i in range(4) for j in range(4) if i != j]
    assert part.ctx.notes["isotropy"] == pytest.approx(1 - sum(pairs) / len(pairs), abs=1e-4)


def test_held_bytes_lie_in_the_prediction():
    part = searcher()
    cost = part.method.cost(tiny_view(12), 3 + 5, Cost((), Interval(0, 0)))
    assert not list(part.tensors())
    write(part, TableModel(12), [1, 2, 3], new=5)
    (units,) = part.tensors()
    assert units.shape == (8, 6)
    assert units.untyped_storage().nbytes() == cost.index_bytes.high


def test_sampling_is_refused():
    with pytest.raises(CallError, match="do_sample=False"):
        write(searcher(), TableModel(12), [1, 2], do_sample=True)


def test_the_plan():
    (edit,) = ContrastiveSearch().plan(tiny_view(12))
    assert edit.slot is Slot.DECODE
    assert edit.needs == {Need.FORK, Need.HIDDEN}
    with pytest.raises(RecipeError, match="alpha"):
        ContrastiveSearch(alpha=1.5)
