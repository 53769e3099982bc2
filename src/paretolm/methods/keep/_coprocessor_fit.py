"""How a coprocessor is learnt: by the frozen model's loss on what follows an augmentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from paretolm.contracts import Altered, Fitter, ModelView
from paretolm.errors import TextError

from ._coprocessor import Lesson, Rotation, augmented, lesson, shapes

SHORTEST, LONGEST = 8, 256  # tokens of a piece that is learnt from; before an augmentation stand at least SHORTEST
RATE = 5e-3


@dataclass(frozen=True)
class Course:
    """latents, width: of the coprocessor; ahead: tokens learnt from after each of `points` augmentations of a text;
    steps: texts."""

    latents: int
    width: int
    ahead: int
    points: int
    steps: int


def fresh(view: ModelView, course: Course, draw: torch.Generator) -> dict[str, Tensor]:
    """Random tensors of a coprocessor that adds entries worth nothing: values begin at 0."""
    found = {"soft": torch.randn(course.latents, course.width, generator=draw)}
    for layer in sorted(view.full_layers):
        for name, shape in shapes(view.layers[layer], course.width).items():
            spread = 0.0 if name in ("value", "read", "down") else shape[1] ** -0.5
            found[f"{layer}.{name}"] = torch.randn(shape, generator=draw) * spread
    return found


def pieces(fitter: Fitter, budget: int | None) -> list[Tensor]:
    """Ids [1, T] of at most LONGEST tokens, of `budget` tokens in all. Raises TextError where there are none."""
    found, left = [], budget
    for document in fitter.documents():
        for piece in document.split(LONGEST, dim=1):
            if piece.shape[1] >= SHORTEST + 2 and (left is None or left > 0):
                left = None if left is None else left - piece.shape[1]
                found.append(piece)
    if not found:
        raise TextError(
            f"cache-coprocessor: the fitting text has no document of {SHORTEST + 2} tokens; give it more text"
        )
    return found


def num_points(view: ModelView, wanted: int) -> int:
    """Augmentations that can share a forward: copies of a text's continuation stand apart by positions and by our
    mask, which layers without rotary positions or with attention of their own do not know."""
    return wanted if view.rope is not None and len(view.full_layers) == view.num_layers else 1


def learn(fitter: Fitter, course: Course, budget: int | None) -> dict[str, Tensor]:
    """The tensors of a coprocessor after `steps` pieces of text in random order, each seen about as often as others.

    Raises TextError without text."""
    found, view = pieces(fitter, budget), fitter.view
    rotation = Rotation(fitter.inv_freq, view.rope is None or view.rope.halves)
    points = num_points(view, course.points)
    with torch.inference_mode(False), torch.enable_grad():
        draw = torch.Generator().manual_seed(0)
        tensors = {name: x.to(found[0].device).requires_grad_() for name, x in fresh(view, course, draw).items()}
        optimizer = torch.optim.AdamW(tensors.values(), lr=RATE, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=max(2, course.steps))
        for _, ids in zip(range(course.steps), _shuffled(found, draw), strict=False):
            ahead = min(course.ahead, ids.shape[1] - 1 - SHORTEST)
            ends = SHORTEST + torch.randperm(ids.shape[1] - SHORTEST - ahead, generator=draw)[:points]
            loss = _loss(fitter, lesson(ids.clone(), ends.to(ids.device), ahead), tensors, rotation)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(tensors.values(), 1.0)
            optimizer.step()
            schedule.step()
    return {name: x.detach() for name, x in tensors.items()}


def _loss(fitter: Fitter, given: Lesson, tensors: Mapping[str, Tensor], rotation: Rotation) -> Tensor:
    """Mean over what follows the augmentations."""
    positions = given.positions if len(given.ends) > 1 else None
    change = Altered(positions=positions, attention=augmented(given, tensors, rotation))
    logits, _ = fitter.altered(given.ids, change)
    return functional.cross_entropy(logits[0, given.num_text :].float(), given.targets)


def _shuffled(found: list[Tensor], draw: torch.Generator) -> Iterator[Tensor]:
    while True:
        for place in torch.randperm(len(found), generator=draw).tolist():
            yield found[place]
