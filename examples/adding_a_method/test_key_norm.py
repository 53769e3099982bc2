"""Keys of small norm, against a hand calculation and a naive twin."""

import torch

from paretolm.methods.keep.key_norm import smallest_norms
from tests.contract.spec import LawSpec

LAWS = LawSpec(neutral="key-norm(budget=100%)", acts="key-norm(budget=25%)")


def test_a_hand_calculation() -> None:
    keys = torch.tensor([[3.0, 4.0], [0.0, 1.0], [6.0, 8.0], [1.0, 1.0]])  # norms 5, 1, 10, 1.41
    assert smallest_norms(keys[None, None], 2).tolist() == [[[1, 3]]]


def test_the_naive_twin() -> None:
    keys = torch.randn(2, 3, 17, 8, generator=torch.Generator().manual_seed(0))
    for row, heads in enumerate(smallest_norms(keys, 5)):
        for head, index in enumerate(heads):
            norms = [sum(float(x) ** 2 for x in key) for key in keys[row, head]]
            assert index.tolist() == sorted(sorted(range(17), key=norms.__getitem__)[:5])
