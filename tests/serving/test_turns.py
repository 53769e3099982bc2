"""Clients take turns, requests of one client keep their order."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from paretolm.serving.queue import Turns


def drained(turns: Turns) -> list:
    return [turns.next() for _ in range(len(turns))]


def test_a_client_with_many_requests_does_not_hold_up_another():
    turns = Turns()
    for one in ("a1", "a2", "a3", "b1", "b2", "c1"):
        turns.add(one[0], one)
    assert drained(turns) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert turns.next() is None


def test_who_was_served_goes_behind_who_came_meanwhile():
    turns = Turns()
    turns.add("a", "a1")
    turns.add("a", "a2")
    assert turns.next() == "a1"
    turns.add("b", "b1")
    assert drained(turns) == ["a2", "b1"]


def test_what_is_taken_out_leaves_no_gap():
    turns = Turns()
    for one in ("a1", "b1", "a2"):
        turns.add(one[0], one)
    turns.remove("b", "b1")
    turns.remove("b", "b1")
    turns.remove("z", "z1")
    assert turns.clear() == ["a1", "a2"]
    assert len(turns) == 0


@given(st.lists(st.integers(0, 3), max_size=30))
def test_nobody_waits_for_two_of_anothers_and_orders_are_kept(clients):
    turns = Turns()
    for number, client in enumerate(clients):
        turns.add(str(client), (client, number))
    got = drained(turns)
    assert sorted(got, key=lambda one: one[1]) == [(c, n) for n, c in enumerate(clients)]
    for client in set(clients):
        mine = [n for c, n in got if c == client]
        assert mine == sorted(mine)
        places = [i for i, (c, _) in enumerate(got) if c == client]
        assert all(after - before <= len(set(clients)) for before, after in pairwise(places))
