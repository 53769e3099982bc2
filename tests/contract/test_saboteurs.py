"""Each law goes red on the method made to break it, and stays green on its honest neighbour."""

from __future__ import annotations

from paretolm.recipes.recipe import Recipe
from tests.saboteurs import methods as bad

from . import laws
from .tiny import tiny

HONEST = "window(window=16)"


def one(method: object) -> Recipe:
    return Recipe((method,))  # type: ignore[arg-type]


def test_neutral_catches_a_missing_key() -> None:
    assert "differ" in str(laws.neutral(one(bad.LeakyNeutral())))


def test_monotone_catches_settings_out_of_order() -> None:
    assert laws.monotone(("window(window=8)", "window(window=64)")) is not None
    assert laws.monotone(("window(window=64)", "window(window=8)")) is None


def test_acts_catches_silence_and_idleness() -> None:
    assert "counted nothing" in str(laws.acts(one(bad.Silent())))
    assert "differ" in str(laws.acts(one(bad.Idle())))
    assert laws.acts(HONEST) is None


def test_undo_catches_weights_changed_in_place() -> None:
    assert "parameters" in str(laws.undo(one(bad.InPlace())))


def test_bytes_catches_hiding_in_place_of_evicting() -> None:
    assert "predicted" in str(laws.held_as_predicted(one(bad.ZeroMask())))
    assert laws.held_as_predicted(HONEST) is None


def test_bytes_catches_a_tighter_budget_that_holds_more() -> None:
    assert laws.tighter_holds_less("window(window=8)", "window(window=64)") is not None


def test_batch_catches_padding_taken_for_tokens() -> None:
    assert "padded" in str(laws.batch(one(bad.ColumnWindow())))
    assert laws.batch(HONEST) is None


def test_architectures_catches_a_claim_on_native_layers() -> None:
    conflicts = one(bad.EveryLayer()).check(tiny("gemma3").view)
    assert any("sliding" in str(conflict) for conflict in conflicts)


def test_exact_catches_a_method_that_changes_the_text() -> None:
    assert "below the best" in str(laws.exact_greedy(HONEST, "dense"))
    assert laws.exact_greedy("dense", "dense") is None


def test_recipe_catches_a_value_that_drifts() -> None:
    assert laws.round_trip(one(bad.Drifting())) is not None


def test_seed_catches_noise_from_outside() -> None:
    assert laws.seeded(one(bad.Unseeded())) == "two runs with one seed differ"


def test_pairs_catch_a_broken_need() -> None:
    from paretolm.recipes.recipe import recipe

    both = Recipe((*recipe("window").methods, bad.Needy()))
    assert any("rollback" in str(conflict) for conflict in both.check(tiny().view))
