"""Claims, needs and places: what a recipe may not contain, and the sentence for it."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretolm.contracts import WHOLE, Edit, Method, Need, Slot, knob
from paretolm.errors import CallError, ConflictError
from paretolm.recipes.conflicts import ranges
from paretolm.recipes.plan import check_call, make_plan
from paretolm.recipes.recipe import Recipe
from tests.recipes.views import view

pytestmark = pytest.mark.usefixtures("fakes")

LAYERS = frozenset({0, 1, 2, 3})


def fake(label, *edits):
    """A method of this name that plans these edits, or what a function of the view gives."""

    @dataclass(frozen=True, kw_only=True)
    class Fake(Method):
        name = label

        def plan(self, view):
            return edits[0](view) if callable(edits[0]) else edits

    return Fake()


def edit(slot, where=LAYERS, **rest):
    return Edit(slot, frozenset(where), lambda context: None, **rest)


def conflicts(*methods, on=None):
    return [str(c) for c in Recipe(methods).check(on or view())]


# --- a place claimed twice -----------------------------------------------------------------------


def test_two_claims_on_one_place_name_both_owners_and_the_cure():
    (found,) = Recipe((fake("a", edit(Slot.KEEP)), fake("b", edit(Slot.KEEP, {1, 3})))).check(view())
    assert str(found) == "a and b both decide which entries stay (keep) on layers 1, 3: drop one of them"
    assert found.owners == ("a", "b")


def test_a_layers_knob_is_a_cure():
    @dataclass(frozen=True, kw_only=True)
    class OnLayers(Method):
        name = "on-layers"
        layers: str = knob("all")

        def plan(self, view):
            return [edit(Slot.KEEP, {2})]

    assert conflicts(OnLayers(), fake("b", edit(Slot.KEEP))) == [
        "on-layers and b both decide which entries stay (keep) on layer 2: drop one of them or give them different layers"
    ]


@pytest.mark.parametrize("slot", [s for s in Slot if not s.stackable])
def test_every_slot_but_the_stackable_ones_is_claimed_once(slot):
    where = LAYERS if slot.in_cache else {"model.layers.0"} if slot is Slot.WEIGHTS else WHOLE
    a, b = fake("a", edit(slot, where)), fake("b", edit(slot, where))
    (found,) = conflicts(a, b)
    assert found.startswith("a and b both ")
    assert f"({slot.value})" in found
    assert conflicts(a) == []


@pytest.mark.parametrize("slot", [Slot.PROMPT, Slot.BLOCK, Slot.LOGITS])
def test_stackable_slots_are_shared_in_recipe_order(slot):
    a, b = fake("z", edit(slot, WHOLE)), fake("a", edit(slot, WHOLE))
    plan = make_plan(Recipe((a, b)), view())
    assert plan.conflicts == ()
    assert [m.name for m, _ in plan.edits(slot)] == ["z", "a"]


def test_a_store_chain_has_at_most_one_end():
    end, channels = edit(Slot.STORE), edit(Slot.STORE, stackable=True)
    assert conflicts(fake("a", channels), fake("b", end), fake("c", channels)) == []
    (found,) = conflicts(fake("a", channels), fake("b", end), fake("c", end))
    assert found.startswith("b and c both decide the form of kept entries (store) on layers 0-3")


def test_stackable_means_nothing_on_other_slots():
    a, b = (fake(name, edit(Slot.KEEP, stackable=True)) for name in "ab")
    assert len(conflicts(a, b)) == 1


def test_different_layers_and_slots_stand_together():
    assert conflicts(fake("a", edit(Slot.KEEP, {0})), fake("b", edit(Slot.KEEP, {1}), edit(Slot.STORE))) == []


def test_one_method_twice():
    (found,) = conflicts(fake("a", edit(Slot.DECODE, WHOLE)), fake("a", edit(Slot.DECODE, WHOLE)))
    assert found == "a, named twice, would twice drive the decoding loop (decode): drop one of them"
    (found,) = conflicts(fake("a", edit(Slot.KEEP, {0}), edit(Slot.KEEP, {0, 1})))
    assert found == "a claims keep twice on layer 0: drop a"


@pytest.mark.parametrize(
    ("one", "two", "collide"),
    [
        ({"model.layers.0.mlp"}, {"model.layers.0.mlp.up_proj"}, True),
        ({"model.layers.0.mlp.up_proj"}, {"model.layers.0"}, True),
        ({"model.layers.1"}, {"model.layers.10.mlp"}, False),
        ({"lm_head"}, {"model.embed_tokens"}, True),
        ({"lm_head"}, {"model"}, True),
        ({"lm_head"}, {"model.layers"}, False),
        (set(), {"model"}, False),
    ],
)
def test_a_path_collides_with_parents_children_and_tied_paths(one, two, collide):
    a, b = fake("a", edit(Slot.WEIGHTS, one)), fake("b", edit(Slot.WEIGHTS, two))
    assert bool(conflicts(a, b)) == bool(conflicts(b, a)) == collide


def test_untied_paths_do_not_collide():
    a, b = fake("a", edit(Slot.WEIGHTS, {"lm_head"})), fake("b", edit(Slot.WEIGHTS, {"model.embed_tokens"}))
    assert conflicts(a, b, on=view(tied=False)) == []
    assert conflicts(a, b) == [
        "a and b both change the weights (weights) on lm_head, model.embed_tokens: drop one of them"
    ]


def test_blocks_stand_on_changed_weights():
    a = fake("a", edit(Slot.WEIGHTS, {"model.layers.0.mlp"}))
    assert conflicts(a, fake("b", edit(Slot.BLOCK, {"model.layers.0"}))) == []


PARTS = st.frozensets(st.sampled_from(["a", "a.b", "a.b.c", "a.d", "ab", "e.b", "e"]), max_size=3)


@given(PARTS, PARTS)
def test_paths_collide_as_the_definition_says(one, two):
    def related(p, q):
        return p == q or p.startswith(q + ".") or q.startswith(p + ".")

    expected = any(related(p, q) for p in one for q in two)
    methods = fake("x", edit(Slot.WEIGHTS, one)), fake("y", edit(Slot.WEIGHTS, two))
    assert bool(conflicts(*methods)) == expected


# --- needs ---------------------------------------------------------------------------------------


def test_a_need_that_another_method_breaks():
    a = fake("a", edit(Slot.DECODE, WHOLE, needs=frozenset({Need.ROLLBACK, Need.TREE})))
    b = fake("b", edit(Slot.KEEP, breaks=frozenset({Need.ROLLBACK})))
    assert conflicts(a, b) == conflicts(b, a) == ["a needs rollback, which b gives up: drop one of them"]
    c = fake("c", edit(Slot.KEEP, breaks=frozenset(Need)))
    assert conflicts(a, c) == ["a needs rollback and tree, which c gives up: drop one of them"]


def test_a_method_may_break_what_it_needs_itself():
    both = frozenset({Need.CHUNK_INVARIANT})
    assert conflicts(fake("a", edit(Slot.KEEP, needs=both, breaks=both))) == []


def test_what_the_model_gives_up():
    a = fake("a", edit(Slot.DECODE, WHOLE, needs=frozenset({Need.ROLLBACK, Need.TREE})))
    why = "the model has sliding layers, whose cache cannot be rolled back"
    assert conflicts(a, on=view(breaks={Need.ROLLBACK: why, Need.TREE: why})) == [
        "a needs rollback and tree, and the model has sliding layers, whose cache cannot be rolled back: "
        "drop a or take another model"
    ]


def test_keys_at_other_positions_are_no_plain_attention():
    a = fake("a", edit(Slot.ATTEND, needs=frozenset({Need.PLAIN_ATTENTION})))
    b = fake("b", edit(Slot.INDEX))
    assert conflicts(a, b) == conflicts(b, a) == ["a needs plain attention, which b gives up: drop one of them"]


def test_a_tokenizer_is_needed():
    a = fake("a", edit(Slot.PROMPT, WHOLE, needs=frozenset({Need.TOKENIZER})))
    assert conflicts(a) == []
    (found,) = conflicts(a, on=view(has_tokenizer=False))
    assert found == ("a needs a tokenizer, and the model came without one: load the model together with its tokenizer")


# --- places the model lacks ----------------------------------------------------------------------


def test_a_slot_the_model_refuses():
    on = view(refusals={"keep": "it caches one latent per token"})
    assert conflicts(fake("a", edit(Slot.KEEP)), on=on) == [
        "a acts on keep, for which TinyForCausalLM has no place, as it caches one latent per token: "
        "drop a or take another model"
    ]


def test_layers_without_our_cache():
    on = view(("full", "sliding", "linear", "full"))
    assert conflicts(fake("a", edit(Slot.KEEP, {0, 1, 2, 7})), on=on) == [
        "a claims keep on layers 7 (absent), 2 (linear), 1 (sliding), but only full-attention layers can change: "
        "drop a or give it full-attention layers (layers 0, 3)"
    ]
    assert conflicts(fake("a", edit(Slot.ATTEND, ())), on=view(("sliding",) * 3)) == [
        "a names no layer for attend (the model's layers are sliding): "
        "drop a or give it some of the full-attention layers (none)"
    ]
    assert conflicts(fake("a", edit(Slot.WEIGHTS, ()))) == []


def test_a_method_that_finds_no_place():
    def plan(view):
        raise ConflictError("the model has no rotary positions")

    found = Recipe((fake("a", plan), fake("b", edit(Slot.KEEP)))).check(view())
    assert [(str(c), c.owners) for c in found] == [("a: the model has no rotary positions: drop a", ("a",))]


# --- order and reshaped views --------------------------------------------------------------------


def drop_last_layer(view):
    return view.changed(layers=view.layers[:-1])


def test_later_slots_plan_on_the_reshaped_view():
    drop = fake("drop", edit(Slot.WEIGHTS, {"model.layers.3"}, reshape=drop_last_layer))
    keep = fake("keep", lambda v: [edit(Slot.KEEP, v.full_layers)])
    plan = make_plan(Recipe((keep, drop)), view())
    assert [s.method.name for s in plan.steps] == ["drop", "keep"]
    assert plan.conflicts == ()
    assert plan.edits(Slot.KEEP)[0][1].where == {0, 1, 2}
    assert plan.view.num_layers == 3


def test_a_place_that_appears_only_after_reshaping():
    def plan(view):
        if view.num_layers > 3:
            raise ConflictError("too deep")
        return [edit(Slot.KEEP, view.full_layers)]

    drop = fake("drop", edit(Slot.WEIGHTS, {"model.layers.3"}, reshape=drop_last_layer))
    assert conflicts(fake("picky", plan), drop) == []
    assert conflicts(fake("picky", plan)) == ["picky: too deep: drop picky"]


def test_a_layer_dropped_under_a_method_that_planned_before():
    drop = fake("drop", edit(Slot.WEIGHTS, {"model.layers.3"}, reshape=drop_last_layer))
    early = fake("early", edit(Slot.PROMPT, WHOLE), edit(Slot.KEEP))
    (found,) = conflicts(early, drop)
    assert found.startswith("early claims keep on layers 3 (absent)")


def test_pairs_stand_in_slot_order():
    a = fake("a", edit(Slot.LOGITS, WHOLE), edit(Slot.PROMPT, WHOLE))
    b = fake("b", edit(Slot.STORE), edit(Slot.PROMPT, WHOLE))
    plan = make_plan(Recipe((b, a)), view())
    assert [(m.name, e.slot) for m, e in plan.pairs] == [
        ("b", Slot.PROMPT), ("a", Slot.PROMPT), ("b", Slot.STORE), ("a", Slot.LOGITS),
    ]  # fmt: skip


# --- what the session asks -----------------------------------------------------------------------


def test_all_conflicts_are_raised_together():
    recipe = Recipe(tuple(fake(name, edit(Slot.KEEP)) for name in "abc"))
    with pytest.raises(ConflictError) as caught:
        make_plan(recipe, view()).raise_conflicts()
    assert [line[:7] for line in str(caught.value).splitlines()] == ["a and b", "a and c", "b and c"]
    make_plan(Recipe(), view()).raise_conflicts()


def test_a_call_that_needs_what_the_recipe_gives_up():
    keep = fake("keeper", edit(Slot.KEEP, breaks=frozenset({Need.FORK}), needs=frozenset({Need.QUERIES})))
    on = view(breaks={Need.TREE: "the model has linear layers"})
    plan = make_plan(Recipe((keep, fake("other", edit(Slot.LOGITS, WHOLE, breaks=frozenset({Need.FORK}))))), on)
    assert (plan.breaks, plan.needs) == ({Need.FORK: "keeper"}, {Need.QUERIES: "keeper"})
    check_call(plan, {Need.PADDING})
    with pytest.raises(
        CallError, match=r"^this call needs fork, which keeper gives up: drop keeper or change the call$"
    ):
        check_call(plan, {Need.PADDING, Need.FORK})
    with pytest.raises(CallError, match=r"^this call needs tree, and the model has linear layers: change the call$"):
        check_call(plan, {Need.TREE})


@given(st.frozensets(st.integers(0, 30)))
def test_ranges_name_every_layer_once(layers):
    named = []
    for word in filter(None, ranges(layers).split(", ")):
        first, _, last = word.partition("-")
        named += range(int(first), int(last or first) + 1)
    assert named == sorted(layers)
