"""Errors of optical character recognition, put into clean text: wrong words, or wrong formatting.

Zhang et al. 2024 (OHRBench) perturb text in both ways at several degrees, following what real engines get wrong.
Here a share of the words is damaged; the confusions are pairs of shapes that engines are known to mix up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np

_CONFUSED = {
    "rn": ("m",), "m": ("rn",), "cl": ("d",), "d": ("cl",), "li": ("h",), "h": ("b", "li"), "vv": ("w",), "w": ("vv",),
    "l": ("1", "I"), "I": ("l", "1"), "i": ("l", "j"), "o": ("0", "c"), "O": ("0", "Q"), "e": ("c", "o"), "c": ("e",),
    "a": ("o", "n"), "n": ("u", "ri"), "u": ("n", "ii"), "s": ("5",), "S": ("5",), "t": ("f", "l"), "f": ("t",),
    "g": ("9", "q"), "q": ("g",), "y": ("v",), "b": ("6", "h"), "B": ("8",), "z": ("2",), "Z": ("2",),
    "0": ("O", "6"), "1": ("l", "7"), "2": ("Z",), "3": ("8",), "4": ("A", "9"), "5": ("S", "6"), "6": ("b", "5"),
    "7": ("1", "T"), "8": ("B", "3"), "9": ("g", "4"),
}  # fmt: skip
_WORD = re.compile(r"\S+")
Damage = Callable[[str, np.random.Generator], str]


def semantic(word: str, rng: np.random.Generator) -> str:
    """One confusion of shapes; a word without any loses a character."""
    places = [(i, shape) for i in range(len(word)) for shape in (word[i : i + 2], word[i]) if shape in _CONFUSED]
    if places:
        at, shape = places[rng.integers(len(places))]
        options = _CONFUSED[shape]
        return word[:at] + options[rng.integers(len(options))] + word[at + len(shape) :]
    at = int(rng.integers(len(word)))
    return word[:at] + word[at + 1 :]


def formatting(word: str, rng: np.random.Generator) -> str:
    """Marks, spaces and line breaks that were not on the page; every character of the word stays, in order."""
    half = max(1, len(word) // 2)
    forms = (
        f"**{word}**",
        f"<b>{word}</b>",
        f"\\textit{{{word}}}",
        f"| {word} |",
        f"\n{word}",
        f"{word}\n\n",
        f"{word[:half]}-\n{word[half:]}" if len(word) > 3 else f"  {word}",
        f"{word[:half]} {word[half:]}" if len(word) > 3 else f"{word}  ",
    )
    return forms[int(rng.integers(len(forms)))]


KINDS: Mapping[str, Damage] = {"semantic": semantic, "formatting": formatting}


def noisy(text: str, kind: str, share: float, seed: int) -> str:
    """`text` with each word damaged with probability `share`; what is damaged at a small share is at every larger."""
    rng = np.random.default_rng(seed)
    damage = KINDS[kind]

    def one(match: re.Match[str]) -> str:
        chance, own = rng.random(), int(rng.integers(1 << 32))
        return damage(match[0], np.random.default_rng(own)) if chance < share else match[0]

    return _WORD.sub(one, text)
