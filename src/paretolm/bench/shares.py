"""How the cells of tasks fall to the workers. Loads no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise

from .until import Job

FEW = 8  # recipes a worker; with fewer, what they share of a prompt would be read again for too little


def rounds(
    jobs: Mapping[str, Job], whole: Collection[str], dense: Collection[str], alone: Collection[str], size: int
) -> list[list[Job]]:
    """Jobs that may run side by side, round after round.

    jobs: task -> cells, each with its key and recipe. whole: tasks that stay in one piece. dense: keys of the untouched
    model. A task of many recipes is shared among `size` workers once the untouched model is done, with which the others
    are compared: in runs those whose prompt is read once for several, by turns those in `alone`, which read their own."""
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


def _parts(cells: Job, alone: Collection[str], size: int) -> list[Job]:
    own = [cell for cell in cells if cell["recipe"] in alone]
    shared = [cell for cell in cells if cell["recipe"] not in alone]
    borders = [len(shared) * n // size for n in range(size + 1)]
    runs = [shared[a:b] for a, b in pairwise(borders)]
    return [part for n, run in enumerate(runs) if (part := run + own[n::size])]
