"""Settings of a run: what can be asked for, and a sentence for what cannot."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretolm.errors import UserError
from paretolm.training.optimizers.adamw import AdamW
from paretolm.training.run import toml
from paretolm.training.settings import RunSettings, read_run, run_names, settings_of
from tests.training import tiny


@pytest.mark.parametrize("name", run_names())
def test_every_run_of_the_package_reads(name: str) -> None:
    assert read_run(name).name == name


def test_there_are_runs() -> None:
    assert {"toy", "draft", "draft-cpu", "reference", "reference-cpu"} <= set(run_names())


# --- mistakes ---


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("stepz=3", "toy has no setting 'stepz'; did you mean 'steps'?"),
        ("architecture.hiden_size=8", "toy [architecture] has no setting 'hiden_size'; did you mean 'hidden_size'?"),
        ("checkpoints.evry=8", "toy [checkpoints] has no setting 'evry'; did you mean 'every'?"),
        ("architecture.name=lama", "there is no architecture 'lama'; did you mean 'llama'?"),
        ("data.name=mixtur", "there is no data order 'mixtur'; did you mean 'mixture'?"),
        ("optimizer.name=moun", "there is no optimizer 'moun'; did you mean 'muon'?"),
        ("schedule.name=cosin", "there is no schedule 'cosin'; did you mean 'cosine'?"),
        ("objective.name=next_token", "there is no objective 'next_token'; did you mean 'next-token'?"),
        ("optimizer.name=3", "toy [optimizer] needs a name; there are adamw, muon"),
        ("steps=two", "toy: steps is a whole number, not 'two'"),
        ("steps=1.5", "toy: steps is a whole number, not 1.5"),
        ("steps=true", "toy: steps is a whole number, not True"),
        ("clip=high", "toy: clip is a number, not 'high'"),
        ("clip=true", "toy: clip is a number, not True"),
        ("compile=1", "toy: compile is true or false, not 1"),
        ("data.boundaries=3", "toy [data]: boundaries is a text, not 3"),
        ("checkpoints.keep=3", "toy [checkpoints]: keep is a list, not 3"),
        ("checkpoints.keep=[1, 2.5]", "toy [checkpoints]: keep is a whole number, not 2.5"),
        ("steps=0", "steps must be at least 1, not 0"),
        ("sequence_length=8", "sequence_length must be at least 16, not 8"),
        ("tokenizer.vocab_size=259", "tokenizer: vocab_size must be 260 to 65536, not 259"),
        ("optimizer.lr=-1", "muon: lr must be at least 0, not -1"),
        ("optimizer.lr=nan", "muon: lr must be a finite number, not nan"),
        ("data.boundaries=open", "packed: boundaries is one of eos, masked, not open"),
        ("batch_size=12", "batch_size 12 is not a multiple of micro_batch_size 8"),
        ("architecture.num_key_value_heads=3", "llama: 4 query heads cannot share 3 KV heads evenly"),
        ("architecture.head_dim=15", "llama: head_dim must be even"),
        ("steps", "a change is written like optimizer.lr=0.01, not 'steps'"),
        ("=3", "a change is written like optimizer.lr=0.01, not '=3'"),
        ("steps.x=3", "steps.x: steps is a value, not a table"),
        ("optimizer=adamw", "toy: optimizer is a table, so write optimizer.name=..."),
        ("tokenizer=3", "toy: tokenizer is a table"),
    ],
)
def test_a_mistake_is_one_sentence(change: str, said: str) -> None:
    with pytest.raises(UserError) as raised:
        read_run("toy", [change])
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_shares_of_everything() -> None:
    with pytest.raises(UserError, match=r"planted 0\.7 and repeated 0\.4 are more than everything"):
        read_run("draft", ["data.planted=0.7", "data.repeated=0.4"])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tou", None, "there is no run 'tou'; did you mean 'toy'?"),
        ("mine.toml", None, "there is no file mine.toml"),
        ("mine.toml", "steps = ", "mine.toml cannot be read as TOML"),
        ("mine.toml", "steps = 3", r"mine.toml lacks the table \[architecture\]"),
        ("mine.toml", b"\xff\xfe", "mine.toml cannot be read as TOML"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str | bytes | None, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=said):
        read_run(name)


def test_what_must_be_said_must_be_said() -> None:
    with pytest.raises(UserError, match="tiny lacks steps"):
        settings_of({k: v for k, v in tiny.TABLE.items() if k != "steps"}, "tiny")


# --- changes ---


def test_changes_win_over_the_file() -> None:
    changes = ["steps=7", " optimizer.lr = 1e-3", "checkpoints.keep=[1, 2]", "data.boundaries=masked", "compile=true"]
    changed = read_run("toy", [*changes, 'name="my = run"', "architecture.rope_theta=500"])
    assert (changed.steps, changed.name, changed.compile) == (7, "my = run", True)
    assert changed.checkpoints.keep == (1, 2)
    assert changed.table()["optimizer"]["lr"] == 1e-3
    assert changed.table()["data"] == {"name": "packed", "boundaries": "masked"}
    assert changed.table()["architecture"]["rope_theta"] == 500.0
    same = {"seed", "clip", "schedule", "objective", "validation", "batch_size"}
    assert all(changed.table()[key] == read_run("toy").table()[key] for key in same)


def test_another_part_comes_without_the_settings_of_the_one_before() -> None:
    assert read_run("draft", ["optimizer.lr=0.5", "optimizer.name=adamw"]).optimizer == AdamW(lr=0.5)
    assert read_run("draft", ["optimizer.name=muon"]).optimizer == read_run("draft").optimizer


# --- the file of a run ---


@pytest.mark.parametrize("name", run_names())
def test_the_file_of_a_run_reads_back(tmp_path: Path, name: str) -> None:
    settings = read_run(name, ["checkpoints.keep=[3, 5]", 'name="a \\"b\\" \\u007f\\nü"'])
    (tmp_path / "run.toml").write_text(toml(settings), encoding="utf-8")
    assert read_run(str(tmp_path / "run.toml")) == settings


@given(st.floats(0, 1e300), st.integers(0, 2**62), st.text())
def test_numbers_and_names_read_back(lr: float, seed: int, name: str) -> None:
    settings = tiny.settings(optimizer={"lr": lr}, seed=seed, name=name)
    assert settings_of(tomllib.loads(toml(settings)), "run.toml") == settings


# --- identity ---

WEIGHTS: dict[str, Any] = {
    "steps": 13,
    "sequence_length": 33,
    "batch_size": 8,
    "clip": 0.5,
    "seed": 1,
    "tokenizer": {"vocab_size": 301},
    "architecture": {"hidden_size": 24},
    "data": {"boundaries": "masked"},
    "objective": {},
    "optimizer": {"lr": 0.03},
    "schedule": {"decay": 0.2},
}
NOTHING: dict[str, Any] = {
    "micro_batch_size": 4,
    "compile": True,
    "checkpoints": {"every": 5},
    "validation": {"every": 5},
    "name": "other",
}


def test_every_setting_changes_the_weights_or_does_not() -> None:
    assert {f.name for f in dataclasses.fields(RunSettings)} == {*WEIGHTS, *NOTHING}


def test_identity_is_of_what_changes_the_weights() -> None:
    known = {tiny.settings().identity}
    for key, value in WEIGHTS.items():
        identity = tiny.settings(**{key: value}).identity
        assert (identity in known) == (value == {}), key
        known.add(identity)


@pytest.mark.parametrize("key", NOTHING)
def test_identity_is_not_of_what_leaves_the_weights(key: str) -> None:
    changed = tiny.settings(**{key: NOTHING[key]})
    assert changed != tiny.settings()
    assert changed.identity == tiny.settings().identity


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        (NOTHING, ""),
        ({"steps": 13}, "steps is 12 there, not 13"),
        ({"data": {"boundaries": "masked"}}, "data.boundaries is eos there, not masked"),
        ({"data": {"name": "mixture"}}, "data.name is packed there, not mixture"),
    ],
)
def test_a_difference_is_named(changes: dict[str, Any], said: str) -> None:
    before = tomllib.loads(toml(tiny.settings()))
    assert tiny.settings(**changes).difference(before) == said
    del before["data"]["boundaries"]
    assert said or tiny.settings().difference(before) == "data.boundaries is not set there, not eos"


def test_identity_stays_what_it_was() -> None:
    """Or runs that were begun before could not go on."""
    told = {
        "steps": 12,
        "sequence_length": 32,
        "batch_size": 4,
        "clip": 1.0,
        "seed": 0,
        "tokenizer": {"vocab_size": 300},
        "architecture": {
            "name": "llama",
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 8,
            "intermediate_size": 16,
            "rope_theta": 10000.0,
            "tie_word_embeddings": True,
            "initializer_range": 0.02,
        },
        "data": {"name": "packed", "boundaries": "eos"},
        "objective": {"name": "next-token"},
        "optimizer": {
            "name": "muon",
            "lr": 0.02,
            "momentum": 0.95,
            "weight_decay": 0.1,
            "adamw_lr": 0.003,
            "beta1": 0.9,
            "beta2": 0.95,
        },
        "schedule": {"name": "warmup-stable-decay", "warmup": 0.02, "decay": 0.3},
    }
    assert tiny.settings().identity == hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
