"""Lengths of samples: batches against one by one, ends, prompts, sheets by hand, a predictor that must win."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from paretolm import studies
from paretolm.errors import TextError
from paretolm.studies._lengths import crossed, numbers_of, sheet
from paretolm.studies._sampling import END, LIMIT, STOP, Sampling, cut, left_filled, samples
from paretolm.studies.study import Place
from tests.evaluation.judging import document, lm, tokenizer
from tests.evaluation.sets import write

HOW = Sampling(12, 1.0, 0, 1.0, "")
SMALL = {"prompts": 10, "prompt_tokens": 4, "samples": 3, "max_new_tokens": 8}


def ids(text: str) -> list[int]:
    return list(tokenizer()(text)["input_ids"])


def text(to: Path, documents: int = 12) -> str:
    write(
        to / "text.jsonl",
        ({"id": f"d{i}", "text": "\n\n".join(document(i + 10 * j, 6) for j in range(4))} for i in range(documents)),
    )
    return str(to / "text.jsonl")


def test_a_filled_up_batch_says_what_each_prompt_alone_says() -> None:
    """The most likely token alone is drawn."""
    how = Sampling(10, 1.0, 1, 1.0, "")
    prompts = [[0, *ids("river stone")], [0, *ids("lamp")], [0, *ids("window garden paper silver")]]
    together = samples(lm(), prompts, 2, how, 0)
    for prompt, own in zip(prompts, together, strict=True):
        assert own == samples(lm(), [prompt], 2, how, 1)[0]
        assert own[0] == own[1]


def test_samples_differ_and_repeat_with_their_seed() -> None:
    drawn = [samples(lm(), [[0, *ids("river")]], 8, HOW, seed)[0] for seed in (0, 1, 0)]
    assert drawn[0] == drawn[2] != drawn[1]
    assert len({s.ids for s in drawn[0]}) > 1


def test_options_of_sampling_are_obeyed() -> None:
    one = samples(lm(), [[0, *ids("river")]], 4, Sampling(6, 1.0, 1, 1.0, ""), 0)[0]
    assert len({s.ids for s in one}) == 1, "the most likely token alone"
    narrow = samples(lm(), [[0, *ids("river")]], 4, Sampling(6, 1.0, 0, 0.01, ""), 0)[0]
    assert [s.ids for s in narrow] == [s.ids for s in one]


@pytest.mark.parametrize(
    ("row", "pad", "kept", "ended"),
    [
        ([5, 6, 7, 8], 3, 4, LIMIT),
        ([5, 0, 3, 3], 3, 2, END),
        ([5, 6, 0, 0], 0, 3, END),
        ([0, 3, 3, 3], 3, 1, END),
        ([*ids("a river!"), 3, 3], 3, len(ids("a river!")), STOP),
        ([*ids("a river!"), 0, 0], 0, len(ids("a river!")), STOP),
        ([*ids("!a river")], 3, len(ids("!a river")), STOP),
    ],
)
def test_where_a_sample_ends(row: list[int], pad: int, kept: int, ended: str) -> None:
    found = cut(row, pad, frozenset({0}), Sampling(9, 1.0, 0, 1.0, "!"), tokenizer())
    assert (len(found.ids), found.ended) == (kept, ended)


def test_generation_stops_at_the_stop() -> None:
    found = samples(lm(), [[0, *ids("river")]], 20, Sampling(20, 1.0, 0, 1.0, "a"), 0)[0]
    for sample in found:
        said = tokenizer().decode(sample.ids, skip_special_tokens=True)
        assert said.count("a") == (sample.ended == STOP) or said.rstrip("a").count("a") <= 1
        assert (sample.ended == LIMIT) <= (len(sample.ids) == 20)
    assert STOP in {s.ended for s in found}


def test_left_filled() -> None:
    filled, mask = left_filled([[7], [8, 9]], 3)
    assert (filled.tolist(), mask.tolist()) == ([[3, 7], [8, 9]], [[0, 1], [1, 1]])


def test_a_sheet_by_hand() -> None:
    fact = {"prompt_id": "p", "prompt": "P", "prompt_tokens": 3, "lengths": [4, 2, 9], "ended": [STOP, END, LIMIT]}
    fact |= {"repeated": [0.0, 0.5, 0.6], "texts": ["a", "b", "c"]}
    found = sheet("m", fact, {"top_k": 0}, 5)
    assert (found["mean"], found["std"]) == (5, pytest.approx(np.sqrt(13)))
    assert found["percentiles"] == {"p25": 3, "p50": 4, "p75": 6.5, "p99": pytest.approx(8.9)}
    assert (found["shortest"], found["longest"]) == ("b", "c")
    assert found["degenerate"] == [False, False, True]
    assert found["settings"] == {"top_k": 0, "seed": 5}


def test_what_can_be_predicted_is_and_noise_is_not() -> None:
    dice = np.random.default_rng(0)
    x = dice.standard_normal((100, 20))
    y = 50 + 10 * x[:, 0] + dice.standard_normal(100)
    told, mean = crossed(x, y, 0)
    assert np.abs(told - y).mean() < 0.3 * np.abs(mean - y).mean()
    noise = dice.standard_normal(100)
    told, mean = crossed(x, noise, 0)
    assert np.abs(told - noise).mean() > 0.9 * np.abs(mean - noise).mean(), "held out: noise is not learnt by heart"
    sheets = [
        {"prompt_id": str(i), "mean": v, "std": 1.0, "ended": [STOP, LIMIT], "degenerate": [False, True]}
        | {"predicted": v + 1, "global_mean": v - 3}
        for i, v in enumerate(y.tolist())
    ]
    found = numbers_of(sheets, 0)
    assert found["error saved by the predictor"].value == pytest.approx(2)
    assert found["samples cut at the limit"].value == 50


def test_prompts_of_the_text_are_beginnings_of_its_paragraphs(tmp_path: Path) -> None:
    at = Place(text=text(tmp_path))
    found = studies.find("castillo")(**SMALL)._prompts(at, lm(), [])
    paragraphs = {p for d in at.source.eval_documents for p in d.text.split("\n\n")}
    assert len({p.id for p in found}) == 10
    assert len({p.id.partition("#")[0] for p in found}) > 8, "documents take turns"
    for p in found:
        assert len(p.ids) == 4 + 1
        assert any(whole.startswith(p.text) and whole != p.text for whole in paragraphs)


def test_prompts_of_a_file(tmp_path: Path) -> None:
    lines = [{"id": f"q{i}", "instruction": f"Say {i}.", "input": "x" * (i % 2)} for i in range(12)]
    place = str(write(tmp_path / "a.jsonl", lines))
    study = studies.find("castillo")(path=place, **SMALL)
    found = study._prompts(Place(), lm(), study._given())
    assert len(found) == 10
    assert {p.text for p in found} < {f"Say {i}." + "\n\nx" * (i % 2) for i in range(12)}
    with pytest.raises(TextError, match="has 12 of 13 prompts"):
        studies.find("castillo")(path=place, prompts=13)._given()
    short = SimpleNamespace(tokenizer=tokenizer(), name="short", view=SimpleNamespace(trained_length=10))
    with pytest.raises(TextError, match=r"prompt q\d+ has \d+ tokens, short has room for 1 beside 8 new ones"):
        study._prompts(Place(), short, study._given())


def test_a_text_without_paragraphs_is_told(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"paragraphs of more than 24 tokens, fewer than 120: give more text"):
        studies.find("castillo")()._prompts(Place(text=text(tmp_path)), lm(), [])


def test_a_run_is_whole_and_taken_up(run, saved: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    line = "castillo(prompts=10, prompt_tokens=4, samples=3, max_new_tokens=8)"
    call = ("study", line, str(saved), "--text", text(tmp_path), "-o", "out", "--json", "-q")
    code, out, _ = run(*call)
    assert code == 0
    rows = [json.loads(x) for x in Path("out/castillo.jsonl").read_text().splitlines()]
    assert len(rows) == 10
    assert all(len(r["lengths"]) == 3 and r["settings"]["max_new_tokens"] == 8 for r in rows)
    numbers = json.loads(out.splitlines()[-1])["numbers"]
    assert numbers["mean length"]["value"] == pytest.approx(np.mean([r["lengths"] for r in rows]))
    assert "hidden" not in rows[0]
    assert run(*call)[1] == out, "nothing is drawn anew"
