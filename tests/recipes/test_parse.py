"""The one-line grammar: what it reads, and the sentence for each mistake."""

import pytest

from paretolm.contracts import Budget, ModelRef
from paretolm.errors import RecipeError
from paretolm.recipes.grammar import Value
from paretolm.recipes.parse import coerce, parse_methods
from tests.recipes.fakes.decode.drafts.echo import Echo
from tests.recipes.fakes.keep.last_first import LastFirst
from tests.recipes.fakes.logits.temper import Temper
from tests.recipes.fakes.store.halves import Halves

pytestmark = pytest.mark.usefixtures("fakes")


@pytest.mark.parametrize("text", ["", "  ", "dense", " Dense "])
def test_the_empty_recipe(text):
    assert parse_methods(text) == ()


@pytest.mark.parametrize("text", ["last-first", "last_first", "Last-First()", " last-first ( ) "])
def test_names_are_forgiving(text):
    assert parse_methods(text) == (LastFirst(),)


@pytest.mark.parametrize(
    ("knob", "field", "value"),
    [
        ("budget=256tok", "budget", Budget(256, "tok")),
        ("budget='12.5%'", "budget", Budget(12.5, "%")),
        ("least=0", "least", 0),
        ("least = +7 ,", "least", 7),
        ("window=none", "window", None),
        ("window=12", "window", 12),
        ("decay=1", "decay", 1.0),
        ("decay=2.5e-1", "decay", 0.25),
        ("shift=-3e0", "shift", -3.0),
        ("mode=mean", "mode", "mean"),
        ("form='two words'", "form", "two words"),
        ("form=3", "form", 3),
        ("sorted-first=TRUE", "sorted_first", True),
        ("sorted_first=false", "sorted_first", False),
        ("label=a/b-c.d", "label", "a/b-c.d"),
        ('label="a, (b) [c] \\"d\\" \\n"', "label", 'a, (b) [c] "d" \n'),
        ("label='back\\slash'", "label", "back\\slash"),
        ("label=none", "label", "none"),
        ("label=7", "label", "7"),
        ("note=None", "note", None),
        ("note=7", "note", "7"),
    ],
)
def test_values_become_the_fields_type(knob, field, value):
    (method,) = parse_methods(f"last-first({knob})")
    found = getattr(method, field)
    assert found == value
    assert type(found) is type(value)


def test_methods_stay_in_written_order():
    assert parse_methods("temper(by=2)+halves\n + temper") == (Temper(by=2.0), Halves(), Temper())


@pytest.mark.parametrize(
    ("text", "draft"),
    [
        ("reference", ModelRef("reference")),
        ("'a dir/x' ", ModelRef("a dir/x")),
        ("org/name [dense]", ModelRef("org/name")),
        ("org/name[halves(bits=8) + temper(by=1e0)]", ModelRef("org/name", "halves + temper")),
        ('"x"[echo(draft=y[halves(bits=4)])]', ModelRef("x", "echo(draft=y [halves(bits=4)])")),
    ],
)
def test_a_second_model_has_a_recipe_of_its_own(text, draft):
    assert parse_methods(f"echo(draft={text}, num-draft-tokens=2)") == (Echo(draft=draft, num_draft_tokens=2),)


MISTAKES = {
    "zzz": "there is no method 'zzz'; known: drop-last, echo, halves, last-first, temper (character 1)",
    "halves + tempr": "there is no method 'tempr'; did you mean 'temper'? (character 10)",
    "halves(bit=4)": "halves has no knob 'bit'; did you mean 'bits'? (character 8)",
    "halves(bits=4, bits=8)": "halves: bits is given twice (character 16)",
    "halves(bits=5)": "halves: bits is one of 8, 4, not 5 (character 1)",
    "halves(bits=4.0)": "halves: bits is a whole number, not '4.0' (character 8)",
    "halves(bits='4')": "halves: bits is a whole number, not '4' (character 8)",
    "halves(bits=true)": "halves: bits is a whole number, not 'true' (character 8)",
    "temper(by=x)": "temper: by is a number, not 'x' (character 8)",
    "temper(by=nan)": "temper: by must be a finite number, not nan (character 1)",
    "temper + last-first(decay=1.5)": "last-first: decay must be 0 to 1, not 1.5 (character 10)",
    "last-first(window=2)": "last-first: window must be at least `least` (character 1)",
    "last-first(window=x)": "last-first: window is a whole number or none, not 'x' (character 12)",
    "last-first(sorted-first=1)": "last-first: sorted_first is true or false, not '1' (character 12)",
    "last-first(form=round)": "last-first: form is one of flat, \"two words\", 3, not 'round' (character 12)",
    "last-first(budget=64)": ("last-first: budget: a budget is written like 256tok or 25%, not '64' (character 12)"),
    "last-first(budget=0%)": (
        "last-first: budget: a budget in percent lies above 0% and up to 100%, not '0%' (character 12)"
    ),
    "last-first(label=x [halves])": "last-first: label: a recipe in brackets belongs to a second model (character 12)",
    "echo": "echo: draft must be given (character 1)",
    "halves + echo(draft=x [halves(bits=9)])": "echo: draft: halves: bits is one of 8, 4, not 9 (character 24)",
    "halves +": "a method's name is missing after the '+' (character 8)",
    "+ halves": "a method's name is missing before '+' (character 1)",
    "halves halves": "'+' is missing between two methods, before 'h' (character 8)",
    "halves)": "the ')' (character 7) closes nothing",
    "halves(bits=4": "the '(' (character 7) is never closed",
    "halves(bits": "the '(' (character 7) is never closed",
    "halves(bits=": "the '(' (character 7) is never closed",
    "echo(draft=x [halves": "the '[' (character 14) is never closed",
    "echo(draft=x [halves)": "the ')' (character 21) closes nothing",
    "halves(bits=4]": "halves: ',' or ')' is missing before ']' (character 14)",
    "halves(bits=4 8)": "halves: ',' or ')' is missing before '8' (character 15)",
    "halves(4)": "halves: knobs are written knob=value; = is missing before ')' (character 9)",
    "halves(=4)": "halves: knobs are written knob=value; a name is missing before '=' (character 8)",
    "halves(bits=)": "halves: bits has no value before ')' (character 13)",
    "last-first(label='x)": "last-first: label: the ' (character 18) is never closed",
    'last-first(label="x)': 'last-first: label: the " (character 18) is never closed',
    'last-first(label="\\x")': "last-first: label has an escape that cannot be read (Invalid \\escape) (character 18)",
    "dense + halves": "'dense' is the empty recipe: it has no knobs and stands alone (character 1)",
    "dense(bits=4)": "'dense' is the empty recipe: it has no knobs and stands alone (character 1)",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_one_sentence_that_says_where(text):
    with pytest.raises(RecipeError) as caught:
        parse_methods(text)
    assert str(caught.value) == MISTAKES[text]


def test_a_knob_of_another_type_is_our_own_mistake():
    with pytest.raises(TypeError, match="cannot be of type"):
        coerce(bytes, Value("x", False, "(character 1)"))
