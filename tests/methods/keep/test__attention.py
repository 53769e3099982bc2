"""Mean attention against a loop over heads, queries and keys."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paretolm.methods.keep._attention import mean_attention


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 8), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99))
def test_equals_a_loop(n, group, w, seed):
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(1, 2 * group, w, 4, generator=generator)
    keys = torch.randn(1, 2, n, 4, generator=generator)
    expected = torch.zeros(n)
    for head in range(2 * group):
        for query in queries[0, head]:
            weights = [math.exp(0.5 * float(query @ keys[0, head // group, j])) for j in range(n)]
            expected += torch.tensor(weights) / sum(weights) / (2 * group * w)
    torch.testing.assert_close(mean_attention(queries, keys, 0.5)[0], expected, atol=1e-5, rtol=0)
