"""The mode without undo: methods that change weights go into the model for good, and such a model into a directory.

A recipe is divided. Methods whose edits are all on weights are put in while the original weights are pages of
their file, matrix by matrix, so that there is never a second copy in memory. The others stay a recipe
(`lm.recipe_left`) for the sessions that are opened on the model; an exported directory remembers it, and it is in
force there unless another recipe is asked for.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..bridge.artifacts import load_artifact
from ..bridge.lm import LM
from ..bridge.loading import load_lm, own_memory, to_device
from ..contracts import Edit, Method, Need, OpenContext, Slot
from ..errors import CallError, ConflictError, ModelError
from .context import Context, Ledger
from .index import load_method
from .making import method_line
from .plan import Plan, make_plan
from .recipe import Recipe
from .session import is_in_force

M = TypeVar("M", bound=nn.Module)


def load(name: str, recipe: str | Recipe | None = None, **options: Any) -> LM:
    """The model `name`: 'reference' (embedded), a directory, an exported directory, or a hub id.

    recipe: put into the model for good, as far as it changes weights; the rest is `lm.recipe_left`. options: dtype,
    device, attn_implementation, revision, trust_remote_code (see `paretolm.bridge.loading.load_lm`).
    """
    if recipe is None:
        return load_lm(name, rebuild=rebuild, **options)
    return load_converted(name, recipe, **options)


def load_converted(name: str, recipe: str | Recipe, *, device: str | torch.device | None = None, **options: Any) -> LM:
    """As `load`, with a recipe.

    Where a dtype other than the file's is asked for, the dense model stands in memory first and then shrinks. On
    `device` is only ever what the methods made."""
    lm = bake(load_lm(name, mapped=True, rebuild=rebuild, **options), recipe)
    own_memory(lm.model)
    if device is not None:
        to_device(lm.model, device)
    return lm


def rebuild(record: Mapping[str, Any]) -> nn.Module:
    """The empty module of an export's record: {"method": name, "spec": {...}}."""
    spec = record.get("spec")
    if not isinstance(spec, dict):
        raise ModelError("a replaced module comes without the spec to rebuild it; export the model again")
    return load_method(str(record.get("method"))).rebuild(spec)


def bake(lm: LM, recipe: str | Recipe) -> LM:
    """Puts the weight methods of a recipe into `lm.model` for good; the LM given is not to be used any more.

    Raises ConflictError before anything changes where the recipe cannot stand on this model.
    """
    if is_in_force(lm.model):
        raise CallError("a recipe is in force on this model; leave its `with` block first")
    whole = Recipe.parse(recipe) if isinstance(recipe, str) else recipe
    plan = make_plan(whole, lm.view)
    plan.raise_conflicts()
    going, left = divide(whole, plan)
    ledger, replaced = Ledger(), dict(lm.replaced)
    session: dict[str, Any] = {}
    for method, edit in plan.edits(Slot.WEIGHTS):
        if any(method is m for m in going.methods):
            _put(lm, plan, method, edit, ledger, session, replaced)
    return replace(
        lm,
        content_hash=_hash(lm, going),
        recipe_in_force=_joined(lm.recipe_in_force, going),
        recipe_left=left.full() if left.methods else "",
        counters={**lm.counters, **{name: dict(counts) for name, counts in ledger.counters.items()}},
        notes={**lm.notes, **ledger.notes},
        replaced=replaced,
    )


def divide(recipe: Recipe, plan: Plan) -> tuple[Recipe, Recipe]:
    """(what can go into the weights for good, the rest): a method goes whole or not at all."""
    going = {s.position for s in plan.steps if s.edits and all(e.slot is Slot.WEIGHTS for e in s.edits)}
    inside = tuple(m for i, m in enumerate(recipe.methods) if i in going)
    rest = tuple(m for i, m in enumerate(recipe.methods) if i not in going)
    return Recipe(inside), Recipe(rest)


def _put(
    lm: LM,
    plan: Plan,
    method: Method,
    edit: Edit,
    ledger: Ledger,
    session: dict[str, Any],
    replaced: dict[str, dict[str, Any]],
) -> None:
    """Module by module; the old one is gone before the next is made."""
    artifact = load_artifact(lm.content_hash, method_line(method)) if Need.FITTED in edit.needs else None
    for place in sorted(str(p) for p in edit.where):
        context: OpenContext = Context(
            method=method.name,
            place=place,
            view=plan.view,
            device=lm.model.device,
            dtype=lm.model.dtype,
            artifact=artifact,
            tokenizer=lm.tokenizer,
            ledger=ledger,
            request={},
            session=session,
            open_second=_no_second,
        )
        part: Any = edit.make(context)
        old = lm.model.get_submodule(place)
        with torch.no_grad():
            new = part.replace(place, old)
        lm.model.set_submodule(place, new)
        if not _same_kind(old, new):
            replaced[place] = {"method": method.name, "spec": new.spec() if hasattr(new, "spec") else None}


def _same_kind(old: nn.Module, new: nn.Module) -> bool:
    """A plain matrix with other numbers: any loader builds it from the config."""
    return type(old) is type(new) is nn.Linear and old.weight.shape == new.weight.shape


def _no_second(ref: Any) -> Any:
    raise ConflictError(f"a method that needs the second model {ref} cannot go into the weights for good")


def _hash(lm: LM, going: Recipe) -> str:
    """Of the contents before and what was done to them."""
    if not going.methods:
        return lm.content_hash
    return hashlib.sha256(f"{lm.content_hash} {going.full()}".encode()).hexdigest()


def _joined(before: str, going: Recipe) -> str:
    return " + ".join(part for part in (before, going.full() if going.methods else "") if part)


def shell_copy(model: M) -> M:
    """Modules of its own over the very same tensors, so that replacing modules leaves `model` alone."""
    tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
