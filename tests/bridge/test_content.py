"""The hash of a model directory: changes with its contents, is remembered between runs, needs no torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from paretolm.bridge import content
from paretolm.bridge.content import (
    Contents,
    FileFacts,
    content_hash,
    contents,
    index_file,
    read_json,
    shard_names,
    weight_files,
)
from paretolm.errors import ModelError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PARETOLM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(content, "_TICK_NS", 0)
    return tmp_path / "home" / "hashes.json"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text('{"model_type": "llama"}')
    (directory / "tokenizer.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(b"weights")
    return directory


def test_every_file_that_matters_changes_the_hash(cache: Path, model: Path) -> None:
    seen = {content_hash(model)}
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (model / name).write_bytes((model / name).read_bytes() + b" ")
        seen.add(content_hash(model))
    (model / "chat_template.jinja").write_text("x")
    seen.add(content_hash(model))
    assert len(seen) == 5
    (model / "README.md").write_text("a note")
    assert content_hash(model) in seen


def changed(before: Contents, after: Contents) -> set[str]:
    return {name for name in ("model", "tokenizer", "template") if getattr(before, name) != getattr(after, name)}


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("model.safetensors", "WEIGHTS", "model"),
        ("config.json", '{"model_type": "gpt2"}', "model"),
        ("generation_config.json", '{"eos_token_id": 3}', "model"),
        ("tokenizer.json", '{"version": "2"}', "tokenizer"),
        ("special_tokens_map.json", "{}", "tokenizer"),
        ("tokenizer_config.json", '{"add_bos_token": true}', "tokenizer"),
        ("tokenizer_config.json", '{"chat_template": "{{ messages }}"}', "template"),
        ("chat_template.jinja", "{{ messages }}", "template"),
        ("chat_template.json", "{}", "template"),
        ("additional_chat_templates/tools.jinja", "{{ tools }}", "template"),
        ("README.md", "a note", None),
    ],
)
def test_a_file_changes_the_part_it_belongs_to_alone(
    cache: Path, model: Path, name: str, text: str, part: str | None
) -> None:
    before = contents(model)
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_text(text)
    assert changed(before, contents(model)) == ({part} if part else set())


def test_a_template_changes_where_it_lies_inside_the_tokenizers_configuration(cache: Path, model: Path) -> None:
    settings = model / "tokenizer_config.json"
    settings.write_text('{"add_bos_token": true, "chat_template": "one"}')
    before = contents(model)
    settings.write_text('{"add_bos_token": true, "chat_template": "two"}')
    assert changed(before, contents(model)) == {"template"}
    settings.write_text('{"add_bos_token": false, "chat_template": "two"}')
    assert changed(before, contents(model)) == {"template", "tokenizer"}


def test_no_template_and_no_tokenizer(cache: Path, model: Path) -> None:
    assert contents(model).template == ""
    (model / "tokenizer.json").unlink()
    assert contents(model).tokenizer


def test_an_old_time_on_new_contents_is_seen_through(cache: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    weights = model / "model.safetensors"
    first, times = contents(model), weights.stat()
    weights.write_bytes(b"WEIGHTS")
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert contents(model).model != first.model


def test_a_copy_elsewhere_has_the_same_hash(cache: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(model)
    assert content_hash(tmp_path / "link") == content_hash(model)


def test_files_are_read_once(cache: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = content_hash(model)
    assert len(json.loads(cache.read_text())) == 3
    monkeypatch.setattr(content.hashlib, "file_digest", None)  # reading again would fail
    assert content_hash(model) == first


def test_the_same_size_at_another_time_is_read_again(cache: Path, model: Path) -> None:
    first = content_hash(model)
    weights = model / "model.safetensors"
    weights.write_bytes(b"WEIGHTS")
    os.utime(weights, ns=(0, 12345))
    assert content_hash(model) != first


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"x": 1}'])
def test_a_broken_cache_is_replaced(cache: Path, model: Path, broken: str) -> None:
    first = content_hash(model)
    cache.write_text(broken)
    assert content_hash(model) == first
    assert len(json.loads(cache.read_text())) == 3


def test_a_cache_that_cannot_be_written_costs_only_time(cache: Path, model: Path) -> None:
    cache.parent.write_text("a file where the folder should be")
    assert content_hash(model) == content_hash(model)


def test_facts_of_two_writers_are_both_kept(cache: Path, model: Path) -> None:
    one, two = FileFacts(), FileFacts()
    one.set(model / "config.json", "sha256", "1")
    two.set(model / "tokenizer.json", "sha256", "2")
    one.save()
    two.save()
    assert len(json.loads(cache.read_text())) == 2
    assert [p.name for p in cache.parent.iterdir()] == ["hashes.json"]


def test_no_torch_is_imported() -> None:
    code = (
        "import sys; from paretolm.bridge.content import content_hash; from paretolm.bridge.locate import locate;"
        "content_hash(locate('reference')); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"torch", "transformers", "numpy"} & set(loaded)


# --- which files ---------------------------------------------------------------------------------


def write_index(directory: Path, mapping: object, name: str = content.INDEX) -> Path:
    (directory / name).write_text(json.dumps({"weight_map": mapping}))
    return directory / name


def test_shards_of_an_index(model: Path) -> None:
    write_index(model, {"a": "model-2.safetensors", "b": "model-1.safetensors", "c": "model-1.safetensors"})
    for number in (1, 2):
        (model / f"model-{number}.safetensors").touch()
    assert [p.name for p in weight_files(model)] == ["model-1.safetensors", "model-2.safetensors"]


def test_our_own_files_come_first(model: Path) -> None:
    (model / content.OWN_WEIGHTS).touch()
    assert [p.name for p in weight_files(model)] == ["model.paretolm.safetensors"]
    assert index_file(model) is None


@pytest.mark.parametrize(
    "name", ["../evil.safetensors", "/etc/x.safetensors", "sub/x.safetensors", "a\\b.safetensors", "x.bin", ".."]
)
def test_an_index_cannot_lead_elsewhere(model: Path, name: str) -> None:
    with pytest.raises(ModelError, match="not followed"):
        shard_names(write_index(model, {"a": name}))


@pytest.mark.parametrize("mapping", [None, {}, [], {"a": 3}])
def test_an_index_without_a_map(model: Path, mapping: object) -> None:
    with pytest.raises(ModelError, match="has no weight_map"):
        shard_names(write_index(model, mapping))


def test_missing_shards_are_counted(model: Path) -> None:
    write_index(model, {"a": "model-1.safetensors", "b": "model-2.safetensors"})
    with pytest.raises(ModelError, match=r"lacks the file model-1\.safetensors and 1 more"):
        weight_files(model)


@pytest.mark.parametrize(
    ("file", "sentence"),
    [("pytorch_model.bin", "only as a pickle"), ("model.gguf", "as GGUF"), ("notes.txt", "holds no weights")],
)
def test_other_weights(model: Path, file: str, sentence: str) -> None:
    (model / "model.safetensors").rename(model / file)
    with pytest.raises(ModelError, match=sentence):
        weight_files(model)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "is empty"), ("{", "is not JSON"), ("[1]", "a JSON object, not a list"), ("[" * 10**5, "is not JSON")],
)
def test_json_that_is_none(model: Path, text: str, sentence: str) -> None:
    (model / "config.json").write_text(text)
    with pytest.raises(ModelError, match=sentence):
        read_json(model / "config.json")


def test_bytes_that_are_no_text(model: Path) -> None:
    (model / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="cannot be read"):
        read_json(model / "config.json")
