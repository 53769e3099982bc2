"""Instructions that a program can check (IFEval, 2311.07911): is a rule kept by a text?

Rules have the names and arguments of the published set, judged strictly: as written, nothing peeled off. Two stand
apart: sentences are counted at full stops, question and exclamation marks (there by a trained splitter), and the
language of a response is not judged, since that takes another model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

Args = Mapping[str, Any]


def _related(count: int, relation: str, bound: int) -> bool:
    return count < bound if relation == "less than" else count >= bound


def _has(text: str, word: str) -> bool:
    return re.search(re.escape(word), text, re.IGNORECASE) is not None


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def _sentences(text: str) -> int:
    return sum(bool(part.strip()) for part in re.split(r"(?<=[.!?])[\"')\]]*\s+", text))


def _highlights(text: str) -> int:
    single = [s for s in re.findall(r"\*[^\n*]*\*", text) if s.strip("*").strip()]
    double = [s for s in re.findall(r"\*\*[^\n*]*\*\*", text) if s.strip("*").strip()]
    return len(single) + len(double)


def _bullets(text: str) -> int:
    return len(re.findall(r"^\s*\*[^*].*$", text, re.MULTILINE)) + len(re.findall(r"^\s*-.*$", text, re.MULTILINE))


def _paragraphs(text: str, a: Args) -> bool:
    """Divided by ***; only the first and the last may be empty."""
    parts = [p.strip() for p in re.split(r"\s?\*\*\*\s?", text)]
    inner = parts[1 if not parts[0] else 0 : -1 if len(parts) > 1 and not parts[-1] else len(parts)]
    return all(inner) and len(inner) == a["num_paragraphs"]


def _nth_word(text: str, a: Args) -> bool:
    parts = [p.strip() for p in text.split("\n\n") if p.strip()]
    nth = a["nth_paragraph"]
    if len(parts) != a["num_paragraphs"] or nth > len(parts):
        return False
    words = _words(parts[nth - 1])
    return bool(words) and words[0].lower() == str(a["first_word"]).lower()


def _postscript(text: str, a: Args) -> bool:
    marker = "".join(rf"{re.escape(c)}\s?" for c in str(a["postscript_marker"]).lower() if not c.isspace())
    return re.search(marker, text.lower()) is not None


def _json(text: str) -> bool:
    bare = re.sub(r"^```(json|Json|JSON)?|```$", "", text.strip()).strip()
    with suppress(ValueError):
        json.loads(bare)
        return True
    return False


def _two(text: str) -> bool:
    parts = text.split("******")
    inner = [p.strip() for i, p in enumerate(parts) if p.strip() or 0 < i < len(parts) - 1]
    return len(inner) == 2 and all(inner) and inner[0] != inner[1]


def _sections(text: str, a: Args) -> bool:
    return len(re.findall(rf"{re.escape(a['section_spliter'])}\s?\d+", text)) >= a["num_sections"]


RULES: Mapping[str, Callable[[str, Args], bool]] = {
    "punctuation:no_comma": lambda t, a: "," not in t,
    "length_constraints:number_words": lambda t, a: _related(len(_words(t)), a["relation"], a["num_words"]),
    "length_constraints:number_sentences": lambda t, a: _related(_sentences(t), a["relation"], a["num_sentences"]),
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:nth_paragraph_first_word": _nth_word,
    "keywords:existence": lambda t, a: all(_has(t, word) for word in a["keywords"]),
    "keywords:forbidden_words": lambda t, a: (
        not any(re.search(rf"\b{re.escape(word)}\b", t, re.IGNORECASE) for word in a["forbidden_words"])
    ),
    "keywords:frequency": lambda t, a: _related(
        len(re.findall(re.escape(a["keyword"]), t, re.IGNORECASE)), a["relation"], a["frequency"]
    ),
    "keywords:letter_frequency": lambda t, a: _related(
        t.lower().count(a["letter"].lower()), a["let_relation"], a["let_frequency"]
    ),
    "detectable_format:number_highlighted_sections": lambda t, a: _highlights(t) >= a["num_highlights"],
    "detectable_format:title": lambda t, a: any(s.strip("<> ") for s in re.findall(r"<<[^\n]+>>", t)),
    "detectable_format:number_bullet_lists": lambda t, a: _bullets(t) == a["num_bullets"],
    "detectable_format:json_format": lambda t, a: _json(t),
    "detectable_format:multiple_sections": _sections,
    "detectable_format:constrained_response": lambda t, a: any(
        f"My answer is {word}." in t for word in ("yes", "no", "maybe")
    ),
    "detectable_content:number_placeholders": lambda t, a: len(re.findall(r"\[.*?\]", t)) >= a["num_placeholders"],
    "detectable_content:postscript": _postscript,
    "combination:repeat_prompt": lambda t, a: t.strip().lower().startswith(str(a["prompt_to_repeat"]).strip().lower()),
    "combination:two_responses": lambda t, a: _two(t),
    "startend:quotation": lambda t, a: len(t.strip()) > 1 and t.strip()[0] == t.strip()[-1] == '"',
    "startend:end_checker": lambda t, a: t.strip().strip('"').lower().endswith(str(a["end_phrase"]).strip().lower()),
    "change_case:english_lowercase": lambda t, a: t.islower(),
    "change_case:english_capital": lambda t, a: t.isupper(),
    "change_case:capital_word_frequency": lambda t, a: _related(
        sum(word.isupper() for word in _words(t)), a["capital_relation"], a["capital_frequency"]
    ),
}
UNJUDGED = frozenset({"language:response_language"})


def kept(rule: str, text: str, args: Args) -> bool:
    """Whether a text keeps a rule; an empty text keeps none."""
    return bool(text.strip()) and RULES[rule](text, args)
