"""Items in the columns that publishers use, made of the embedded text: a few dozen of each set, no set copied."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from paretolm.evaluation.source import TextSource

LETTERS = ("A", "B", "C", "D")
Row = dict[str, Any]


@cache
def sentences() -> tuple[str, ...]:
    """Plain sentences of 8 to 25 words."""
    text = "\n".join(d.text for d in TextSource.open().eval_documents if d.domain in ("fiction", "news_and_speech"))
    found = re.findall(r"[A-Z][^.!?\n\[\]_#*]+[.!?]", text)
    return tuple(dict.fromkeys(s for s in found if 8 <= len(s.split()) <= 25))


def drawn(number: int, count: int) -> list[str]:
    return random.Random(number).sample(sentences(), count)


def halves(sentence: str) -> tuple[str, str]:
    words = sentence.split()
    return " ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])


def _choices(number: int, count: int) -> tuple[str, list[str], int]:
    """A beginning, endings of which one is its own, and which."""
    pairs = [halves(s) for s in drawn(number, count)]
    answer = number % count
    return pairs[answer][0], [ending for _, ending in pairs], answer


def _lettered(number: int, question: str) -> Row:
    begun, endings, answer = _choices(number, 4)
    return {
        "id": f"q{number}",
        question: begun,
        "choices": {"text": endings, "label": list(LETTERS)},
        "answerKey": LETTERS[answer],
    }


def arc(number: int) -> Row:
    return _lettered(number, "question")


def openbookqa(number: int) -> Row:
    return _lettered(number, "question_stem")


def piqa(number: int) -> Row:
    begun, (one, two), answer = _choices(number, 2)
    return {"goal": begun, "sol1": one, "sol2": two, "label": answer}


def hellaswag(number: int) -> Row:
    begun, endings, answer = _choices(number, 4)
    context = f"{drawn(number + 500, 1)[0]}"
    return {
        "ind": number,
        "activity_label": "Reading [title] aloud",
        "ctx_a": context,
        "ctx_b": begun,
        "endings": endings,
        "label": str(answer),
    }


def winogrande(number: int) -> Row:
    before, after = halves(drawn(number, 1)[0])
    names = ("Mary", "the old captain")
    return {
        "sentence": f"{before} _ {after}",
        "option1": names[0],
        "option2": names[1],
        "answer": str(1 + number % 2),
    }


def mmlu(number: int) -> Row:
    begun, endings, answer = _choices(number, 4)
    return {"question": begun, "subject": "anatomy", "choices": endings, "answer": answer}


def blimp(number: int) -> Row:
    good = drawn(number, 1)[0]
    words = good.split()
    return {"sentence_good": good, "sentence_bad": " ".join(words[::-1]), "UID": f"order_{number % 3}"}


def lambada(number: int) -> Row:
    return {"text": " ".join(drawn(number, 3)).rstrip(".!?")}


ROWS: dict[str, Callable[[int], Row]] = {
    "arc-easy": arc,
    "arc-challenge": arc,
    "piqa": piqa,
    "openbookqa": openbookqa,
    "hellaswag": hellaswag,
    "winogrande": winogrande,
    "mmlu": mmlu,
    "blimp": blimp,
    "lambada": lambada,
}


def rows(name: str, count: int = 20) -> list[Row]:
    return [ROWS[name](number) for number in range(count)]
