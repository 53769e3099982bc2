"""What lm-evaluation-harness does with a generated text before and when it is graded."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ._config import Config

Step = Callable[[str], str]
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NUMBER = r"#### (\-?[0-9\.\,]+)"
_DIGITS = str.maketrans("", "", string.digits)
_PLAIN: Mapping[str, Step] = {
    "take_first": lambda text: text,
    "lowercase": str.lower,
    "uppercase": str.upper,
    "remove_whitespace": str.strip,
}
_GRADED = ("regexes_to_ignore", "ignore_case", "ignore_punctuation", "ignore_numbers")
_TOLD = ("metric", "aggregation", "higher_is_better", "hf_evaluate")


def pipeline(config: Config, wanted: str | None) -> Step:
    """The filters of this name in the filter_list, by default its first; nothing is done where there is no list."""
    given = config.get("filter_list", [])
    names = [str(f.get("name")) for f in given]
    if wanted is not None and wanted not in names:
        config.fail(f"has no filter {wanted!r}, only {', '.join(names) or 'none'}")
    if not given:
        return lambda text: text
    chosen = given[names.index(wanted) if wanted else 0]
    steps = [_step(config, one) for one in chosen.get("filter", [])]

    def run(text: str) -> str:
        for step in steps:
            text = step(text)
        return text

    return run


def _step(config: Config, given: Mapping[str, Any]) -> Step:
    name = given.get("function")
    if name in _PLAIN:
        return _PLAIN[str(name)]
    if name != "regex" or not set(given) <= {"function", "regex_pattern", "group_select", "fallback"}:
        config.fail(f"has the filter {name} ({', '.join(map(str, given))}); supported are regex, {', '.join(_PLAIN)}")
    pattern = re.compile(str(given.get("regex_pattern", _NUMBER)))
    which, fallback = int(given.get("group_select", 0)), str(given.get("fallback", "[invalid]"))
    return lambda text: extracted(text, pattern, which, fallback)


def extracted(text: str, pattern: re.Pattern[str], which: int, fallback: str) -> str:
    """One of all matches; of its groups the first that is not empty."""
    found = pattern.findall(text)
    if not -len(found) <= which < len(found):
        return fallback
    match = found[which]
    if isinstance(match, tuple):
        match = next((group for group in match if group), fallback)
    return str(match).strip()


def matcher(config: Config, given: Mapping[str, Any]) -> Callable[[str, Sequence[str]], float]:
    """exact_match under the options of its entry in the metric_list: whether the text is one of the answers."""
    for key in given:
        if key not in _GRADED + _TOLD:
            config.fail(f"gives exact_match {key}: {given[key]!r}, which is not supported")

    def bare(text: str) -> str:
        for pattern in given.get("regexes_to_ignore") or ():
            text = re.sub(pattern, "", text)
        if given.get("ignore_case"):
            text = text.lower()
        if given.get("ignore_punctuation"):
            text = text.translate(_PUNCTUATION)
        return text.translate(_DIGITS) if given.get("ignore_numbers") else text

    return lambda text, answers: float(bare(text) in {bare(a) for a in answers})
