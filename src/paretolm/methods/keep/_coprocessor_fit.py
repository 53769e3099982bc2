"""How a coprocessor is learnt: by the frozen model's loss on what follows an augmentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from paretolm.contracts import Altered, Fitter, ModelView
from paretolm.methods.attend.select._predictor import texts as pieces

from ._coprocessor import Lesson, Rotation, augmented, lesson, shapes

EARLIEST = 32  # tokens before an augmentation, in a piece that has four times as many
RATE = 0.032  # of a step, shared out over the width: a step moves latents as far whatever it is
SMALL = ("key", "value", "down")  # what begins at 0: a latent is at first what it reads, which hardly disturbs


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
    """Random tensors of a coprocessor whose latents are means of the entries it reads."""
    found = {"soft": torch.randn(course.latents, course.width, generator=draw)}
    for layer in sorted(view.full_layers):
        for name, shape in shapes(view.layers[layer], course.width).items():
            spread = 0.0 if name in SMALL else shape[1] ** -0.5
            found[f"{layer}.{name}"] = torch.randn(shape, generator=draw) * spread
    return found


def texts(fitter: Fitter, budget: int | None) -> list[Tensor]:
    """Ids [1, T] of the pieces of text, of `budget` tokens in all, each begun as the tokenizer begins a text. Raises
    TextError where there are none."""
    found = pieces("cache-coprocessor", fitter, budget)
    sign = getattr(fitter.tokenizer, "bos_token_id", None)
    if sign != int(found[0][0, 0]):
        return found
    begin = found[0][:, :1]
    return [ids if int(ids[0, 0]) == sign else torch.cat([begin, ids], dim=1) for ids in found]


def num_points(view: ModelView, wanted: int) -> int:
    """Augmentations that can share a forward: copies of a text's continuation stand apart by positions and by our
    mask, which layers without rotary positions or with attention of their own do not know."""
    return wanted if view.rope is not None and len(view.full_layers) == view.num_layers else 1


def learn(fitter: Fitter, course: Course, budget: int | None) -> dict[str, Tensor]:
    """The tensors of a coprocessor after `steps` pieces of text in random order, each seen about as often as others.

    Raises TextError without text."""
    found, view = texts(fitter, budget), fitter.view
    rotation = Rotation(fitter.inv_freq, view.rope is None or view.rope.halves)
    points = num_points(view, course.points)
    with torch.inference_mode(False), torch.enable_grad():
        draw = torch.Generator().manual_seed(0)
        tensors = {name: x.to(found[0].device).requires_grad_() for name, x in fresh(view, course, draw).items()}
        rate = RATE / course.width
        optimizer = torch.optim.AdamW(tensors.values(), lr=rate, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(2, course.steps))
        for _, ids in zip(range(course.steps), _shuffled(found, draw), strict=False):
            loss = _loss(fitter, _drawn(ids.clone(), course.ahead, points, draw), tensors, rotation)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(tensors.values(), 1.0)
            optimizer.step()
            schedule.step()
    return {name: x.detach() for name, x in tensors.items()}


def _drawn(ids: Tensor, ahead: int, points: int, draw: torch.Generator) -> Lesson:
    """At most `points` random augmentations of ids [1, T], T at least SHORTEST."""
    size = ids.shape[1]
    first = min(EARLIEST, size // 4)
    ahead = min(ahead, size - 1 - first)
    ends = first + torch.randperm(size - first - ahead, generator=draw)[:points]
    return lesson(ids, ends.to(ids.device), ahead)


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
