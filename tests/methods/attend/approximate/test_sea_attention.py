"""SEA: its cells by hand, its sums against loops, what its estimator learns, and one map however a text is cut."""

import math

import pytest
import torch

import paretolm
from paretolm.contracts import LayerInputs
from paretolm.errors import CallError, FitError, RecipeError, TextError
from paretolm.methods.attend.approximate._cells import cell_of, densities, entries, grouped_top, pooled, sizes
from paretolm.methods.attend.approximate._distil import falloff, learn, mixed, weighted
from paretolm.methods.attend.approximate._estimator import Past, Shape, by_distance, decode, of_layer, see
from paretolm.methods.attend.approximate._linear import directions, key_features, linear_attention, query_features
from paretolm.methods.attend.approximate.sea_attention import SeaAttention
from paretolm.methods.attend.select._choice import probabilities
from paretolm.methods.attend.select._predictor import pieces
from tests.contract.laws import opened
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.checks import chunks_change_nothing, in_chunks

SMALL = "predictor_length=16, features=8, inner=8, steps=2"
LAWS = LawSpec(neutral=f"sea-attention(budget=100%, {SMALL})", acts=f"sea-attention(budget=25%, {SMALL})")
SHAPE = Shape(tiny().view.layers[0], cells=16, features=8, inner=8, longest=128)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- linear attention ---


