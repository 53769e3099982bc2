"""compare --until-sure on the command line: what is asked for arrives, what cannot be is one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paretolm.bench import compare as bench
from paretolm.bench.until import Sure
from tests.bench.synthetic import comparison


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ((), None),
        (("--until-sure",), Sure(0.01, 0.05)),
        (("--until-sure", "--margin", "0.1", "--alpha", "0.01"), Sure(0.1, 0.01)),
    ],
)
def test_what_is_asked_for_arrives(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], asked: Sure | None
) -> None:
    requests = []
    monkeypatch.setattr(bench, "run", lambda request, progress: requests.append(request) or comparison(2))
    assert run("compare", "-o", str(tmp_path), "-q", *given)[0] == 0
    assert [request.sure for request in requests] == [asked]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (("--margin", "0.1"), "--margin says when --until-sure may stop scoring; add --until-sure, or leave it out"),
        (("--until-sure", "--margin", "0"), "--margin is 0; it must be above 0, the difference that does not matter"),
        (("--until-sure", "--alpha", "1"), "--alpha is 1; it must lie between 0 and 1, the chance of a wrong decision"),
    ],
)
def test_a_mistake_is_one_sentence(run: Any, tmp_path: Path, given: tuple[str, ...], sentence: str) -> None:
    assert run("compare", "-o", str(tmp_path / "out"), *given) == (2, "", f"error: {sentence}\n")
    assert not (tmp_path / "out").exists()
