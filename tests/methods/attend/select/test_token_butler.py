"""TokenButler: its predictor learns an attention that can be learnt; what it picks, by hand and in chunks."""

import math

import pytest
import torch

import paretolm
from paretolm.bridge.fitter import TextFitter
from paretolm.contracts import LayerInputs
from paretolm.errors import ConflictError, FitError, TextError
from paretolm.methods.attend.select._predictor import cross_entropy, encode, learn, pieces, predicted
from paretolm.methods.attend.select.token_butler import TokenButler, most_wanted
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.checks import chunks_change_nothing

SMALL = "dense_layers=1, inner=8, rank=4, steps=3"
LAWS = LawSpec(neutral=f"token-butler(budget=100%, {SMALL})", acts=f"token-butler(budget=25%, {SMALL})")


class Pointing:
    """A model of one predicted head whose tokens look for those of their own kind; kinds stand in the values."""

    def __init__(self, documents: int = 40, length: int = 24) -> None:
        view = tiny().view
        draw = torch.Generator().manual_seed(1)
        self.view = view
        self.ids = [torch.randint(0, 4, (1, length), generator=draw) for _ in range(documents)]

    def documents(self):
        yield from self.ids

    def layer_inputs(self, ids, layer):
        kinds = torch.nn.functional.one_hot(ids[0], 4).float()
        keys = torch.nn.functional.pad(kinds, (0, 12))[None, None].expand(1, 2, -1, -1)
        values = torch.nn.functional.pad(kinds, (0, 12))[None, None].expand(1, 2, -1, -1)
        return LayerInputs(12 * keys.repeat_interleave(2, dim=1), keys, 0.25, values)


def test_an_attention_to_ones_own_kind_is_learnt():
    fitter = Pointing()
    weights = learn(fitter, [0], [1], inner=16, rank=8, steps=200, budget=None)
    ids = torch.tensor([[0, 1, 2, 3, 1, 0, 3, 2, 2, 1, 0, 3]])
    values = fitter.layer_inputs(ids, 0).values.transpose(1, 2).flatten(2)
    logits = predicted(*encode(values, *weights, heads=2))[0]
    hits = 0
    for head in range(2):
        for query in range(4, 12):
            nearest = int(logits[head, query, :query].argmax())
            hits += ids[0, nearest] == ids[0, query]
    assert hits >= 14  # of 16; by chance 4


def test_cross_entropy_by_hand():
    """One head, two tokens: the first sees itself alone, the second half and half against 3 to 1."""
    truth = torch.tensor([[[[1.0, 0.0], [0.5, 0.5]]]])
    logits = torch.tensor([[[[0.0, 9.0], [math.log(3.0), 0.0]]]])
    expected = -(0.5 * math.log(0.75) + 0.5 * math.log(0.25)) / 2
    assert float(cross_entropy(logits, truth)) == pytest.approx(expected)


def test_an_own_entry_and_the_best_before_it():
    logits = torch.tensor([[[[5.0, 1.0, 2.0, 9.0], [5.0, 1.0, 2.0, 0.0]]]])
    mask = most_wanted(logits, torch.tensor([2, 3]), torch.tensor([2, 3]))
    assert mask[0, 0].tolist() == [[True, False, True, False], [True, False, True, True]]


def test_of_equal_predictions_the_later_entries_are_read():
    mask = most_wanted(torch.zeros(1, 1, 1, 6), torch.tensor([5]), torch.tensor([3]))
    assert mask.flatten().tolist() == [False, False, False, True, True, True]


def test_pieces_end_with_the_budget_of_tokens():
    fitter = Pointing(documents=5, length=10)
    assert [p.shape[1] for p in pieces(fitter, None)] == [10] * 5
    assert [p.shape[1] for p in pieces(fitter, 15)] == [10, 10]


def test_a_text_of_crumbs_teaches_nothing():
    with pytest.raises(TextError, match="no document of 8 tokens"):
        learn(Pointing(documents=3, length=4), [0], [1], 4, 4, 2, None)


def test_many_tokens_in_one_forward_read_what_each_reads_alone():
    chunks_change_nothing(LAWS.acts, "entries_unread")


def test_a_predictor_is_fitted_beside_the_model_and_says_its_size():
    lm = tiny()
    fitter = TextFitter.__new__(TextFitter)
    fitter.view, fitter._model, fitter.tokenizer = lm.view, lm.model, None
    fitter.documents = lambda: iter([text(40)])
    before = {name: p.clone() for name, p in lm.model.named_parameters()}
    artifact = TokenButler(dense_layers=1, inner=8, rank=4, steps=2).fit(fitter, None)
    assert artifact.facts["parameters"] == 8 * 32 + 16 * 8
    assert {k: tuple(v.shape) for k, v in artifact.tensors.items()} == {"inner": (8, 32), "outer": (16, 8)}
    assert all(torch.equal(before[name], p) for name, p in lm.model.named_parameters())


def test_without_a_predictor_it_says_what_to_do():
    with pytest.raises(FitError, match="paretolm fit"):
        paretolm.recipe(LAWS.acts).apply(tiny()).__enter__()


def test_a_model_of_dense_layers_alone_is_refused():
    with pytest.raises(ConflictError, match="lower dense_layers"):
        list(TokenButler(dense_layers=2).plan(tiny().view))
