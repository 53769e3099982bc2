"""What several methods must do alike: bytes within the prediction at every step, forwards of many tokens equal to single
ones, padded batches refused."""

from collections.abc import Mapping, Sequence

import pytest
import torch

import paretolm
from paretolm.errors import CallError
from tests.contract.laws import opened
from tests.contract.tiny import text, tiny


def bytes_at_every_step(line: str, parts: Sequence[int], length: int) -> None:
    """A prompt read in parts that end at the tokens given, then one token at a time up to `length`."""
    lm, recipe, ids = tiny(), paretolm.recipe(line), text(length)
    with recipe.apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        for start, end in zip((0, *parts), parts, strict=False):
            stream.read(ids[:, start:end], last=end == parts[-1])
        for t in range(parts[-1], length):
            stream.step(ids[:, t : t + 1])
            cost = recipe.cost(lm.view, t + 1)
            assert stream.kv_bytes in cost.kv_bytes
            assert stream.index_bytes in cost.index_bytes


def in_chunks(line: str, chunk: int, prompt: int = 40) -> tuple[torch.Tensor, Mapping[str, int]]:
    """Logits [96, V] of a text of 96 tokens, all of it held and its bytes as predicted: the prompt in one forward, the
    rest `chunk` tokens at a time; and what the first method counted."""
    ids, recipe = text(96), paretolm.recipe(line)
    with torch.inference_mode(), opened(recipe, tiny()) as session:
        stream = session.stream()
        parts = [stream.read(ids[:, :prompt], last=True).logits]
        parts += [stream.step(piece).logits for piece in ids[:, prompt:].split(chunk, dim=1)]
        cost = recipe.cost(session.lm.view, 96)
        assert stream.held == [96, 96]
        assert stream.kv_bytes in cost.kv_bytes
        assert stream.index_bytes in cost.index_bytes
        return torch.cat(parts, 1)[0], session.counters[recipe.methods[0].name]


def chunks_change_nothing(line: str, count: str) -> None:
    """Each of many tokens in one forward reads what it reads alone, and as much is counted."""
    single, counts = in_chunks(line, 1)
    assert counts[count] > 0
    for chunk in (5, 56):
        together, also = in_chunks(line, chunk)
        torch.testing.assert_close(together, single, atol=1e-4, rtol=0)
        assert also == counts


def padding_is_refused(line: str, said: str) -> None:
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[1, :3] = 0
    with paretolm.recipe(line).apply(tiny()) as session, pytest.raises(CallError, match=said):
        session.lm.model(text(12, batch=2), attention_mask=mask)
