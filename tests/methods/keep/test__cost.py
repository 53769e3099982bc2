"""Predicted bytes of a layer that holds fewer entries."""

from paretolm.contracts import Interval, LayerCost
from paretolm.methods.keep._cost import holding

DENSE = LayerCost(heads=2, entries=Interval.exact(96), key_bytes=Interval.exact(32), value_bytes=Interval.exact(32))


def test_positions_are_one_row_where_heads_agree():
    assert holding(DENSE, 24).bytes == Interval.exact(24 * 2 * 64 + 24 * 4)


def test_positions_are_a_row_a_head_where_heads_differ():
    assert holding(DENSE, 24, per_head=True).bytes == Interval.exact(24 * 2 * 64 + 24 * 2 * 4)


def test_nothing_is_evicted_from_a_short_text():
    assert holding(DENSE, 200, per_head=True).bytes == Interval.exact(96 * 2 * 64 + 96 * 4)
