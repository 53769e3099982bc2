"""The fake methods stand in for the real ones where a test asks for them."""

from pathlib import Path

import pytest

from paretolm.recipes import index
from paretolm.recipes.index import Index


@pytest.fixture(scope="module")
def fakes():
    found = Index(Path(__file__).parent / "fakes", "tests.recipes.fakes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "own", lambda: found)
        yield found
