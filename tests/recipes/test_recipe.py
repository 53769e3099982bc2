"""A recipe as one value: round trips, hashes, costs."""

import dataclasses
import sys
from hashlib import sha256
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretolm.contracts import Budget, Interval, ModelRef
from paretolm.errors import RecipeError
from paretolm.recipes.recipe import Recipe, dense_cost, recipe
from tests.recipes.fakes.decode.drafts.echo import Echo
from tests.recipes.fakes.keep.last_first import LastFirst
from tests.recipes.fakes.logits.temper import Temper
from tests.recipes.fakes.store.halves import Halves
from tests.recipes.views import view

pytestmark = pytest.mark.usefixtures("fakes")

finite = st.floats(allow_nan=False, allow_infinity=False)
text = st.text(max_size=12)
budgets = st.builds(Budget, st.integers(1, 10**9).map(float), st.just("tok")) | st.builds(
    Budget, st.floats(0, 100, exclude_min=True), st.just("%")
)
last_first = st.builds(
    LastFirst,
    budget=budgets,
    least=st.integers(0, 64),
    layers=text,
    window=st.none() | st.integers(64, 10**6),
    decay=st.floats(0, 1),
    mode=st.sampled_from(["sum", "mean"]),
    form=st.sampled_from(["flat", "two words", 3]),
    sorted_first=st.booleans(),
    label=text,
    note=st.none() | text.filter(lambda t: t.lower() != "none"),
    shift=st.none() | finite,
)
plain = st.lists(
    last_first | st.builds(Temper, by=finite) | st.builds(Halves, bits=st.sampled_from([8, 4])), max_size=3
)
refs = st.builds(ModelRef, st.text(min_size=1, max_size=9), plain.map(lambda m: str(Recipe(tuple(m))) if m else ""))
echo = st.builds(Echo, draft=refs, critic=st.none() | refs.filter(lambda r: r.name.lower() != "none" or r.recipe))
recipes = st.lists(last_first | echo | st.builds(Temper, by=finite), max_size=4).map(lambda m: Recipe(tuple(m)))


@settings(deadline=None, max_examples=50)
@given(recipes)
def test_printing_and_reading_is_the_identity(r):
    assert Recipe.parse(str(r)) == r
    assert Recipe.parse(r.full()) == r
    assert str(Recipe.parse(r.full())) == str(r)


@settings(deadline=None, max_examples=50)
@given(recipes)
def test_saving_and_loading_is_the_identity(tmp_path_factory, r):
    path = tmp_path_factory.mktemp("recipe") / "mine.toml"
    r.save(path)
    assert Recipe.parse(path) == Recipe.parse(str(path)) == r


@settings(deadline=None, max_examples=50)
@given(recipes)
def test_the_hash_survives_every_spelling(r):
    assert Recipe.parse(r.full()).hash == Recipe.parse(str(r)).hash == r.hash


def test_the_line_shows_what_differs_from_the_defaults():
    r = recipe("last_first(decay=0.50, least=5, budget=256.0tok) + halves(bits=8) + temper(by=2)")
    assert str(r) == "last-first(budget=256tok, least=5) + halves + temper(by=2.0)"
    assert recipe("halves + temper").full() == "halves(bits=8) + temper(by=1.0)"
    assert str(recipe("echo(draft='a b'[halves(bits=4)])")) == 'echo(draft="a b" [halves(bits=4)])'
    assert str(Recipe()) == Recipe().full() == "dense"
    assert Recipe().is_dense
    assert not r.is_dense


def test_the_file_is_readable(tmp_path):
    recipe("last-first(budget=25.5%, shift=none) + echo(draft=x, critic=y [halves(bits=4)])").save(tmp_path / "r.toml")
    assert (tmp_path / "r.toml").read_text() == (
        '[[method]]\nname = "last-first"\nbudget = "25.5%"\nshift = "none"\n\n'
        '[[method]]\nname = "echo"\ndraft = "x"\ncritic = {model = "y", recipe = "halves(bits=4)"}\n'
    )


FILE_MISTAKES = {
    "[[method]": "is not TOML: ",
    "[[methods]]": "a recipe has [[method]] tables only, not 'methods'; did you mean 'method'?",
    "method = 'halves'": "methods are written as [[method]] tables",
    "[[method]]\nbits = 4": 'a [[method]] needs a name = "..." (method 1 of ',
    "[[method]]\nname = 'halves'\nbit = 4": "halves has no knob 'bit'; did you mean 'bits'? (method 1 of ",
    "[[method]]\nname = 'halves'\nbits = '4'": "halves: bits is a whole number, not '4' (method 1 of ",
    "[[method]]\nname = 'halves'\n[[method]]\nname = 'temper'\nby = nan": (
        "temper: by must be a finite number, not nan (method 2 of "
    ),
    "[[method]]\nname = 'last-first'\nbudget = 64": "last-first: budget: a budget is written like 256tok or 25%, not '64'",
    "[[method]]\nname = 'temper'\nby = [1]": "temper: by is a number, true, false, a text in quotes or {model = ",
    "[[method]]\nname = 'echo'\ndraft = {model = 'x', recipes = ''}": (
        "echo: draft is a model and a recipe, each in quotes, and nothing else (method 1 of "
    ),
    "[[method]]\nname = 'echo'\ndraft = {model = 'x', recipe = 'halves('}": (
        "the '(' (character 7 of the recipe of echo: draft, method 1 of "
    ),
}


