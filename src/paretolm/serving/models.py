"""What is served under which name: the model under its recipe, and the untouched one beside it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .asked import Asked, Reader
from .limits import Limits
from .writer import Event, Writer

if TYPE_CHECKING:
    from ..bridge.lm import LM
    from ..recipes.session import Session

SUFFIX = ":untouched"


@contextmanager
def side_by_side(lm: LM) -> Iterator[tuple[Session, Session | None]]:
    """Sessions of what is left of the recipe, and of the model without it, over the very same weights. None where
    nothing is left, or where weights were changed for good and nobody has the old ones."""
    from ..recipes.convert import shell_copy
    from ..recipes.recipe import Recipe

    left = Recipe.parse(lm.recipe_left)
    apart = not left.is_dense and not lm.recipe_in_force
    other = replace(lm, model=shell_copy(lm.model), recipe_left="") if apart else None
    with ExitStack() as stack:
        session = stack.enter_context(left.apply(lm))
        yield session, stack.enter_context(Recipe().apply(other)) if other else None


class Models:
    """Each request goes to the model it names. fingerprint: of the first one's recipe."""

    def __init__(
        self, name: str, fingerprint: str, session: Session, untouched: Session | None, limits: Limits
    ) -> None:
        sessions = {name: session} | ({f"{name}{SUFFIX}": untouched} if untouched else {})
        self.name, self.fingerprints = name, {n: f"recipe-{s.recipe.hash}" for n, s in sessions.items()}
        self.fingerprints[name] = fingerprint
        self._sessions = sessions
        self._readers = {n: _reader(n, s, limits) for n, s in sessions.items()}
        self._writers = {n: Writer(s) for n, s in sessions.items()}

    def completion(self, body: Mapping[str, Any]) -> Asked:
        return self._reader(body).completion(body)

    def chat(self, body: Mapping[str, Any]) -> Asked:
        return self._reader(body).chat(body)

    def write(self, asked: Asked, emit: Callable[[Event], None], given_up: Callable[[], bool]) -> None:
        self._writers[asked.model].write(asked, emit, given_up)

    def about(self, name: str) -> dict[str, Any]:
        """recipe: in force for each request; in_weights: in the weights for good; untouched: the name of the model
        without them, if it is served."""
        session, beside = self._sessions[name], f"{self.name}{SUFFIX}"
        own = {
            "recipe": "" if session.recipe.is_dense else str(session.recipe),
            "in_weights": session.lm.recipe_in_force,
            "untouched": beside if beside in self._sessions else None,
        }
        return {"system_fingerprint": self.fingerprints[name], "paretolm": own}

    def _reader(self, body: Mapping[str, Any]) -> Reader:
        """The first one's tells what is wrong with a name."""
        return self._readers.get(str(body.get("model")), self._readers[self.name])


def _reader(name: str, session: Session, limits: Limits) -> Reader:
    view = session.lm.view
    positions = None if view.rope is not None else view.trained_length
    return Reader(name, copy.deepcopy(session.tokenizer), limits, positions)  # the worker uses the other one meanwhile
