"""The index read from the source equals what an import would show."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from paretolm.errors import RecipeError
from paretolm.recipes import index
from paretolm.recipes.index import Index
from paretolm.recipes.source import KnobInfo, MethodInfo, first_sentence


def test_everything_is_read_from_the_source(fakes):
    assert fakes.info("last-first") == MethodInfo(
        name="last-first",
        shelf="keep",
        module="tests.recipes.fakes.keep.last_first",
        cls="LastFirst",
        papers=("2401.00001", "2401.00002"),
        exact=False,
        baseline=True,
        summary="Keeps the last entries, then the first ones.",
        knobs=(
            KnobInfo("budget", "Budget", "25%", help="entries held"),
            KnobInfo("least", "int", "4", low=0, high=64, help="entries that always stay"),
            KnobInfo("layers", "str", "all", help="layers it acts on"),
            KnobInfo("window", "int | None", "none"),
            KnobInfo("decay", "float", "0.5", low=0, high=1, help="share (lambda)"),
            KnobInfo("mode", "str", "sum", choices=("sum", "mean")),
            KnobInfo("form", "Literal['flat', 'two words', 3]", "flat"),
            KnobInfo("sorted_first", "bool", "false"),
            KnobInfo("label", "str", '""'),
            KnobInfo("note", "str | None", "none"),
            KnobInfo("shift", "float | None", "-1.5"),
            KnobInfo("reach", "Budget", "1234567tok"),
        ),
    )
    echo = fakes.info("echo")
    assert (echo.shelf, echo.exact, echo.baseline) == ("decode/drafts", True, False)
    assert echo.knobs[0] == KnobInfo("draft", "ModelRef", None)


def test_methods_stand_in_order_of_application(fakes):
    assert [m.name for m in index.methods()] == ["drop-last", "last-first", "halves", "echo", "temper"]
    assert index.method_names() == ("drop-last", "echo", "halves", "last-first", "temper")


def test_source_and_class_tell_the_same(fakes):
    for info in index.methods():
        assert index.describe(index.load_method(info.name)) == info
    assert index.method_info("Last_First") == fakes.info("last-first")


def test_the_index_needs_no_torch():
    code = (
        "import sys; from paretolm.recipes import index, schema; index.methods(); schema.schema(); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "paretolm.recipes.index" in loaded
    assert not {"torch", "transformers", "numpy"} & set(loaded)


def test_an_unknown_name(fakes):
    for find in (index.load_method, index.method_info):
        with pytest.raises(RecipeError, match=r"^there is no method 'Halvs'; did you mean 'halves'\?$"):
            find("Halvs")


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("One. Two.", "One."),
        ("Over two\n    lines, e.g. here.\n\nMore.", "Over two lines, e.g. here."),
        ("No full stop", "No full stop"),
        ("", ""),
    ],
)
def test_the_first_sentence(docstring, sentence):
    assert first_sentence(docstring) == sentence


# --- our own mistakes ----------------------------------------------------------------------------

METHOD = "class A(Method):\n    x: int = {}\n"


def made(root, files):
    for path, content in files.items():
        file = root / f"{path}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return Index(root, "made")


def test_files_that_break_the_layout(tmp_path):
    with pytest.raises(RuntimeError, match=r"stray\.py stands on no shelf"):
        _ = made(tmp_path / "a", {"stray": METHOD}).files
    with pytest.raises(RuntimeError, match=r"keep/x\.py and store/x\.py give one name to two methods"):
        _ = made(tmp_path / "b", {"keep/x": METHOD, "store/x": METHOD}).files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = 1", "must define one public class deriving from Method; it defines none"),
        (METHOD + METHOD.replace("A", "B"), "must define one public class deriving from Method; it defines A, B"),
        (METHOD.format("1 + f()"), "line 2: only literals are read without importing"),
    ],
)
def test_a_file_that_cannot_be_read_without_importing(tmp_path, content, message):
    with pytest.raises(RuntimeError, match=message):
        made(tmp_path, {"keep/x": content}).info("x")


def test_private_files_are_no_methods(tmp_path):
    found = made(tmp_path, {"keep/x": METHOD, "keep/_shared": METHOD, "keep/__init__": "", "_private/y": METHOD})
    assert list(found.files) == ["x"]


# --- other packages ------------------------------------------------------------------------------

TEMPER = "tests.recipes.fakes.logits.temper"


@pytest.fixture
def third_parties(monkeypatch, tmp_path):
    monkeypatch.setattr(index, "own", lambda: made(tmp_path, {"keep/own": METHOD}))

    def register(**points):
        found = [EntryPoint(n.replace("_", "-"), v, index.GROUP) for n, v in points.items()]
        monkeypatch.setattr(index, "entry_points", lambda group: found if group == index.GROUP else [])
        index._third_parties.cache_clear()

    yield register
    index._third_parties.cache_clear()


def test_a_method_of_another_package_is_imported_only_when_asked_for(third_parties):
    third_parties(temper=f"{TEMPER}:Temper", broken="missing_package:Thing")
    assert index.method_names() == ("broken", "own", "temper")
    assert index.load_method("Temper").__name__ == "Temper"
    assert index.method_info("temper").knobs == (KnobInfo("by", "float", "1.0"),)
    assert index.shelf_rank("temper") is None
    with pytest.raises(RecipeError, match=r"'broken' of another package \(missing_package:Thing\) cannot be loaded"):
        index.load_method("broken")


def test_a_name_claimed_twice_is_nobodys(third_parties):
    third_parties(own=f"{TEMPER}:Temper")
    with pytest.raises(RecipeError, match=rf"'own' is claimed by made.keep.own and by {TEMPER}:Temper"):
        index.load_method("own")


def test_what_another_package_registers_is_checked(third_parties):
    third_parties(other=f"{TEMPER}:Temper", edit=f"{TEMPER}:Edit")
    with pytest.raises(RecipeError, match="registered as 'other' but calls itself 'temper'; both must agree"):
        index.load_method("other")
    with pytest.raises(RecipeError, match="is not a Method"):
        index.load_method("edit")