def test_linear_attention_is_the_average_that_a_loop_makes_and_goes_on_from_its_past():
    queries, keys, values = drawn(1, 4, 9, 5).exp(), drawn(1, 2, 9, 5, seed=1).exp(), drawn(1, 2, 9, 3, seed=2)
    expected = torch.zeros(1, 4, 9, 3)
    for head in range(4):
        for i in range(9):
            shares = torch.stack([queries[0, head, i] @ keys[0, head // 2, j] for j in range(i + 1)])
            expected[0, head, i] = (shares / shares.sum()) @ values[0, head // 2, : i + 1]
    nothing = torch.zeros(1, 2, 5, 4)
    whole, _ = linear_attention(queries, keys, values, nothing)
    torch.testing.assert_close(whole, expected)
    first, past = linear_attention(queries[:, :, :4], keys[:, :, :4], values[:, :, :4], nothing)
    second, _ = linear_attention(queries[:, :, 4:], keys[:, :, 4:], values[:, :, 4:], past)
    torch.testing.assert_close(torch.cat([first, second], 2), expected)


def test_with_many_features_linear_attention_comes_near_softmax():
    queries, keys, values = (drawn(1, 1, 40, 8, seed=i) / 2 for i in range(3))
    towards = directions(8192, 8, torch.Generator().manual_seed(3))
    features = query_features(queries, towards, 8**-0.5), key_features(keys, towards, 8**-0.5)
    found, _ = linear_attention(*features, values, torch.zeros(1, 1, 8192, 9))
    seen = torch.ones(40, 40, dtype=torch.bool).tril()
    expected = weighted(probabilities(queries, keys, 8**-0.5, seen), values)
    assert float((found - expected).norm() / expected.norm()) < 0.05


def test_directions_stand_at_right_angles():
    found = directions(10, 4, torch.Generator().manual_seed(0))
    assert found.shape == (10, 4)
    for block in found.split(4):
        products = block @ block.mT
        torch.testing.assert_close(products, products.diagonal().diag(), atol=1e-4, rtol=0)


# --- cells ---


def test_cells_are_equal_parts_of_what_a_query_reads():
    """8 entries in 4 cells, then 3 entries: centres at 1/6, 3/6 and 5/6 of the map."""
    assert cell_of(torch.tensor([8, 3]), 8, 4).tolist() == [[0, 0, 1, 1, 2, 2, 3, 3], [0, 2, 3, 4, 4, 4, 4, 4]]
    assert sizes(torch.tensor([8, 3]), 4).tolist() == [[2, 2, 2, 2], [1, 0, 1, 1]]


@pytest.mark.parametrize("cells", [4, 12, 64])
def test_sizes_count_the_entries_of_each_cell(cells):
    tokens = torch.arange(1, 90)
    places = cell_of(tokens, 89, cells)
    for t, found, size in zip(tokens.tolist(), places, sizes(tokens, cells), strict=True):
        assert torch.bincount(found[:t], minlength=cells).tolist() == size.tolist()


def test_attention_is_pooled_and_densities_spread_it_again():
    truth = torch.tensor([[[[0.1, 0.3, 0.2, 0.4]]]])
    tokens = torch.tensor([4])
    torch.testing.assert_close(pooled(truth, tokens, 2), torch.tensor([[[[0.4, 0.6]]]]))
    found = densities(torch.tensor([[[[math.log(3.0), 0.0]]]]), sizes(tokens, 2))
    torch.testing.assert_close(found.exp(), torch.tensor([[[[3 / 8, 1 / 8]]]]))


def test_the_likeliest_cells_of_all_heads_are_read_while_they_fit():
    """Two heads of 8 entries in cells of 2, 3 entries a head: 6, of which the own cells take 4."""
    density = torch.tensor([[[[-1.0, -2.0, -9.0, -8.0]], [[-3.0, -1.5, -4.0, -5.0]]]])
    tokens = torch.tensor([8])
    chosen = grouped_top(density, sizes(tokens, 4), torch.tensor([3]))
    assert chosen[0, :, 0].tolist() == [[True, False, False, True], [False, False, False, True]]
    mask = entries(chosen, tokens, 8)
    assert mask[0, 0, 0].nonzero().flatten().tolist() == [0, 1, 6, 7]


def test_a_query_with_few_entries_reads_no_empty_cell_and_its_own_always():
    size = sizes(torch.tensor([3]), 8)
    chosen = grouped_top(densities(torch.zeros(1, 1, 1, 8), size), size, torch.tensor([1]))
    assert entries(chosen, torch.tensor([3]), 5).flatten().tolist() == [False, False, True, False, False]


def test_all_cells_read_are_all_of_attention():
    queries, keys, values = drawn(1, 4, 6, 8), drawn(1, 2, 6, 8, seed=1), drawn(1, 2, 6, 8, seed=2)
    tokens = torch.arange(1, 7)
    size = sizes(tokens, 8)
    chosen = grouped_top(densities(drawn(1, 4, 6, 8, seed=3), size), size, tokens)
    mask = entries(chosen, tokens, 6)
    assert torch.equal(mask, torch.ones(6, 6, dtype=torch.bool).tril().expand(1, 4, 6, 6))
    one = torch.ones(1, 4, 6, 1)
    found = mixed(weighted(probabilities(queries, keys, 0.3, mask), values), values, (one, one))
    expected = torch.nn.functional.scaled_dot_product_attention(
        queries, keys, values, is_causal=True, scale=0.3, enable_gqa=True
    )
    torch.testing.assert_close(found, expected)


# --- the estimator ---


def test_a_map_is_the_same_however_the_text_is_cut_and_sees_no_later_token():
    weights = {name: drawn(*size, seed=i) for i, (name, size) in enumerate(SHAPE.weights().items())}
    qkv = drawn(1, 4, 20, 16), drawn(1, 2, 20, 16, seed=1), drawn(1, 2, 20, 16, seed=2)

    def maps(parts, qkv=qkv):
        past, found = Past(), []
        past.begin(SHAPE, 1, torch.device("cpu"))
        for queries, keys, values in zip(*(x.split(parts, dim=2) for x in qkv), strict=True):
            tokens = torch.arange(past.tokens, past.tokens + queries.shape[2]) + 1
            seen = see(weights, SHAPE, (queries, keys, values), 0.25, past)
            found.append(decode(weights, SHAPE, seen.inputs, tokens, past).logits)
        return torch.cat(found, 2)

    whole = maps([20])
    assert whole.shape == (1, 4, 20, 16)
    torch.testing.assert_close(maps([7, 1, 5, 2, 5]), whole, atol=1e-4, rtol=1e-4)
    later = tuple(torch.cat([x[:, :, :12], drawn(*x[:, :, 12:].shape, seed=9)], 2) for x in qkv)
    torch.testing.assert_close(maps([20], later)[:, :, :12], whole[:, :, :12])


def test_a_map_begins_with_how_attention_falls_off():
    """Each of 16 queries reads itself alone: distances 0 have all, 1 and more nothing; the second knot sees both."""
    one = torch.eye(16)[None, None] * 50
    found = falloff(LayerInputs(one, one, 1.0), 6)
    expected = torch.tensor([1.0, 16 / 31, 1e-7, 1e-7, 1e-7, 1e-7]).log()
    torch.testing.assert_close(found, expected[None])


def test_the_falloff_is_read_at_the_middle_of_each_cell():
    """8 entries in 4 cells: middles 6.5, 4.5, 2.5 and 0.5 entries back; two knots for each doubling of 1 + distance."""
    found = by_distance(torch.arange(8.0)[None], torch.tensor([8]), 4)
    expected = 2 * (1 + torch.tensor([6.5, 4.5, 2.5, 0.5])).log2()
    torch.testing.assert_close(found[0, 0], expected)


class Pointing:
    """A model whose tokens look for the first one, half of the time, and for themselves otherwise."""

    def __init__(self, documents=30, length=32):
        self.view, self.tokenizer = tiny().view, None
        self.length, self.ids = length, [torch.zeros(1, length, dtype=torch.long)] * documents

    def documents(self):
        yield from self.ids

    def inputs(self):
        keys = torch.eye(self.length)[:, :16] * 8
        queries = torch.zeros(self.length, 16)
        queries[::2, 0] = 8
        keys, values = (x.expand(1, 2, -1, -1).clone() for x in (keys, keys / 8))
        return LayerInputs(queries.expand(1, 4, -1, -1).clone(), keys, 0.25, values)

    def altered(self, ids, change):
        shown = self.inputs()
        change.attention(0, shown.queries, shown.keys, shown.values, shown.scaling)


def test_an_attention_to_the_first_token_is_learnt():
    tensors, tokens = learn(Pointing(), [SHAPE], 150, None)
    assert tokens == 150 * 32
    shown, past = Pointing().inputs(), Past()
    past.begin(SHAPE, 1, torch.device("cpu"))
    weights = of_layer(tensors, 0)
    seen = see(weights, SHAPE, (shown.queries, shown.keys, shown.values), shown.scaling, past)
    with torch.no_grad():
        tokens = torch.arange(1, 33)
        logits = decode(weights, SHAPE, seen.inputs, tokens, past).logits
    first = densities(logits, sizes(tokens, 16)).exp()[..., 0]
    assert float(first[:, :, 16::2].min()) > 4 * float(first[:, :, 17::2].max())


def test_pieces_end_with_the_budget_of_tokens():
    fitter = Pointing(documents=5, length=10)
    assert [p.shape[1] for p in pieces(fitter, None)] == [10] * 5
    assert [p.shape[1] for p in pieces(fitter, 15)] == [10, 10]


def test_a_text_of_crumbs_teaches_nothing():
    with pytest.raises(TextError, match="no document of 8 tokens"):
        learn(Pointing(documents=3, length=4), [SHAPE], 2, None)


# --- in a model ---


def test_many_tokens_in_one_forward_read_what_each_reads_alone():
    chunks_change_nothing(LAWS.acts, "entries_unread")


def test_a_budget_of_the_whole_text_is_dense():
    found, counts = in_chunks(f"sea-attention(budget=96tok, {SMALL})", 1)
    with torch.inference_mode():
        dense = tiny().model(text(96)).logits[0]
    torch.testing.assert_close(found, dense, atol=1e-4, rtol=0)
    assert counts == {}


def test_beams_take_their_sums_with_them():
    recipe = paretolm.recipe(LAWS.acts)
    with torch.inference_mode(), opened(recipe, tiny()) as session:
        found = session.lm.model.generate(text(24), max_new_tokens=6, num_beams=3, do_sample=False, eos_token_id=None)
        best = found[0]
        scores = []
        for ids in (best, torch.cat([best[:24], text(6, seed=5)[0]])):
            logs = session.stream().read(ids[None], last=True).logits[0].float().log_softmax(-1)
            scores.append(float(logs[23:-1].gather(-1, ids[24:, None]).sum()))
    assert scores[0] > scores[1]


def test_it_says_what_it_learnt_and_leaves_the_model_as_it_was():
    lm = tiny()
    before = {name: p.clone() for name, p in lm.model.named_parameters()}
    with opened(paretolm.recipe(LAWS.acts), lm):
        pass
    assert all(torch.equal(before[name], p) for name, p in lm.model.named_parameters())
    artifact = SeaAttention(predictor_length=16, features=8, inner=8, steps=2).fit(Whole(lm), None)
    assert artifact.facts["tokens"] == 2 * 32
    assert artifact.facts["parameters"] == sum(t.numel() for t in artifact.tensors.values())


class Whole(Pointing):
    """The same for every layer of a model."""

    def __init__(self, lm):
        super().__init__(documents=1)
        self.view = lm.view

    def altered(self, ids, change):
        shown = self.inputs()
        for layer in self.view.full_layers:
            change.attention(layer, shown.queries, shown.keys, shown.values, shown.scaling)


def test_without_an_estimator_it_says_what_to_do():
    with pytest.raises(FitError, match="paretolm fit"):
        paretolm.recipe(LAWS.acts).apply(tiny()).__enter__()


def test_padded_batches_are_refused():
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[1, :3] = 0
    with opened(paretolm.recipe(LAWS.acts), tiny()) as session, pytest.raises(CallError, match="sea-attention"):
        session.lm.model(text(12, batch=2), attention_mask=mask)


def test_cells_that_the_decoder_cannot_draw_are_refused():
    with pytest.raises(RecipeError, match="no multiple of 4"):
        SeaAttention(predictor_length=18)
