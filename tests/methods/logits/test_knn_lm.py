"""kNN-LM: the search, the mix and the fit against naive twins."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paretolm.contracts import Artifact, Cost, Interval, Need, Slot
from paretolm.errors import FitError, RecipeError, TextError
from paretolm.methods.logits.knn_lm import (
    KnnLM,
    Neighbours,
    entropy,
    mix,
    nearest_keys,
    retrieval_distribution,
)
from tests.contract.spec import LawSpec
from tests.fakes import FakeContext, TableModel, tiny_view

LAWS = LawSpec(neutral="knn-lm(lmbda=0)", acts="knn-lm(lmbda=0.5, k=8)")

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def rows(num, size, seed):
    return torch.randn(num, size, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 30), st.integers(1, 12), st.integers(1, 9), st.integers(0, 10**6))
def test_blocks_find_the_nearest_keys(num_queries, num_keys, k, block, seed):
    queries, keys = rows(num_queries, 5, seed), rows(num_keys, 5, seed + 1).half()
    distances, index = nearest_keys(queries, keys, k, block)
    naive = (queries[:, None] - keys.float()[None]).square().sum(-1)
    best, where = naive.sort(dim=1)
    torch.testing.assert_close(distances, best[:, :k], **TOLERANCE)
    torch.testing.assert_close(naive.gather(1, index), best[:, :k], **TOLERANCE)
    assert index.shape == where[:, :k].shape


def test_the_distribution_by_hand():
    """exp(-d / 2) of squared distances 0, 2 ln 2, 2 ln 4 are 1, 1/2, 1/4; token 3 gets the first and the last."""
    distances = 2 * torch.tensor([[1.0, 2.0, 4.0]]).log()
    retrieved = retrieval_distribution(distances, torch.tensor([[3, 0, 3]]), 5, temperature=2)
    torch.testing.assert_close(retrieved, torch.tensor([[0.5, 0, 0, 1.25, 0]]) / 1.75)
    shares = torch.tensor([0.5, 1.25]) / 1.75
    torch.testing.assert_close(entropy(retrieved)[0], -(shares * shares.log()).sum())


@given(st.floats(0.01, 1), st.integers(0, 10**6))
def test_the_mix_is_a_mixture(lmbda, seed):
    logits, retrieved = rows(3, 7, seed), rows(3, 7, seed + 1).mul(4).softmax(-1)
    retrieved[:, :2] = 0
    retrieved = retrieved / retrieved.sum(-1, keepdim=True)
    mixed = mix(logits, retrieved, lmbda).exp()
    torch.testing.assert_close(mixed, (1 - lmbda) * logits.softmax(-1) + lmbda * retrieved, **TOLERANCE)


class Fitter:
    """contracts.Fitter over a table model and token lists."""

    def __init__(self, model, texts):
        self.model, self.texts = model, texts
        self.view, self.tokenizer = tiny_view(model.vocab_size), None

    def documents(self):
        return iter(torch.tensor([text]) for text in self.texts)

    def forward(self, ids):
        logits, hidden = zip(*(self.model(ids[0, : end + 1].tolist()) for end in range(ids.shape[1])), strict=True)
        return torch.stack(logits)[None], torch.stack(hidden)[None]


TEXTS = [[1, 2, 3, 4, 5], [7], [2, 3, 9]]


def test_the_datastore_holds_each_place_and_what_followed():
    model = TableModel(12)
    artifact = KnnLM().fit(Fitter(model, TEXTS), None)
    keys, values = artifact.tensors["keys"], artifact.tensors["values"]
    assert values.tolist() == [2, 3, 4, 5, 3, 9]
    assert (keys.dtype, values.dtype) == (torch.float16, torch.int32)
    torch.testing.assert_close(keys[3], model([1, 2, 3, 4])[1].half())
    torch.testing.assert_close(keys[5], model([2, 3])[1].half())
    assert artifact.facts == {"keys": 6}


@pytest.mark.parametrize(("max_keys", "budget", "held"), [(3, None, 3), (100, 5, 5), (100, None, 6), (4, 2, 2)])
def test_the_datastore_is_bounded(max_keys, budget, held):
    artifact = KnnLM(max_keys=max_keys).fit(Fitter(TableModel(12), TEXTS), budget)
    assert artifact.tensors["values"].tolist() == [2, 3, 4, 5, 3, 9][:held]
    assert artifact.tensors["keys"].shape[0] == held


def test_text_or_states_that_cannot_serve_are_refused():
    with pytest.raises(TextError, match="more text"):
        KnnLM().fit(Fitter(TableModel(12), [[3]]), None)
    loud = TableModel(12)
    loud.hidden *= 1e6
    with pytest.raises(FitError, match="overflow"):
        KnnLM().fit(Fitter(loud, TEXTS), None)


def neighbours(model, texts, **knobs):
    method = KnnLM(**knobs)
    artifact = method.fit(Fitter(model, texts), None)
    return Neighbours(method, FakeContext(tiny_view(model.vocab_size), artifact))


def forward(model, ids):
    logits, hidden = Fitter(model, []).forward(torch.tensor([ids]))
    return SimpleNamespace(ids=torch.tensor([ids]), hidden=hidden, logits=logits)


def test_logits_equal_the_naive_mixture():
    model, query = TableModel(12), [4, 2, 3, 1]
    part = neighbours(model, TEXTS, lmbda=0.3, k=4, temperature=2.0)
    out = forward(model, query)
    mixed = part(out.ids, out.hidden, out.logits)
    keys, values = part.keys.float(), part.values.tolist()
    for place in range(len(query)):
        distances = (keys - out.hidden[0, place]).square().sum(-1)
        near = distances.argsort()[:4]
        votes = torch.zeros(12)
        for neighbour, weight in zip(near.tolist(), (-distances[near] / 2).softmax(-1), strict=True):
            votes[values[neighbour]] += weight
        expected = 0.7 * out.logits[0, place].softmax(-1) + 0.3 * votes
        torch.testing.assert_close(mixed[0, place].exp(), expected, **TOLERANCE)
    assert part.ctx.counters == {"neighbours_used": 4 * 4}


def test_a_place_of_the_text_gets_the_token_that_followed():
    """With one neighbour and full weight the datastore's own text is recited."""
    model = TableModel(12)
    part = neighbours(model, TEXTS, lmbda=1.0, k=1)
    out = forward(model, [1, 2, 3, 4])
    assert part(out.ids, out.hidden, out.logits).argmax(-1)[0].tolist() == [2, 3, 4, 5]


