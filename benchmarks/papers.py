"""Whether neighbours in meaning make sense in the catalogue of papers; benchmarks/catalogue_search.py has times.

    python benchmarks/papers.py

Neighbours are judged by how often the five nearest share the family, which no vector holds; beside them stand chance
and cosines without the decomposition.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence

import numpy as np

from paretolm import catalogue
from paretolm.catalogue.entry import Entry
from paretolm.catalogue.meaning import Meaning


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    ours = catalogue.entries()
    found = Meaning(ours)
    print(f"{found.vectors.shape[1]} dimensions, {found.vectors.nbytes:,} bytes in memory, none stored")
    print(f"same family among five neighbours, by chance: {chance(ours):.3f}")
    for dimensions in (8, 16, 24, 32, 48, 64, 128, len(ours)):
        print(f"  {dimensions} dimensions: {same_family(ours, dimensions):.3f}")


def same_family(entries: Sequence[Entry], dimensions: int) -> float:
    found = Meaning(entries, dimensions)
    return statistics.mean(near.family == e.family for e in entries for near, _ in found.like(e, 5))


def chance(entries: Sequence[Entry]) -> float:
    family = np.array([entry.family for entry in entries])
    return statistics.mean(float((family == name).mean()) for name in family)


if __name__ == "__main__":
    main()
