"""SirLLM: entropies against the formula, what stays against a loop, and one text read in pieces."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paretolm
from paretolm.contracts import Moment, Observed, Step
from paretolm.errors import CallError
from paretolm.methods.keep.sirllm import HeldRanks, SirKeep, SirLLM, remembered, token_entropy
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.keep.fakes import FakeContext, FakeHeld, positions

SMALL = "sirllm(start_size=2, token_entropy_size=12, recent_size=2)"
LAWS = LawSpec(neutral="sirllm", acts=SMALL)


def test_entropy_by_hand():
    """Probabilities 3/4 and 1/4: what was likely says log(4/3), what was not log 4; the first is as much as the most."""
    logits = torch.tensor([3.0, 1.0]).log().expand(1, 3, 2)
    common, rare = math.log(4 / 3), math.log(4)
    found = token_entropy(logits, torch.tensor([[0, 1, 0]]), None)
    torch.testing.assert_close(found, torch.tensor([[rare, rare, common]]))
    found = token_entropy(logits, torch.tensor([[0, 1, 0]]), logits[:, -1])
    torch.testing.assert_close(found, torch.tensor([[common, rare, common]]))
    assert token_entropy(logits[:, :1], torch.tensor([[1]]), None).tolist() == [[math.inf]]


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(0, 3), st.sampled_from([1.0, 0.5]), st.integers(0, 99))
def test_what_stays_equals_a_loop(first, middle, last, decay, seed):
    n, turn = 12, 3
    entropy = torch.rand(2, n, generator=torch.Generator().manual_seed(seed))
    index = remembered(entropy, torch.arange(n)[None], (first, middle, last), decay, turn)
    for row in range(2):
        between = range(first, n - last)
        faded = {i: float(entropy[row, i]) * decay ** ((n - 1 - i) // turn) for i in between}
        chosen = sorted(between, key=faded.__getitem__)[-middle:]
        assert index[row].tolist() == sorted([*range(first), *chosen, *range(n - last, n)])


def test_ranks_are_places_in_the_cache():
    (band,) = HeldRanks().bands(torch.tensor([[50, 51]]), torch.tensor([[[0, 9, 50, 51]]]))
    assert band.key_positions.tolist() == [[[0, 1, 2, 3]]]
    assert band.query_positions.tolist() == [[2, 3]]


def test_all_layers_keep_the_same_and_decide_once():
    class Shared(FakeContext):
        def shared(self, make):
            self.__dict__.setdefault("state", make())
            return self.state

    ctx = Shared()
    parts = [SirKeep(ctx, SirLLM(start_size=1, token_entropy_size=2, recent_size=1)) for _ in range(2)]
    ids, logits = torch.tensor([[0, 1, 0, 2, 1, 0]]), torch.tensor([8.0, 1.0, 4.0]).log().expand(1, 6, 3)
    step = Step(ids, torch.arange(6)[None], Moment.PREFILL_END, seen=0)
    kept = [
        p.settle(FakeHeld(positions(range(6)), 6), Observed(None, None, None, 1.0, logits=logits), step) for p in parts
    ]
    assert [k.index.tolist() for k in kept] == [[[[0, 1, 4, 5]]]] * 2  # token 1 is the rare one
    assert parts[0].memory.entropy.shape == (1, 4)
    assert ctx.counts["tokens_evicted"] == 4


def read(ids, pieces, line=SMALL):
    lm, start = tiny(), 0
    with paretolm.recipe(line).apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        for size in pieces:
            start += size
            stream.read(ids[:, start - size : start], last=start == ids.shape[1], logits=False)
            assert max(stream.held) <= 16
        kept = stream.cache.held_layers[0].positions[0, 0].tolist()
        return kept, stream.kv_bytes, stream.index_bytes, paretolm.recipe(line).cost(lm.view, ids.shape[1])


def test_what_stays_is_what_surprised_the_model():
    """A text that fits twice over, in two pieces: the entropies are those of the untouched model for the first."""
    ids = text(32)
    kept, *_ = read(ids, [32])
    with torch.inference_mode():
        losses = -tiny().model(ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]
    order = sorted(range(2, 30), key=lambda i: float(losses[i - 1]))
    assert kept == sorted([0, 1, *order[-12:], 30, 31])


def test_bytes_are_as_predicted_and_never_exceed_the_budget():
    for pieces in ([8] * 8, [64], [60, 1, 1, 1, 1]):
        _, kv_bytes, index_bytes, cost = read(text(64), pieces)
        assert kv_bytes in cost.kv_bytes
        assert index_bytes in cost.index_bytes


def test_decay_forgets_the_old():
    ids = text(64)
    whole, *_ = read(ids, [64])
    faded, *_ = read(ids, [64], "sirllm(start_size=2, token_entropy_size=12, recent_size=2, decay_ratio=0.1, turn=4)")
    assert sum(faded) > sum(whole)


def test_embeddings_without_ids_are_refused():
    with paretolm.recipe(SMALL).apply(tiny()) as session, pytest.raises(CallError, match="needs input_ids"):
        session.lm.model(inputs_embeds=torch.zeros(1, 4, 64))


def test_beams_are_refused():
    with (
        paretolm.recipe(SMALL).apply(tiny()) as session,
        pytest.raises(CallError, match=r"sirllm gives up|several beams"),
    ):
        session.lm.model.generate(text(24), max_new_tokens=4, num_beams=2, do_sample=False)


def test_only_few_tokens_a_forward_mean_this_method():
    assert SirLLM(start_size=4, token_entropy_size=92, recent_size=32).chunk(1000) == 16
