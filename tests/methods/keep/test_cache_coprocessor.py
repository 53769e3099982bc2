"""Cache coprocessor: one layer against a naive twin, a lesson by hand, and training sees what decoding will see."""

import cmath
import math
from types import SimpleNamespace

import pytest
import torch

import paretolm
from paretolm.bridge.altered import altered_forward
from paretolm.contracts import Altered, Artifact, Interval, Need
from paretolm.errors import ConflictError, TextError
from paretolm.methods.keep._coprocessor import (
    Rotation,
    Weights,
    augmented,
    deliberate,
    lesson,
    shapes,
)
from paretolm.methods.keep._coprocessor_fit import Course, fresh, learn, num_points, texts
from paretolm.methods.keep.cache_coprocessor import CacheCoprocessor
from paretolm.recipes.making import method_line
from paretolm.recipes.session import Session
from tests.contract.laws import _Texts, output
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny

SMALL = "width=8, points=2, steps=2"
ACTS = f"cache-coprocessor(latents=4, {SMALL})"
LAWS = LawSpec(
    neutral=f"cache-coprocessor(latents=0, {SMALL})",
    acts=ACTS,
    monotone=(ACTS, f"cache-coprocessor(latents=1, {SMALL})", f"cache-coprocessor(latents=0, {SMALL})"),  # by bytes
)


