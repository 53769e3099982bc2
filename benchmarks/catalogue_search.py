"""Search by words and by meaning over many made papers: seconds to build each index, median and p99 of a search.

    python benchmarks/catalogue_search.py

Two sets: entries as long as the catalogue's, and listed papers, of which only a title and authors are known; both draw
their words from the catalogue's own, by frequency, and so do the searches, of one to four words.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from paretolm import catalogue
from paretolm.catalogue.entry import LISTED, Entry
from paretolm.catalogue.meaning import Meaning
from paretolm.catalogue.search import Words

T = TypeVar("T")
LIMIT = 20  # as on the command line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--searches", type=int, default=500)
    options = parser.parse_args()
    draw, words = random.Random(0), " ".join(entry.text for entry in catalogue.entries()).split()
    queries = [" ".join(draw.choices(words, k=draw.randint(1, 4))) for _ in range(options.searches)]
    for name, papers in {"entries": told(options.entries, words), "listed": listed(options.entries, words)}.items():
        print(f"{len(papers):,} {name}")
        measure("words", lambda papers=papers: Words(papers), queries)
        measure("meaning", lambda papers=papers: Meaning(papers), queries)


def measure(name: str, build: Callable[[], Words | Meaning], queries: Sequence[str]) -> None:
    seconds, index = timed(build)
    taken = np.array([timed(lambda query=query: index.find(query, LIMIT))[0] for query in queries]) * 1e3
    median, late = np.percentile(taken, [50, 99])
    print(
        f"  {name}: index {seconds:.2f} s; search median {median:.1f} ms, p99 {late:.1f} ms, most {taken.max():.1f} ms"
    )


def told(number: int, words: Sequence[str]) -> list[Entry]:
    """As long as the catalogue's."""
    draw, known = random.Random(0), catalogue.entries()
    return [
        replace(
            known[i % len(known)], id=f"made-{i}", title=" ".join(draw.choices(words, k=10)),
            says=" ".join(draw.choices(words, k=30)), claims=" ".join(draw.choices(words, k=20)),
            shows=" ".join(draw.choices(words, k=25)),
        )
        for i in range(number)
    ]  # fmt: skip


def listed(number: int, words: Sequence[str]) -> list[Entry]:
    """As `papers sync` leaves them."""
    draw, known = random.Random(0), catalogue.entries()
    blank = replace(known[0], family="", kind=LISTED, slots=(), needs=(), says="", claims="", shows="")
    return [
        replace(
            blank, id=f"made-{i}", title=" ".join(draw.choices(words, k=10)),
            authors=tuple(" ".join(draw.choices(words, k=2)) for _ in range(5)), categories=("cs.CL", "cs.LG"),
        )
        for i in range(number)
    ]  # fmt: skip


def timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    done = work()
    return time.perf_counter() - start, done


if __name__ == "__main__":
    main()
