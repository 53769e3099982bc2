"""Self-Extend's positions by hand, against a loop over pairs, and in chunks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.errors import RecipeError
from paretolm.methods.index.self_extend import grouped_bands
from paretolm.recipes.recipe import recipe
from tests.contract.spec import LawSpec
from tests.methods.index.pairs import pair_distances

LAWS = LawSpec(
    neutral="self-extend(group_size=1, window=16)",
    acts="self-extend(group_size=4, window=16)",
    refused={"mistral_sliding": "full attention", "gpt2": "rotary"},
)


def test_the_figure_of_the_paper():
    """Figure 3: ten tokens, groups of two, four neighbours. The last row reads distances 5 5 4 4 4 4 3 2 1 0...

    by the formula: floor(9 / 2) + 4 - floor(4 / 2) = 6, less floor(j / 2)."""
    positions = torch.arange(10)
    found = pair_distances(grouped_bands(positions[None], positions[None, None], 2, 4), positions, positions)
    assert found[9].tolist() == [6, 6, 5, 5, 4, 4, 3, 2, 1, 0]
    assert found[3, :4].tolist() == [3, 2, 1, 0]


@given(
    length=st.integers(1, 40), start=st.integers(0, 39), group=st.integers(1, 6), window=st.integers(1, 20),
)  # fmt: skip
def test_every_pair_has_the_distance_of_the_formula(length, start, group, window):
    keys, queries = torch.arange(length), torch.arange(min(start, length - 1), length)
    found = pair_distances(grouped_bands(queries[None], keys[None, None], group, window), queries, keys)
    for row, i in enumerate(queries.tolist()):
        for j in range(i + 1):
            far = i // group + window - window // group - j // group
            assert found[row, j] == (i - j if i - j < window else far)


def test_within_the_window_nothing_is_moved():
    positions = torch.arange(8)
    (band,) = grouped_bands(positions[None], positions[None, None], 4, 8)
    assert torch.equal(band.query_positions[0], positions)
    assert torch.equal(band.key_positions[0, 0], positions)


@pytest.mark.parametrize(
    ("line", "message"), [("self-extend(group_size=0)", "at least 1"), ("self-extend(window=0)", "at least 1")]
)
def test_mistakes_are_named(line, message):
    with pytest.raises(RecipeError, match=message):
        recipe(line)
