"""serve: what is refused before anything listens. The server itself is under test in tests/serving."""

from __future__ import annotations

import builtins
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from paretolm.bench.records.keys import CellInputs, Conditions
from paretolm.bench.records.record import make_record
from paretolm.bench.records.store import Scored, Store
from paretolm.bridge.content import content_hash, contents
from paretolm.evaluation.rows import Row
from paretolm.recipes.recipe import Recipe
from paretolm.serving import server
from paretolm.serving.measured import is_measured

RECIPE = "window(window=16)"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would have been served."""
    found: list[Any] = []
    monkeypatch.setattr(server, "serve", lambda served, place, ready: (found.append(served), ready()))
    return found


def test_a_recipe_that_was_never_measured_is_refused_unless_asked_for(run: Any, saved: Path, served: list[Any]) -> None:
    code, _, err = run("serve", str(saved), "-m", RECIPE, "--port", "0")
    assert (code, served) == (2, [])
    assert f"{RECIPE} was never measured on {saved}" in err
    assert "serve it --unmeasured" in err
    assert run("serve", str(saved), "-m", RECIPE, "--port", "0", "--unmeasured")[0] == 0
    assert [s.fingerprint for s in served] == [f"recipe-{Recipe.parse(RECIPE).hash}"]


def test_the_untouched_model_needs_no_measuring(run: Any, saved: Path, served: list[Any]) -> None:
    code, _, err = run("serve", str(saved), "--port", "0")
    assert code == 0, err
    assert f"{saved}: http://127.0.0.1:" in err
    assert served[0].hosts == {"localhost", "127.0.0.1", "::1"}
    assert served[0].limits.tokens == 128


def test_a_recipe_is_known_by_rows_on_these_weights(run: Any, saved: Path, served: list[Any], tmp_path: Path) -> None:
    place, known = tmp_path / "found", Recipe.parse(RECIPE)
    assert not is_measured(str(saved), known, place)
    with Store(place / "results.sqlite") as store:
        store.plan({"cell": record(saved, known)})
        assert not is_measured(str(saved), known, place)  # asked for, not measured
        store.add([("cell", Scored("i", "d", [Row("i", "d", "nll", 1.0, 1.0, {})]))])
    assert is_measured(str(saved), known, place)
    assert not is_measured(str(saved), Recipe.parse("window(window=17)"), place)
    assert not is_measured("reference", known, place)
    code, _, err = run("serve", str(saved), "-m", RECIPE, "--port", "0", "--results", str(place))
    assert (code, len(served)) == (0, 1), err


def record(model: Path, recipe: Recipe) -> dict[str, Any]:
    """As compare keeps it of a cell."""
    conditions = Conditions(
        content=content_hash(model),
        **asdict(contents(model)),
        device="cpu",
        accelerator="",
        dtype="float32",
        attention="sdpa",
        threads=1,
        seed=0,
        versions={},
    )
    inputs = CellInputs("quality", recipe.full(), recipe.hash, "perplexity", "1", {}, "data", None)
    return make_record(recipe.full(), "perplexity", {}, conditions, inputs).to_meta()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_other_machines_need_a_key(run: Any, saved: Path, host: str) -> None:
    code, _, err = run("serve", str(saved), "--host", host, "--port", "0")
    assert code == 2
    assert f"{host} can be reached from other machines: give --api-key" in err


def test_a_key_opens_to_other_machines(
    run: Any, saved: Path, served: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARETOLM_API_KEY", "from-env")
    assert run("serve", str(saved), "--host", "0.0.0.0", "--port", "0")[0] == 0
    assert run("serve", str(saved), "--api-key", "a", "--api-key", "b", "--allowed-host", "Box", "--port", "0")[0] == 0
    assert [s.keys for s in served] == [("from-env",), ("a", "b")]
    assert [s.hosts for s in served] == [None, {"localhost", "127.0.0.1", "::1", "box"}]
    code, _, err = run("serve", str(saved), "--api-key", " ", "--port", "0")
    assert (code, "must be of ASCII letters" in err) == (2, True)


def test_a_port_that_is_taken_is_a_sentence(run: Any, saved: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = run("serve", str(saved), "--port", str(port))
    assert code == 2
    assert f"127.0.0.1:{port} cannot be listened on" in err


def test_a_missing_extra_is_a_sentence(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "uvicorn":
            raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    code, _, err = run("serve")
    assert code == 2
    assert "serving needs uvicorn: pip install 'paretolm[serve]' first" in err