@pytest.mark.parametrize("content", FILE_MISTAKES)
def test_a_mistake_in_a_file_names_method_and_file(tmp_path, content):
    path = tmp_path / "r.toml"
    path.write_text(content)
    with pytest.raises(RecipeError) as caught:
        Recipe.from_file(path)
    assert FILE_MISTAKES[content] in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(RecipeError, match=r"there is no recipe file 'missing\.toml'"):
        recipe("missing.toml")
    with pytest.raises(RecipeError, match="cannot be read"):
        Recipe.from_file(tmp_path)


# --- hashes --------------------------------------------------------------------------------------


def test_the_hash_is_pinned():
    assert Recipe().hash == "4f53cda18c2baa0c"  # sha256 of "[]"
    assert recipe("last-first(window=64) + halves").hash == "c241fdb8aa8dfa03"
    by_hand = b'[["echo", {"critic": null, "draft": ["x", [["halves", {"bits": 8}]]], "num_draft_tokens": 4}]]'
    assert recipe("temper(by=2)").hash == sha256(b'[["temper", {"by": 2.0}]]').hexdigest()[:16]
    assert recipe("echo(draft=x [halves])").hash == sha256(by_hand).hexdigest()[:16]


def test_the_hash_covers_defaults_but_not_the_spelling():
    assert recipe("halves(bits=8)").hash == recipe("halves").hash != recipe("halves(bits=4)").hash
    assert Recipe((Temper(by=2),)).hash == Recipe((Temper(by=2.0),)).hash
    nested = [recipe(f"echo(draft=x [{line}])") for line in ("halves", "halves(bits=8)", "halves(bits=4)")]
    assert nested[0].hash == nested[1].hash != nested[2].hash
    assert Recipe((Echo(draft=ModelRef("x", "halves(bits=8)")),)).hash == nested[0].hash


def test_shelf_order_is_canonical_and_written_order_counts_on_one_shelf():
    assert recipe("halves + last-first").hash == recipe("last-first + halves").hash
    assert recipe("temper(by=2) + temper(by=3)").hash != recipe("temper(by=3) + temper(by=2)").hash


def test_a_method_of_no_shelf_keeps_the_written_order():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Foreign(Temper):
        name = "foreign"

    assert Recipe((Foreign(), Halves(), Temper())).hash != Recipe((Temper(), Halves(), Foreign())).hash


def test_equal_prefills_share_a_hash():
    v = view()
    assert recipe("halves + temper").prefill_hash(v) == Recipe().hash
    assert recipe("last-first + halves(bits=4)").prefill_hash(v) == recipe("last-first").prefill_hash(v)
    assert recipe("last-first").prefill_hash(v) == recipe("last-first").hash


# --- chunk, cost, apply --------------------------------------------------------------------------


def test_the_chunk_is_the_smallest():
    assert recipe("halves + temper").chunk(1024) is None
    assert recipe("last-first(budget=64tok) + last-first(budget=50%) + halves").chunk(1024) == 8


def test_dense_cost_by_hand():
    kinds = ("full", "sliding", "linear", "shared", "other")
    full, sliding, linear, shared, other = dense_cost(view(kinds), 100).layers
    assert full.bytes == Interval(100 * 2 * (32 + 32), 100 * 2 * (32 + 32))
    assert sliding.entries == Interval(31, 100)  # a view of the whole prompt until the next forward
    assert dense_cost(view(kinds), 20).layers[1].entries == Interval(20, 20)
    assert linear.bytes == Interval(0, float("inf"))
    assert shared.bytes == Interval(0, 0)
    assert other.entries == Interval(0, 100)
    assert dense_cost(view(), 1).weight_bytes == Interval(100_000, 100_000)


def test_methods_change_the_cost_in_slot_order_on_the_view_they_plan_on():
    cost = recipe("halves(bits=4) + drop-last(count=3)").cost(view(), 100)
    assert cost.weight_bytes == Interval(97_000, 97_000)
    assert cost.kv_bytes == Interval(100 * 2 * (32 + 8) + 100 * 4, 100 * 2 * (32 + 8) + 100 * 4)  # and positions


def test_apply_opens_a_session(monkeypatch):
    session = SimpleNamespace(Session=SimpleNamespace(open=lambda lm, r: ("opened", lm, r)))
    monkeypatch.setitem(sys.modules, "paretolm.recipes.session", session)
    assert recipe("halves").apply("lm") == ("opened", "lm", recipe("halves"))
