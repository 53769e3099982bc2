"""How the cells of tasks fall to the workers. Loads no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from .until import Job

FEW = 8  # recipes a worker; with fewer, what they share of a prompt would be read again for too little


def rounds(
    jobs: Mapping[str, Job], whole: Collection[str], dense: Collection[str], alone: Mapping[str, str], size: int
) -> list[list[Job]]:
    """Jobs that may run side by side, round after round.

    jobs: task -> cells, each with its key and recipe. whole: tasks that stay in one piece. dense: keys of the untouched
    model. A task of many recipes is shared among `size` workers once the untouched model is done, with which the others
    are compared: in runs those whose prompt is read once for several, by turns those in `alone`, which read their own;
    of these, recipes that fit the same stay together (alone: recipe -> what it fits, or nothing)."""
    first, second = list[Job](), list[Job]()
    for task, job in jobs.items():
        untouched = [cell for cell in job if cell["key"] in dense]
        rest = [cell for cell in job if cell["key"] not in dense]
        if task in whole or size == 1 or len(rest) < FEW * size:
            second.append(job)
            continue
        first += [untouched] if untouched else []
        second += _parts(rest, alone, size)
    return [found for found in (first, second) if found]


def _parts(cells: Job, alone: Mapping[str, str], size: int) -> list[Job]:
    shared = [cell for cell in cells if cell["recipe"] not in alone]
    borders = [len(shared) * n // size for n in range(size + 1)]
    parts = [shared[a:b] for a, b in pairwise(borders)]
    own: list[Job] = [[] for _ in parts]
    for group in _fitted_together([cell for cell in cells if cell["recipe"] in alone], alone):
        min(own, key=len).extend(group)
    return [part for run, mine in zip(parts, own, strict=True) if (part := run + mine)]


def _fitted_together(cells: Job, alone: Mapping[str, str]) -> Sequence[Job]:
    groups: dict[str, Job] = {}
    for cell in cells:
        groups.setdefault(alone[cell["recipe"]] or cell["key"], []).append(cell)
    return list(groups.values())
