"""Text as it comes is the whole text, and ends before a stop."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paretolm.serving.streaming import Streamed
from tests.evaluation import judging


def streamed(text, size, stops=()):
    tokenizer, pieces = judging.tokenizer(), []
    ids = torch.tensor(tokenizer(text).input_ids, dtype=torch.long)
    streamer = Streamed(tokenizer, pieces.append, stops)
    streamer.put(torch.tensor([[5, 6, 7]]))  # the prompt
    for part in ids.split(size):
        streamer.put(part)
    streamer.end()
    assert "".join(pieces) == streamer.text
    return pieces, tokenizer.decode(ids, skip_special_tokens=True)


@settings(max_examples=50)
@given(st.text(max_size=40), st.integers(1, 5))
def test_the_whole_text_whatever_comes(text, size):
    pieces, whole = streamed(text, size)
    assert "".join(pieces) == whole


@settings(max_examples=100)
@given(
    st.text("ab\n: ", max_size=40), st.lists(st.text("ab\n:", min_size=1, max_size=4), max_size=3), st.integers(1, 4)
)
def test_it_ends_before_the_first_stop_and_nothing_of_one_is_shown(text, stops, size):
    pieces, whole = streamed(text, size, stops)
    ends = [at for stop in stops if (at := whole.find(stop)) >= 0]
    assert "".join(pieces) == whole[: min(ends, default=len(whole))]


def test_it_comes_in_pieces_and_holds_back_what_may_be_a_stop():
    pieces, _ = streamed("one two\nUse of it\nUser: more", 1, ["\nUser:"])
    assert "".join(pieces) == "one two\nUse of it"
    assert len(pieces) >= 3
    assert not any(piece.startswith("\nUser") for piece in pieces)


@pytest.mark.parametrize("stops", [(), ("x",), ("",)])
def test_nothing_comes_of_nothing(stops):
    assert streamed("", 1, stops) == ([], "")
