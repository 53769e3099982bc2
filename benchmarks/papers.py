"""Search in the catalogue of papers: seconds over many made entries, and whether neighbours in meaning make sense.

    python benchmarks/papers.py

Made entries draw their words from the catalogue's own, by frequency. Neighbours are judged by how often the five
nearest share the family, which no vector holds; beside them stand chance and cosines without the decomposition.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from paretolm import catalogue
from paretolm.catalogue.entry import Entry
from paretolm.catalogue.meaning import Meaning
from paretolm.catalogue.search import Words

T = TypeVar("T")
QUERIES = ("quantization", "sliding window cache", "draft tree speculative decoding", "the model", "zyzzyva")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=10_000)
    options = parser.parse_args()
    many = made(options.entries)
    index = timed(f"index of {len(many):,} entries", lambda: Words(many))
    for query in QUERIES:
        seconds = [once(lambda query=query: index.find(query)) for _ in range(9)]
        print(
            f"  {query!r}: {len(index.find(query, len(many))):,} found, median {statistics.median(seconds) * 1e3:.1f} ms"
        )
    ours = catalogue.entries()
    found = timed(f"vectors of {len(ours)} entries", lambda: Meaning(ours))
    print(f"  {found.vectors.shape[1]} dimensions, {found.vectors.nbytes:,} bytes in memory, none stored")
    print(f"same family among five neighbours, by chance: {chance(ours):.3f}")
    for dimensions in (8, 16, 24, 32, 48, 64, 128, len(ours)):
        print(f"  {dimensions} dimensions: {same_family(ours, dimensions):.3f}")


def made(number: int) -> list[Entry]:
    """Entries as long as the catalogue's, of its words."""
    draw, known = random.Random(0), catalogue.entries()
    words = " ".join(entry.text for entry in known).split()
    return [
        replace(
            known[i % len(known)], id=f"made-{i}", title=" ".join(draw.choices(words, k=10)),
            says=" ".join(draw.choices(words, k=30)), claims=" ".join(draw.choices(words, k=20)),
            shows=" ".join(draw.choices(words, k=25)),
        )
        for i in range(number)
    ]  # fmt: skip


def same_family(entries: Sequence[Entry], dimensions: int) -> float:
    found = Meaning(entries, dimensions)
    return statistics.mean(near.family == e.family for e in entries for near, _ in found.like(e, 5))


def chance(entries: Sequence[Entry]) -> float:
    family = np.array([entry.family for entry in entries])
    return statistics.mean(float((family == name).mean()) for name in family)


def once(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def timed(what: str, work: Callable[[], T]) -> T:
    start = time.perf_counter()
    done = work()
    print(f"{what}: {time.perf_counter() - start:.2f} s")
    return done


if __name__ == "__main__":
    main()
