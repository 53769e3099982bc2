"""Search by meaning: latent semantic analysis (Deerwester et al., 1990) of what the catalogue itself says.

Words that keep the same company get near vectors, so that entries without a word in common can be neighbours. The
vectors are made when asked for (benchmarks/papers.py has times) and nothing is stored.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .entry import Entry

DIMENSIONS = 32  # neighbours share a family most often near here (benchmarks/papers.py)
_COMMON = re.compile(
    r"(?:a|an|and|are|as|at|be|by|for|from|has|in|into|is|it|its|less|more|no|not|of|on|one|or|over|than|that|the|their|"
    r"them|then|to|two|under|which|while|with|within|without)$"
)


class Meaning:
    """Vectors [N, D] of unit length over entries; D is at most DIMENSIONS and below N."""

    def __init__(self, entries: Sequence[Entry], dimensions: int = DIMENSIONS) -> None:
        import numpy as np
        from scipy.sparse.linalg import svds

        self._entries = tuple(entries)
        counts = [Counter(_stems(entry.text)) for entry in entries]
        seen = Counter(word for count in counts for word in count)
        shared = sorted(word for word, n in seen.items() if n > 1)
        self._column = {word: i for i, word in enumerate(shared)}
        self._rarity = np.log(len(counts) / np.array([seen[word] for word in shared]))
        matrix = self._weighed(counts)
        rank = min(dimensions, min(matrix.shape) - 1)
        start = np.ones(min(matrix.shape))  # fixed, so that two calls agree
        _, _, self._basis = svds(matrix, k=rank, v0=start)
        self.vectors = _unit(matrix @ self._basis.T)

    def like(self, entry: Entry, limit: int = 10) -> list[tuple[Entry, float]]:
        """Nearest first with the cosine, without the entry itself; none for one that shares no word with any other."""
        row = self._entries.index(entry)
        return [pair for pair in self._nearest(self.vectors[row], limit + 1) if pair[0] is not entry][:limit]

    def find(self, words: str, limit: int = 10) -> list[tuple[Entry, float]]:
        """Nearest to words of a user; none where no two entries have one of them."""
        vector = _unit(self._weighed([Counter(_stems(words))]) @ self._basis.T)[0]
        return self._nearest(vector, limit)

    def _nearest(self, vector: NDArray[np.float64], limit: int) -> list[tuple[Entry, float]]:
        import numpy as np

        if not vector.any():
            return []
        cosines = self.vectors @ vector
        return [(self._entries[i], float(cosines[i])) for i in np.argsort(-cosines, kind="stable")[:limit]]

    def _weighed(self, counts: Sequence[Counter[str]]) -> NDArray[np.float64]:
        """[len(counts), words] of unit length: logarithm of the count times rarity, in a sparse matrix."""
        import numpy as np
        from scipy.sparse import csr_array

        cells = [(r, self._column[w], n) for r, c in enumerate(counts) for w, n in c.items() if w in self._column]
        rows, columns, number = np.array(cells, dtype=np.int64).reshape(-1, 3).T
        values = (1 + np.log(number)) * self._rarity[columns]
        norms = np.sqrt(np.bincount(rows, values**2, len(counts)))
        return csr_array((values / norms[rows], (rows, columns)), shape=(len(counts), len(self._column)))


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _stems(text: str) -> list[str]:
    """Words without their commonest endings; numbers are left out."""
    words = re.findall(r"[a-z]{2,}", text.lower())
    return [re.sub(r"(?<=\w{3})(?:ations?|ings?|ed|es|s|e)$", "", word) for word in words if not _COMMON.match(word)]
