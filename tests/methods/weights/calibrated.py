"""A fitter over token ids of a tiny model, and its fitted session."""

from paretolm.contracts import Artifact, Method
from paretolm.recipes.making import method_line
from paretolm.recipes.recipe import Recipe
from paretolm.recipes.session import Session
from tests.contract.laws import _Texts
from tests.contract.tiny import text, tiny


def fitter(name="llama", count=4, length=40):
    """(the model, a fitter over `count` random texts)."""
    lm = tiny(name)
    return lm, _Texts(lm, [text(length, seed=i)[0] for i in range(count)])


def opened(lm, method: Method, artifact: Artifact) -> Session:
    return Session.open(lm, Recipe((method,)), {method_line(method): artifact})
