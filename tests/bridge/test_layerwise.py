"""Layer by layer: what matrices read, and that a changed matrix is what later layers hear of."""

import pytest
import torch

from paretolm.bridge.layerwise import layer_by_layer
from tests.contract.tiny import text, tiny


def heard(name, change):
    """path -> what its matrix read, over two texts of different lengths; the model's weights are compared."""
    lm = tiny(name)
    before = {key: value.clone() for key, value in lm.model.state_dict().items()}
    seen = {}
    pieces = [text(20, seed=1), text(33, seed=2)]
    layer_by_layer(
        lm.model, [x.path for x in lm.view.layers], pieces, lambda p, x: seen.setdefault(p, []).append(x), change
    )
    assert all(torch.equal(before[key], value) for key, value in lm.model.state_dict().items())
    assert not any(m._forward_pre_hooks for m in lm.model.modules())
    return lm, pieces, {path: torch.cat(parts) for path, parts in seen.items()}


def read_plainly(lm, pieces, paths):
    seen = {path: [] for path in paths}
    handles = [
        lm.model.get_submodule(p).register_forward_pre_hook(lambda _, args, p=p: seen[p].append(args[0][0]))
        for p in paths
    ]
    with torch.no_grad():
        for ids in pieces:
            lm.model(ids)
    for handle in handles:
        handle.remove()
    return {path: torch.cat(parts) for path, parts in seen.items()}


@pytest.mark.parametrize("name", ["llama", "qwen3", "phi3", "gpt_neox", "gemma3"])
def test_unchanged_it_hears_a_plain_forward(name):
    lm, pieces, seen = heard(name, lambda path, weight: None)
    for path, expected in read_plainly(lm, pieces, seen).items():
        torch.testing.assert_close(seen[path], expected)


def test_changed_matrices_are_heard_of_by_later_layers_only():
    """The same change for good in a copy of the model: the second layer reads the same in a plain forward."""
    half = lambda path, weight: weight / 2 if path.startswith("model.layers.0.") else None  # noqa: E731
    lm, pieces, seen = heard("llama", half)
    whole = read_plainly(lm, pieces, seen)
    for path, module in lm.model.model.layers[0].named_modules():
        if path.endswith("proj"):
            module.weight.data /= 2
    changed = read_plainly(lm, pieces, seen)
    for path in seen:
        torch.testing.assert_close(seen[path], (whole if path.startswith("model.layers.0.") else changed)[path])
    assert not torch.allclose(whole["model.layers.1.mlp.up_proj"], changed["model.layers.1.mlp.up_proj"])
