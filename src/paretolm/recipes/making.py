"""Making the parts of a plan: each with its context, its state and, where it was fitted, its artifact."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..bridge.artifacts import load_artifact
from ..bridge.lm import LM
from ..bridge.parts import LayerParts
from ..contracts import Artifact, Edit, Method, ModelRef, Need, Place, Slot
from .context import Context, Ledger
from .plan import Plan


class PartMaker:
    """Parts of one session. Raises FitError where a method was not fitted for this model."""

    def __init__(
        self, lm: LM, plan: Plan, artifacts: Mapping[str, Artifact], open_second: Callable[[ModelRef], Any]
    ) -> None:
        self.lm, self.plan, self.ledger = lm, plan, Ledger()
        self._open_second = open_second
        self._names = _names(plan)
        self._artifacts = dict(artifacts)
        self._session: dict[str, Any] = {}  # what methods keep from request to request
        self._whole: dict[str, Any] = {}  # shared state of parts that no request makes
        for method, edit in plan.pairs:
            line = method_line(method)
            if Need.FITTED in edit.needs and line not in self._artifacts:
                self._artifacts[line] = load_artifact(lm.content_hash, line)

    @property
    def names(self) -> list[str]:
        """Every method; one named twice is numbered."""
        return list(self._names.values())

    def make(self, method: Method, edit: Edit, place: Place, request: dict[str, Any] | None = None) -> Any:
        """The part of one edit at one place; request: the shared state of a request's parts."""
        context = Context(
            method=self._names[id(method)],
            place=place,
            view=self.plan.view,
            device=self.lm.model.device,
            dtype=self.lm.model.dtype,
            artifact=self._artifacts.get(method_line(method)),
            tokenizer=self.lm.tokenizer,
            ledger=self.ledger,
            request=self._whole if request is None else request,
            session=self._session,
            open_second=self._open_second,
        )
        return edit.make(context)

    def logits_parts(self) -> list[Any]:
        return [self.make(method, edit, "model") for method, edit in self.plan.edits(Slot.LOGITS)]

    def new_request(self) -> Callable[[int], LayerParts]:
        """What makes the parts of each layer for one request."""
        request: dict[str, Any] = {}
        return lambda layer: self._layer_parts(layer, request)

    def _layer_parts(self, layer: int, request: dict[str, Any]) -> LayerParts:
        made = LayerParts()
        for method, edit in self.plan.pairs:
            if not edit.slot.in_cache or layer not in edit.where:
                continue
            part = self.make(method, edit, layer, request)
            if edit.slot is Slot.KEEP:
                made.keep, made.observe = part, part.observe
            elif edit.slot is Slot.ATTEND:
                made.attend.append(part)
            elif edit.slot is Slot.INDEX:
                made.index = part
            else:
                made.stores.append(part)
        return made

    def forget(self) -> None:
        self._session.clear()
        self._whole.clear()


def method_line(method: Method) -> str:
    """What an artifact is keyed by: the method with the knobs that fitting reads."""
    knobs = ", ".join(f"{name}={getattr(method, name)}" for name in method.fit_knobs)
    return f"{method.name}({knobs})" if knobs else method.name


def _names(plan: Plan) -> dict[int, str]:
    names: dict[int, str] = {}
    for method, _ in plan.pairs:
        if id(method) not in names:
            same = sum(name.split("#")[0] == method.name for name in names.values())
            names[id(method)] = f"{method.name}#{same + 1}" if same else method.name
    return names