def test_weight_zero_is_the_plain_model_and_counts_nothing():
    model = TableModel(12)
    part = neighbours(model, TEXTS, lmbda=0.0)
    out = forward(model, [1, 2, 3])
    assert part(out.ids, out.hidden, out.logits) is out.logits
    assert not part.ctx.counters
    assert not part.ctx.notes


def test_mixing_lowers_the_loss_on_the_fitted_text():
    model, text = TableModel(12), torch.randint(12, (1, 60), generator=torch.Generator().manual_seed(0))[0].tolist()
    out, targets = forward(model, text), torch.tensor(text[1:])
    mixed = neighbours(model, [text], k=4)(out.ids, out.hidden, out.logits)
    loss = torch.nn.functional.cross_entropy
    assert loss(mixed[0, :-1], targets) < loss(out.logits[0, :-1], targets) - 0.5


def test_retrieval_entropy_is_the_mean_over_the_request():
    model = TableModel(12)
    part = neighbours(model, TEXTS, k=6)
    for ids in ([1, 2], [5]):
        out = forward(model, ids)
        part(out.ids, out.hidden, out.logits)
    hidden = torch.stack([model([1])[1], model([1, 2])[1], model([5])[1]])
    distances, index = nearest_keys(hidden, part.keys, 6)
    expected = entropy(retrieval_distribution(distances, part.values[index], 12, 1.0)).mean()
    assert part.ctx.notes["retrieval_entropy"] == pytest.approx(float(expected), abs=1e-3)


def test_logits_keep_their_dtype():
    model = TableModel(12)
    out = forward(model, [1, 2])
    assert neighbours(model, TEXTS)(out.ids, out.hidden.bfloat16(), out.logits.bfloat16()).dtype is torch.bfloat16


def test_held_bytes_lie_in_the_prediction():
    part = neighbours(TableModel(12), TEXTS, max_keys=6)
    held = sum(tensor.untyped_storage().nbytes() for tensor in part.tensors())
    cost = part.method.cost(tiny_view(12), 100, Cost((), Interval(0, 0)))
    assert held == cost.index_bytes.high
    assert held in KnnLM().cost(tiny_view(12), 100, Cost((), Interval(0, 0))).index_bytes


def test_the_plan():
    method = KnnLM()
    assert method.name == "knn-lm"
    assert method.fits
    (edit,) = method.plan(tiny_view(12))
    assert edit.slot is Slot.LOGITS
    assert edit.needs == {Need.FITTED, Need.HIDDEN}
    with pytest.raises(FitError, match="paretolm fit"):
        edit.make(FakeContext(tiny_view(12)))
    assert isinstance(
        edit.make(FakeContext(tiny_view(12), Artifact({"keys": torch.zeros(1, 6), "values": torch.zeros(1)}))),
        Neighbours,
    )
    with pytest.raises(RecipeError, match="lmbda"):
        KnnLM(lmbda=1.1)
