"""How the cells of tasks fall to the workers. Loads no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise

from .until import Job

FEW = 8  # recipes a worker; with fewer, what they share of a prompt would be read again for too little
OWN = 4  # so many of them is a recipe worth that reads its own prompt: apart it loses nothing
FREE = 2  # recipes of a job that goes to whoever is free; each job reads the task's items again


def rounds(
    jobs: Mapping[str, Job], whole: Collection[str], dense: Collection[str], alone: Mapping[str, str], size: int
) -> list[list[Job]]:
    """Jobs that may run side by side, round after round.

    jobs: task -> cells, each with its key and recipe. whole: tasks that stay in one piece. dense: keys of the untouched
    model. A task of many recipes is shared among up to `size` workers once the untouched model is done, with which the
    others are compared: a run a worker of those whose prompt is read once for several, and small jobs, which go to
    whoever is free, of those in `alone`, which read their own and take very different times; recipes that fit the same
    stay together (alone: recipe -> what it fits, or nothing)."""
    first, second = list[Job](), list[Job]()
    for task, job in jobs.items():
        untouched = [cell for cell in job if cell["key"] in dense]
        rest = [cell for cell in job if cell["key"] not in dense]
        worth = sum(OWN if cell["recipe"] in alone else 1 for cell in rest)
        pieces = min(size, len(rest), worth // FEW)
        if task in whole or pieces < 2:
            second.append(job)
            continue
        first += [untouched] if untouched else []
        second += _parts(rest, alone, pieces)
    return [found for found in (first, second) if found]


def _parts(cells: Job, alone: Mapping[str, str], size: int) -> list[Job]:
    """Those that take long first."""
    shared = [cell for cell in cells if cell["recipe"] not in alone]
    borders = [len(shared) * n // size for n in range(size + 1)]
    runs = [run for a, b in pairwise(borders) if (run := shared[a:b])]
    fitted, single = dict[str, Job](), Job()
    for cell in cells:
        if what := alone.get(cell["recipe"]):
            fitted.setdefault(what, []).append(cell)
        elif what is not None:
            single.append(cell)
    return [*fitted.values(), *runs, *(single[n : n + FREE] for n in range(0, len(single), FREE))]
