"""What importing the package costs and changes, and what nothing in the repository speaks of."""

import ast
import os
import re
import subprocess
import sys
import time
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "tokenizers", "safetensors", "numpy", "scipy", "huggingface_hub"}
HELP_SECONDS = 0.4
TEXT = {".py", ".md", ".toml", ".txt", ".cfg", ".css", ".js", ".j2", ".json", ""}
UNTOLD = ("/wo" + "rk/", "py" + "pi.org", "python" + "hosted", "download.py" + "torch", "/op" + "t/wheels")


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


# --- what an import costs ---


HELP = (
    "import sys; sys.argv = ['paretolm', *{args}]\nfrom paretolm.cli import main\ntry: main()\nexcept SystemExit: pass"
)


@pytest.mark.parametrize("args", [["--help"], ["compare", "--help"]], ids=" ".join)
def test_help_loads_nothing_heavy(args):
    out = run(HELP.format(args=args) + "\nprint('loaded:', *sys.modules)")
    shown, loaded = out.rsplit("loaded:", 1)
    assert "Usage" in shown
    assert not HEAVY & set(loaded.split())


def test_help_is_quick():
    """The best of a few, so that a busy machine is not taken for a slow program."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([Path(sys.executable).with_name("paretolm"), "--help"], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < HELP_SECONDS


# --- what an import changes ---


def test_importing_changes_nothing_in_torch_or_transformers():
    run(
        """
import logging, sys, warnings
import torch, transformers
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.generation import GenerationMixin

def state():
    return (
        {k: id(v) for k, v in AttentionInterface._global_mapping.items()},
        {k: id(v) for k, v in AttentionMaskInterface._global_mapping.items()},
        {k: id(v) for c in (DynamicCache, GenerationMixin, transformers.PreTrainedModel) for k, v in vars(c).items()},
        {k: id(v) for k, v in vars(torch.nn.functional).items() if callable(v)},
        torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(), torch.initial_seed(),
        torch.are_deterministic_algorithms_enabled(), torch.backends.cuda.matmul.allow_tf32,
        logging.getLogger().level, list(logging.getLogger().handlers), list(warnings.filters),
        sys.excepthook,
    )

before = state()
import paretolm, paretolm.bridge.loading, paretolm.recipes.session, paretolm.evaluation.summary, paretolm.bench.compare
from paretolm.recipes.index import load_method, method_names
for name in method_names():
    load_method(name)
assert state() == before
"""
    )


# --- what the package declares ---


@cache
def imported() -> set[str]:
    """Top-level names of third parties that the source imports."""
    names = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"paretolm"}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


IMPORTED_AS = {"pyyaml": "yaml"}


def distribution(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9_.-]+", requirement)[0].lower().replace("-", "_")


def test_what_is_imported_is_declared_and_nothing_else():
    optional = project()["optional-dependencies"]
    extras = [r for name in ("train", "hub", "serve", "papers", "cluster") for r in optional[name]]
    declared = {distribution(r) for r in (*project()["dependencies"], *extras)}
    assert {IMPORTED_AS.get(name, name) for name in declared} == imported()


def test_versions_of_the_own_set_up_satisfy_what_is_declared():
    from packaging.requirements import Requirement

    pinned = {}
    for line in (ROOT / "requirements/ci.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pinned[distribution(name)] = version
    extras = project()["optional-dependencies"]
    declared = [
        Requirement(r)
        for r in (
            *project()["dependencies"],
            *(r for e in ("dev", "train", "serve", "papers", "cluster") for r in extras[e]),
        )
    ]
    for requirement in declared:
        assert requirement.specifier.contains(pinned[distribution(requirement.name)]), requirement
    assert set(pinned) - {distribution(r.name) for r in declared} == {"hatchling"}


# --- what nothing speaks of ---


def own_files() -> list[Path]:
    """Text files of the repository that people wrote."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], check=False, cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:  # unpacked without its history
        found = [p for folder in ("src", "tests", "docs", "examples", "tools") for p in (ROOT / folder).rglob("*")]
    else:
        found = [ROOT / line for line in listed.stdout.splitlines()]
    skipped = {"models", "text", "assets"}  # others' words
    return [p for p in found if p.is_file() and p.suffix in TEXT and not skipped & set(p.relative_to(ROOT).parts)]


def test_no_file_names_a_folder_of_one_machine_or_a_registry():
    found = {
        f"{path.relative_to(ROOT)}: {word}"
        for path in own_files()
        for word in UNTOLD
        if word in path.read_text(encoding="utf-8", errors="replace")
    }
    assert not found
    assert len(own_files()) > 100


def test_the_environment_of_tests_is_offline():
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_the_main_path_opens_no_socket():
    """Not even with the hub allowed: the embedded model needs none."""
    run(
        """
import os, socket
os.environ.pop("HF_HUB_OFFLINE")
def refuse(*args, **kwargs):
    raise SystemExit(f"a socket was opened: {args}")
socket.socket.connect = socket.getaddrinfo = refuse
import paretolm
lm = paretolm.load("reference")
with paretolm.recipe("streaming-llm(window=64)").apply(lm) as session:
    assert session.generate("Once upon a time", max_new_tokens=4).ids.numel() == 4
"""
    )
