"""A model with a recipe in its weights, as a directory that `paretolm.load` opens."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..bridge.bytes import module_bytes
from ..bridge.content import EXPORTED, VARIANT
from ..bridge.lm import LM
from ..bridge.loading import EXPORT_FORMAT, load_lm, quiet
from ..errors import ConflictError, ModelError, ParetoError, RunError
from .convert import bake, rebuild, shell_copy
from .recipe import Recipe

SPARE_BYTES = 64 << 20  # tokenizer, headers and a margin
_NOTICES = ("LICENSE*", "NOTICE*")


def export(model: LM | str, recipe: str | Recipe, out_dir: str | Path, **options: Any) -> Path:
    """Writes the model with the recipe in it: config, tokenizer, packed safetensors and paretolm.json.

    model: an LM (left as it is) or a name, then with the options of `paretolm.load`. Weight methods go into the
    weights; the rest of the recipe is remembered and in force when the directory is opened, unless another
    recipe is asked for. Where modules were replaced the weights have a name that only we open: any other loader
    would fill the gaps at random. The directory appears whole or not at all.
    """
    out = Path(out_dir).expanduser()
    _check_target(out)
    whole = Recipe.parse(recipe) if isinstance(recipe, str) else recipe
    if isinstance(model, LM):
        source = replace(model, model=shell_copy(model.model))
    else:
        source = load_lm(model, mapped=True, rebuild=rebuild, **options)
    _check_space(source, whole, out)
    lm = bake(source, whole)
    unsaved = sorted(path for path, record in lm.replaced.items() if record["spec"] is None)
    if unsaved:
        raise ConflictError(
            f"{lm.replaced[unsaved[0]]['method']} makes modules that cannot be rebuilt from a file; drop it to export"
        )
    with _appearing(out) as directory:
        _write(lm, source.content_hash, directory)
    return out


def _check_target(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ModelError(f"{out} already exists and is not an empty directory; choose another or remove it")


def _check_space(lm: LM, recipe: Recipe, out: Path) -> None:
    """Before any work is done."""
    need = int(recipe.cost(lm.view, 1).weight_bytes.high) + SPARE_BYTES
    parent = next(p for p in out.absolute().parents if p.exists())
    free = shutil.disk_usage(parent).free
    if free < need:
        raise ModelError(f"{out} needs up to {need >> 20} MiB, and {parent} has {free >> 20} MiB free")


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A directory beside `out` that takes its place at the end, or is removed."""
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=out.absolute().parent, prefix=f".{out.name}."))
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.replace(out)
    except ParetoError:
        raise
    except (OSError, ValueError) as error:  # the disk, or a config that transformers will not save
        raise RunError(f"{out} could not be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(lm: LM, base_hash: str, directory: Path) -> None:
    with quiet():
        lm.model.save_pretrained(directory, variant=VARIANT if lm.replaced else None)
        if lm.tokenizer is not None:
            lm.tokenizer.save_pretrained(directory)
    for pattern in _NOTICES if lm.path else ():
        for notice in Path(lm.path or "").glob(pattern):
            shutil.copy(notice, directory)
    (directory / EXPORTED).write_text(json.dumps(_record(lm, base_hash), indent=2) + "\n", encoding="utf-8")


def _record(lm: LM, base_hash: str) -> dict[str, Any]:
    return {
        "format": EXPORT_FORMAT,
        "in_force": lm.recipe_in_force,
        "left": lm.recipe_left,
        "hash": Recipe.parse(" + ".join(p for p in (lm.recipe_in_force, lm.recipe_left) if p)).hash,
        "base": {"name": lm.name, "content_hash": base_hash},
        "versions": {package: version(package) for package in ("paretolm", "torch", "transformers")},
        "weight_bytes": module_bytes(lm.model),
        "counters": lm.counters,
        "notes": lm.notes,
        "modules": lm.replaced,
    }
