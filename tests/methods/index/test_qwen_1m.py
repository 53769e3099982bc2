"""Dual chunks by hand, against a loop over pairs, and the temperature."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.errors import RecipeError
from paretolm.methods.index.qwen_1m import DualChunks, dual_chunk_bands, sharpness
from paretolm.recipes.recipe import recipe
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.index.pairs import pair_distances

LAWS = LawSpec(
    neutral="qwen-1m(length=128, chunk_size=128, local_size=1)",
    acts="qwen-1m(length=32)",
    refused={"mistral_sliding": "full attention", "gpt2": "rotary"},
)


def test_the_figure_of_the_paper():
    """Figure 2 of 2402.17463: 12 tokens, trained on 10, chunks of 6; here chunk_size 10 and local_size 4.

    Row 11 is the last of the second chunk: its own chunk at 5 to 0, the one before at min(5 + 6, 10) less 0 to 5."""
    at = torch.arange(12)
    found = pair_distances(dual_chunk_bands(at[None], at[None, None], 10, 4), at, at)
    assert found[11].tolist() == [10, 9, 8, 7, 6, 5, 5, 4, 3, 2, 1, 0]
    assert found[6].tolist()[:7] == [6, 5, 4, 3, 2, 1, 0]


@given(
    chunk=st.integers(3, 16), local=st.integers(1, 15), length=st.integers(1, 60), start=st.integers(0, 59),
)  # fmt: skip
def test_every_pair_has_the_distance_of_its_chunks(chunk, local, length, start):
    local = min(local, chunk // 2)
    size = chunk - local
    keys, queries = torch.arange(length), torch.arange(min(start, length - 1), length)
    found = pair_distances(dual_chunk_bands(queries[None], keys[None, None], chunk, local), queries, keys)
    for row, i in enumerate(queries.tolist()):
        for j in range(i + 1):
            apart = i // size - j // size
            if apart == 0:
                expected = i - j
            elif apart == 1:
                expected = min(i % size + size, chunk) - j % size
            else:
                expected = min(2 * size - 1, chunk) - j % size
            assert found[row, j] == expected <= chunk
            if i - j <= local:
                assert found[row, j] == i - j


def test_attention_grows_sharper_beyond_the_length():
    at = torch.tensor([[0, 9, 19, 39]])
    assert sharpness(at, 10).tolist()[0] == pytest.approx([1, 1, 1 + 0.1 * math.log(2), 1 + 0.1 * math.log(4)])
    assert sharpness(at, 40) is None
    assert DualChunks(8, 2, 10, temperature=False, ctx=None).sharper(at) is None


def test_queries_are_sharpened_in_force_beyond_the_length_alone():
    ids, found = text(48), []
    for temperature in ("true", "false"):
        line = f"qwen-1m(length=16, temperature={temperature})"
        with torch.inference_mode(), recipe(line).apply(tiny()) as session:
            found.append(session.stream().read(ids, last=True).logits[0])
    apart = (found[0] - found[1]).abs().amax(-1)
    assert apart[:16].max() == 0
    assert apart[17:].min() > 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("qwen-1m(chunk_size=8, local_size=5)", "over half"),
        ("qwen-1m(length=2)", "at least 4"),
    ],
)
def test_mistakes_are_named(line, message):
    with pytest.raises(RecipeError, match=message):
        recipe(line)


def test_sizes_that_do_not_fit_the_model_are_named():
    with pytest.raises(RecipeError, match="do not fit"):
        list(recipe("qwen-1m(chunk_size=256)").methods[0].plan(tiny().view))
