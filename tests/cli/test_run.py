"""run, fit and export: the text that is streamed is the text that was generated, under the recipe asked for."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from paretolm.cli.run import model_and_prompt
from paretolm.errors import CallError
from paretolm.recipes.convert import load
from paretolm.recipes.recipe import Recipe
from tests.evaluation import judging

PROMPT = judging.document(5, 8)


def generated(place: Path, recipe: str, **kwargs: Any) -> str | None:
    with Recipe.parse(recipe).apply(load(str(place))) as session:
        return session.generate(PROMPT, max_new_tokens=12, **kwargs).text


@pytest.mark.parametrize("recipe", ["", "window(window=16)", "finequant(bits=4) + token-recycling"])
def test_what_is_streamed_is_what_was_generated(run: Any, saved: Path, recipe: str) -> None:
    code, text, err = run("run", str(saved), PROMPT, "-m", recipe, "-n", "12", "--stats")
    assert code == 0
    assert re.fullmatch(
        r"\d+ tokens, [\d.]+ a second; cache of \d+ tokens [\d.]+ MiB, \d+% of the untouched model's\n", err
    )
    code, out, err = run("run", str(saved), PROMPT, "-m", recipe, "-n", "12", "--json")
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert text.removesuffix("\n") == answer["text"] == generated(saved, recipe)
    assert answer["new_tokens"] <= 12
    named = [m.name for m in Recipe.parse(recipe).methods]
    assert sorted(answer["counters"]) == sorted(named)
    assert all(any(counts.values()) for name, counts in answer["counters"].items() if name != "token-recycling")


def test_samples_are_repeated_by_their_seed(run: Any, saved: Path) -> None:
    def sampled(seed: int) -> str:
        return str(
            run("run", str(saved), PROMPT, "-n", "12", "--temperature", "1.5", "--top-p", "0.9", "--seed", str(seed))[1]
        )

    assert sampled(1) == sampled(1)
    assert len({sampled(seed) for seed in range(4)}) > 1


def test_the_prompt_may_come_from_stdin(run: Any, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(PROMPT))
    assert run("run", str(saved), "-", "-n", "12")[1].rstrip("\n") == str(generated(saved, "")).rstrip("\n")


def test_words_of_a_call() -> None:
    assert model_and_prompt(["Hello"]) == ("reference", "Hello")
    assert model_and_prompt(["m", "Hello"]) == ("m", "Hello")
    with pytest.raises(CallError, match="one prompt in quotes, not 3 words"):
        model_and_prompt(["m", "Hello", "there"])


def test_a_model_without_tokenizer_is_one_sentence(run: Any, tmp_path: Path) -> None:
    judging.lm().model.save_pretrained(tmp_path / "bare")
    code, _, err = run("run", str(tmp_path / "bare"), "Hello")
    assert code == 2
    assert "without a tokenizer" in err


# --- fit and export ---


def words(place: Path) -> str:
    documents = [{"text": judging.document(i, 20), "split": "fit" if i > 4 else "eval"} for i in range(8)]
    place.write_text("\n".join(map(json.dumps, documents)))
    return str(place)


def test_what_was_fitted_is_found_again(run: Any, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARETOLM_HOME", str(tmp_path / "home"))
    text = words(tmp_path / "text.jsonl")
    assert "paretolm fit" in run("run", str(saved), PROMPT, "-m", "knn-lm(k=4)")[2], "a sentence says what to do"
    code, out, err = run("fit", str(saved), "-m", "knn-lm(k=4)", "--text", text, "--json")
    assert code == 0
    assert "fitting knn-lm on 3 documents" in err
    ((_, tensors),) = json.loads(out.splitlines()[-1]).items()
    assert all(tensors.values())
    assert run("run", str(saved), PROMPT, "-m", "knn-lm(k=4)", "-n", "4")[0] == 0
    assert "fitting" not in run("fit", str(saved), "-m", "knn-lm(k=4)", "--text", text)[2], "it is there already"


def test_nothing_to_fit_is_one_sentence(run: Any, saved: Path, tmp_path: Path) -> None:
    code, out, err = run("fit", str(saved), "-m", "h2o", "--text", words(tmp_path / "text.jsonl"))
    assert (code, out, err) == (2, "", "error: nothing in 'h2o' needs fitting\n")


def test_an_export_opens_with_its_recipe_in_force(run: Any, saved: Path, tmp_path: Path) -> None:
    place = tmp_path / "out"
    code, out, _ = run("export", str(saved), str(place), "-m", "finequant(bits=4) + window(window=16)", "--json")
    assert code == 0
    answer = json.loads(out.splitlines()[-1])
    assert answer["bytes"] == sum(f.stat().st_size for f in place.iterdir())
    shown = run("run", str(place), PROMPT, "-n", "12")[1]
    assert shown.rstrip("\n") == str(generated(saved, "finequant(bits=4) + window(window=16)")).rstrip("\n")
    assert run("export", str(saved), str(place))[0] == 2, "it is never written over"
