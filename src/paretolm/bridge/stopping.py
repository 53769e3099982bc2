"""Leaving a forward that nobody waits for any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from transformers import PreTrainedModel

from .view import decoder


class GivenUp(Exception):
    """A forward was left on the way. Its cache is of no use; the model and its recipe are as before."""


@contextmanager
def may_be_given_up(models: Iterable[PreTrainedModel], given_up: Callable[[], bool]) -> Iterator[Callable[[], None]]:
    """given_up is asked before each module of the models runs, and GivenUp raised where it says so: a long prompt is
    read in one forward, which a recipe may not have cut in pieces. What is yielded ends the asking, which costs
    microseconds a module."""

    def ask(*_: Any) -> None:
        if given_up():
            raise GivenUp

    with ExitStack() as stack:
        for model in models:
            for module in decoder(model).modules():
                stack.callback(module.register_forward_pre_hook(ask).remove)
        yield stack.close
