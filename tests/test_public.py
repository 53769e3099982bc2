"""The public names, and what importing them costs."""

import subprocess
import sys

import pytest

import paretolm


def test_public_names_are_pinned():
    assert paretolm.__all__ == [
        "LM",
        "ParetoError",
        "Recipe",
        "RunError",
        "Session",
        "UserError",
        "compare",
        "load",
        "recipe",
        "tune",
    ]
    assert set(paretolm.__all__) <= set(dir(paretolm))


def test_every_public_name_is_there():
    assert all(getattr(paretolm, name) for name in paretolm.__all__)
    assert paretolm.__version__.count(".") == 2


def test_another_name_is_not():
    with pytest.raises(AttributeError, match="module 'paretolm' has no attribute 'lode'"):
        _ = paretolm.lode


def test_importing_loads_neither_torch_nor_transformers():
    code = "import sys, paretolm; paretolm.ParetoError; dir(paretolm); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "paretolm.errors" in loaded
    assert not {"torch", "transformers", "numpy"} & set(loaded)