def some(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def weights_of(layer, width=6):
    return Weights(*(some(*shape, seed=i) * 0.3 for i, shape in enumerate(shapes(layer, width).values())))


def unit(vector):
    mean = sum(vector) / len(vector)
    spread = math.sqrt(sum((x - mean) ** 2 for x in vector) / len(vector) + 1e-5)
    return [(x - mean) / spread for x in vector]


def times(matrix, vector):
    return [sum(float(a) * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def turned(vector, angles):
    """(x1, x2) halves as complex numbers."""
    half = len(vector) // 2
    z = [complex(vector[i], vector[half + i]) * cmath.exp(1j * a) for i, a in enumerate(angles)]
    return [w.real for w in z] + [w.imag for w in z]


def naive(state, keys, values, seen, place, w, inv_freq):
    """One latent of one row: state [m] floats, keys and values [H][n][D]. Its new state, keys and values."""
    heads, angles, mean_keys, mean_values = len(keys), [place * float(f) for f in inv_freq], [], []
    query = times(w.query, unit(state))
    size = len(query) // heads
    part = [slice(h * size, (h + 1) * size) for h in range(heads)]
    for h in range(heads):
        q = turned(query[part[h]], angles)
        scores = [
            math.exp(sum(a * float(b) for a, b in zip(q, key, strict=True)) / math.sqrt(size)) if known else 0
            for key, known in zip(keys[h], seen, strict=True)
        ]
        for rows, means in ((keys[h], mean_keys), (values[h], mean_values)):
            means += [
                sum(s * float(x[c]) for s, x in zip(scores, rows, strict=True)) / sum(scores) for c in range(size)
            ]
    state = plus(state, times(w.read, mean_values))
    inner = [x / (1 + math.exp(-x)) for x in times(w.up, unit(state))]
    state = plus(state, times(w.down, inner))
    key = [x for p in part for x in turned(times(w.key, unit(state))[p], angles)]
    return state, plus(mean_keys, key), plus(mean_values, times(w.value, unit(state)))


def plus(one, other):
    return [a + b for a, b in zip(one, other, strict=True)]


def test_the_naive_twin():
    layer, places, freq = tiny().view.layers[0], torch.tensor([4, 9]), 0.5 ** torch.arange(8)
    w, state, keys, values = weights_of(layer), some(2, 3, 6), some(2, 2, 5, 16, seed=1), some(2, 2, 5, 16, seed=2)
    seen = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]).bool()
    after, more, worth = deliberate(state, keys, values, seen, places, w, Rotation(freq, True))
    for row in range(2):
        for latent in range(3):
            expected = naive(state[row, latent].tolist(), keys[row], values[row], seen[row], int(places[row]), w, freq)
            got = after[row, latent], more[row, :, latent].flatten(), worth[row, :, latent].flatten()
            for a, b in zip(got, expected, strict=True):
                torch.testing.assert_close(a, torch.tensor(b), atol=1e-4, rtol=1e-4)


def test_only_distances_count_and_the_latents_keys_move_along():
    layer, freq = tiny().view.layers[0], 0.5 ** torch.arange(8)
    w, state, keys, values = weights_of(layer), some(1, 3, 6), some(1, 2, 5, 16, seed=1), some(1, 2, 5, 16, seed=2)
    turn, seen = Rotation(freq, True), torch.ones(1, 5, dtype=torch.bool)
    near = deliberate(state, keys, values, seen, torch.tensor([4]), w, turn)
    moved = torch.cat([turn.to(keys[:, :, i : i + 1], torch.tensor([7])) for i in range(5)], dim=2)
    far = deliberate(state, moved, values, seen, torch.tensor([11]), w, turn)
    expected = near[0], turn.to(near[1], torch.tensor([7])), near[2]
    torch.testing.assert_close(far, expected, atol=1e-5, rtol=1e-4)


def test_a_lesson_by_hand():
    ids = torch.arange(100, 112)[None]
    given = lesson(ids, torch.tensor([6, 3]), 2)
    assert given.ids[0].tolist() == [100, 101, 102, 103, 104, 105, 106, 107, 103, 104]
    assert given.positions[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 3, 4]
    assert given.targets.tolist() == [107, 108, 104, 105]
    assert given.seen.tolist() == [[True] * 6, [True] * 3 + [False] * 3]


def loud(artifact):
    """The same coprocessor with larger weights, so that an error shows."""
    tensors = {name: x + 0.3 * some(*x.shape, seed=i) for i, (name, x) in enumerate(sorted(artifact.tensors.items()))}
    return Artifact(tensors, artifact.facts)


def fitted(lm, line=ACTS):
    (method,) = paretolm.recipe(line).methods
    return method_line(method), method.fit(_Texts(lm, [text(40, seed=i)[0] for i in range(3)]), None)


@pytest.mark.parametrize("name", ["llama", "gpt_neox", "gemma3", "gpt2", "mixtral"])
def test_training_sees_what_decoding_will_see(name):
    """The logits of a lesson are those of its parts read through the cache."""
    lm, ids = tiny(name), text(40, seed=3)
    line, artifact = fitted(lm)
    artifact = loud(artifact)
    ends = torch.tensor([29, 11, 20][: num_points(lm.view, 3)])
    given = lesson(ids, ends, 6)
    rotation = Rotation(_Texts(lm, []).inv_freq, lm.view.rope is None or lm.view.rope.halves)
    change = Altered(
        positions=given.positions if len(ends) > 1 else None, attention=augmented(given, artifact.tensors, rotation)
    )
    logits, _ = altered_forward(lm, given.ids, change)
    parts = logits[0, given.num_text :].detach().unflatten(0, (len(ends), -1))
    for end, expected in zip(ends.tolist(), parts, strict=True):
        with torch.inference_mode(), Session.open(lm, paretolm.recipe(ACTS), {line: artifact}) as session:
            stream = session.stream()
            stream.read(ids[:, :end], last=True)
            got = stream.step(ids[:, end : end + 6]).logits[0]
        torch.testing.assert_close(got, expected, atol=2e-4, rtol=1e-3)


def test_it_learns_what_follows_and_leaves_the_model_alone():
    """Words of which the last is always one of two: latents can say so, the random model does not."""
    lm = tiny()
    before = {name: p.clone() for name, p in lm.model.named_parameters()}
    words = torch.where(text(60, seed=5) % 2 == 0, 7, 11)
    fitter, course = _Texts(lm, [words[0]]), Course(latents=4, width=8, ahead=8, points=4, steps=150)
    found = learn(fitter, course, None)
    assert all(torch.equal(before[name], p) and p.grad is None for name, p in lm.model.named_parameters())
    again = learn(fitter, course, None)
    assert all(torch.equal(found[name], again[name]) for name in found)
    losses = []
    for tensors in (fresh(lm.view, course, torch.Generator().manual_seed(0)), found):
        given = lesson(words, torch.tensor([40]), 8)
        attention = augmented(given, tensors, Rotation(fitter.inv_freq, True))
        logits, _ = altered_forward(lm, given.ids, Altered(attention=attention))
        losses.append(float(torch.nn.functional.cross_entropy(logits[0, 40:], given.targets)))
    assert losses[1] < losses[0] - 0.5


def test_every_piece_begins_as_the_tokenizer_begins_a_text():
    fitter = _Texts(tiny(), [torch.tensor([1, *range(10, 280)]), torch.tensor([1, *range(20, 30)])])
    plain = [ids[0, :2].tolist() for ids in texts(fitter, None)]
    fitter.tokenizer = SimpleNamespace(bos_token_id=1)
    begun = [ids[0, :2].tolist() for ids in texts(fitter, None)]
    assert plain == [[1, 10], [265, 266], [1, 20]]
    assert begun == [[1, 10], [1, 265], [1, 20]]


def test_a_text_of_crumbs_teaches_nothing():
    with pytest.raises(TextError, match="no document of 8 tokens"):
        CacheCoprocessor(steps=1).fit(_Texts(tiny(), [text(7)[0]]), None)


def test_bytes_held_and_the_size_of_the_artifact():
    lm = tiny()
    line, artifact = fitted(lm)
    recipe = paretolm.recipe(ACTS)
    numbers = 4 * 8 + 2 * (8 * 32 * 4 + 2 * 8 * 16)
    assert artifact.facts["parameters"] == numbers
    with torch.inference_mode(), Session.open(lm, recipe, {line: artifact}) as session:
        stream = session.stream()
        stream.read(text(30)[:, :10])
        assert stream.held == [10, 10]
        stream.read(text(30)[:, 10:20], last=True)
        for t in range(20, 30):
            cost = recipe.cost(lm.view, t)
            assert stream.held == [t + 4, t + 4]
            assert cost.kv_bytes == Interval.exact(stream.kv_bytes)
            assert cost.index_bytes == Interval.exact(stream.index_bytes) == Interval.exact(4 * numbers)
            stream.step(text(30)[:, t : t + 1])
        layer = stream.cache.held_layers[1]
        assert layer.positions.tolist() == [[[*range(20), 19, 19, 19, 19, *range(20, 30)]]]
        assert session.counters["cache-coprocessor"]["latents_added"] == 2 * 4


def test_without_latents_the_logits_are_the_models_own_bit_by_bit():
    lm = tiny()
    assert CacheCoprocessor(latents=0).fit(_Texts(lm, [text(40)[0]]), None) is None
    got, dense = (output(line, lm, chunk=5) for line in (LAWS.neutral, "dense"))
    assert torch.equal(got.logits, dense.logits)
    assert torch.equal(got.tokens, dense.tokens)


def test_drafts_are_taken_back_and_the_latents_stay():
    lm = tiny()
    line, artifact = fitted(lm)
    ids = text(24)
    with torch.inference_mode(), Session.open(lm, paretolm.recipe(ACTS), {line: loud(artifact)}) as session:
        streams = [session.stream() for _ in range(2)]
        for stream in streams:
            stream.read(ids[:, :16], last=True)
        streams[0].verify(torch.tensor([[5, 6, int(ids[0, 16])]]), [-1, 0, -1])
        streams[0].commit([2])
        streams[1].step(ids[:, 16:17])
        assert streams[0].held == streams[1].held == [21, 21]
        drafted, plain = (stream.step(ids[:, 17:]).logits for stream in streams)
    torch.testing.assert_close(drafted, plain, atol=1e-4, rtol=1e-4)


def test_models_whose_attention_is_more_than_a_softmax_are_refused():
    view = tiny().view.changed(breaks={Need.PLAIN_ATTENTION: "the model caps its attention scores"})
    with pytest.raises(ConflictError, match="caps its attention scores"):
        list(CacheCoprocessor().plan(view))


def test_one_augmentation_a_forward_where_others_would_show():
    assert [num_points(tiny(name).view, 9) for name in ("llama", "gemma3", "gpt2")] == [9, 1, 1]
