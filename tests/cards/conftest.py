"""One card for all tests that read one."""

from __future__ import annotations

from typing import Any

import pytest

from paretolm.cards.measure import Measured
from tests.cards.made import whole


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return whole(tmp_path_factory.mktemp("card"))


@pytest.fixture
def card(measured: Measured) -> dict[str, Any]:
    return measured.card
