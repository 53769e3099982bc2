"""Fitted artifacts on disk: found by model, method and text; never half written; mismatches are sentences."""

import shutil
import time

import pytest
import torch

from paretolm.bridge import artifacts
from paretolm.bridge.artifacts import artifact_key, artifacts_directory, load_artifact, save_artifact
from paretolm.contracts import Artifact
from paretolm.errors import FitError

METHOD = "knn-lm(k=4, lmbda=0.25)"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PARETOLM_HOME", str(tmp_path))
    return tmp_path


def artifact(value=1.0):
    keys = torch.full((3, 4), value, dtype=torch.float16).T  # not contiguous
    return Artifact({"keys": keys, "values": torch.tensor([5, 6], dtype=torch.int32)}, {"keys": 3, "ratio": 0.5})


def test_what_is_saved_comes_back():
    path = save_artifact(artifact(), "model", METHOD, "text")
    assert path == artifacts_directory() / f"{artifact_key('model', METHOD, 'text')}.safetensors"
    loaded = load_artifact("model", METHOD, "text")
    for name, tensor in artifact().tensors.items():
        assert torch.equal(loaded.tensors[name], tensor)
        assert loaded.tensors[name].dtype == tensor.dtype
    assert loaded.facts == {"keys": 3, "ratio": 0.5}


def test_the_directory(home, monkeypatch, tmp_path):
    assert artifacts_directory() == home / "artifacts"
    monkeypatch.delenv("PARETOLM_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert artifacts_directory() == tmp_path / "cache" / "paretolm" / "artifacts"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert artifacts_directory().parts[-3:] == (".cache", "paretolm", "artifacts")


def test_the_key_tells_model_method_and_text_apart():
    parts = ("model", METHOD, "text")
    keys = {artifact_key(*(part + "x" * (i == other) for i, part in enumerate(parts))) for other in range(4)}
    assert len(keys) == 4


def test_without_a_text_the_last_one_fitted_is_found():
    save_artifact(artifact(1.0), "model", METHOD, "first")
    time.sleep(0.01)
    save_artifact(artifact(2.0), "model", METHOD, "second")
    save_artifact(artifact(3.0), "other model", METHOD, "third")
    assert load_artifact("model", METHOD).tensors["keys"][0, 0] == 2
    assert load_artifact("model", METHOD, "first").tensors["keys"][0, 0] == 1


def test_saving_again_replaces():
    save_artifact(artifact(1.0), "model", METHOD, "text")
    save_artifact(artifact(2.0), "model", METHOD, "text")
    assert load_artifact("model", METHOD, "text").tensors["keys"][0, 0] == 2
    assert len(list(artifacts_directory().iterdir())) == 1


def test_a_write_that_breaks_off_leaves_the_old_one(monkeypatch):
    save_artifact(artifact(1.0), "model", METHOD, "text")

    def breaks_off(tensors, path, metadata):
        with open(path, "w") as file:
            file.write("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(artifacts, "save_file", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        save_artifact(artifact(2.0), "model", METHOD, "text")
    assert load_artifact("model", METHOD, "text").tensors["keys"][0, 0] == 1
    assert len(list(artifacts_directory().iterdir())) == 1


def test_a_missing_artifact_says_what_to_run():
    with pytest.raises(FitError, match="run `paretolm fit MODEL -m 'knn-lm"):
        load_artifact("model", METHOD)


def test_a_missing_artifact_says_what_was_fitted_instead():
    save_artifact(artifact(), "model", "knn-lm(k=8)", "text")
    with pytest.raises(FitError, match=r"fitted for this model: knn-lm\(k=8\)"):
        load_artifact("model", METHOD)
    with pytest.raises(FitError, match="knn-lm was fitted only for another model"):
        load_artifact("other model", METHOD)
    with pytest.raises(FitError, match="fitted on text first;"):
        load_artifact("model", "medusa(heads=2)")


def test_a_file_that_is_not_what_its_name_says_is_refused():
    path = save_artifact(artifact(), "model", METHOD, "text")
    shutil.copy(path, path.with_stem(artifact_key("model", METHOD, "other text")))
    with pytest.raises(FitError, match="another model or text; delete it"):
        load_artifact("model", METHOD, "other text")


@pytest.mark.parametrize("content", [b"", b"not safetensors at all"])
def test_a_broken_file_is_refused(content):
    save_artifact(artifact(), "model", METHOD, "text").write_bytes(content)
    with pytest.raises(FitError, match="cannot be read"):
        load_artifact("model", METHOD, "text")
    with pytest.raises(FitError, match="fitted on text first"):
        load_artifact("model", METHOD)
