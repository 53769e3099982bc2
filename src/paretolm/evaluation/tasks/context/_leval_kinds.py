"""What L-Eval asks of a model in each of its task types, and how an answer is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ....errors import TextError
from ...metrics.answers import exact_match, f1, last_number, same_number, shared
from ...metrics.overlap import rouge_l
from .._data import Record

_LETTERS = re.compile(r"\b[A-D]+\b")
_STATED = re.compile(r"(?i)the answer is\s*:?\s*(\S+)")


@dataclass(frozen=True)
class Kind:
    """closed: graded as right or wrong. ask: how the prompt ends, from question and right answer. stops: texts that
    end an answer."""

    name: str
    closed: bool
    ask: Callable[[str, str], str]
    grade: Callable[[str, Sequence[str]], dict[str, float]]
    stops: tuple[str, ...] = ("\n",)
    slack: float = 1.0


def _plain(question: str, answer: str) -> str:
    return f"Question: {question}\nGive the answer only.\nAnswer:"


def _letter(question: str, answer: str) -> str:
    return (
        f"Question: {question}\nGive the letter of the right choice only, or letters where several are right.\nAnswer:"
    )


def _worked(question: str, answer: str) -> str:
    return f"Question: {question}\nSolution:"


def _of_length(question: str, answer: str) -> str:
    """With the number of words of the right answer, so that scores by overlap do not reward a length."""
    return f"Instruction: {question}\nAnswer in {len(answer.split())} words.\nAnswer:"


def letters(text: str) -> str:
    """The first run of choice letters, in order; '(B) because' is B."""
    found = _LETTERS.search(text)
    return "".join(sorted(set(found[0]))) if found else ""


def stated_number(text: str) -> str | None:
    """What 'The answer is' names, else the last number of the first paragraph."""
    stated = _STATED.search(text)
    return last_number(stated[1] if stated else text.strip().partition("\n\n")[0])


def truth(text: str) -> str:
    """The first 'true' or 'false'."""
    found = re.search(r"(?i)\b(true|false)\b", text)
    return found[1].lower() if found else ""


def _by_letters(text: str, answers: Sequence[str]) -> dict[str, float]:
    found, right = letters(text), letters(answers[0])
    return {"exact_match": found == right, "f1": shared(found, right)}


def _by_number(text: str, answers: Sequence[str]) -> dict[str, float]:
    found = stated_number(text)
    right = same_number(found, stated_number(answers[0]) or "")
    return {"exact_match": right, "f1": f1(found or "", [stated_number(answers[0]) or ""])}


def _by_truth(text: str, answers: Sequence[str]) -> dict[str, float]:
    found, right = truth(text), truth(answers[0])
    return {"exact_match": found == right, "f1": f1(found, [right])}


def _by_words(text: str, answers: Sequence[str]) -> dict[str, float]:
    return {"exact_match": exact_match(text, answers), "f1": f1(text, answers)}


def _by_overlap(text: str, answers: Sequence[str]) -> dict[str, float]:
    return {"f1": f1(text, answers), "rouge_l": max(rouge_l(text, a) for a in answers)}


CHOICE = Kind("choice", True, _letter, _by_letters)
NUMBER = Kind("number", True, _worked, _by_number, ("\n\n", "Question:"), slack=8.0)
TRUTH = Kind("truth", True, _plain, _by_truth)
SHORT = Kind("short", True, _plain, _by_words)
OPEN = Kind("open", False, _of_length, _by_overlap, ("\n\n",), slack=1.5)
KINDS: Mapping[str, Kind] = {k.name: k for k in (CHOICE, NUMBER, TRUTH, SHORT, OPEN)}
_CLOSED = {"coursera": CHOICE, "quality": CHOICE, "tpo": CHOICE, "gsm": NUMBER, "gsm100": NUMBER, "sci_fi": TRUTH}
_CLOSED |= {"topic_retrieval": SHORT, "topic_retrieval_longchat": SHORT, "topic_recall": SHORT, "codeu": SHORT}


@dataclass(frozen=True)
class Task:
    """One question of a document; answers: accepted ones."""

    question: str
    answers: tuple[str, ...]


def kind_of(name: str, record: Record) -> Kind:
    """By the line's field kind, else by the set's name; what has no closed name is open. Raises TextError."""
    given = record.fields.get("kind")
    if given is not None:
        if given not in KINDS:
            record.fail("kind", f"one of {', '.join(KINDS)}")
        return KINDS[given]
    return _CLOSED.get(name.lower().removeprefix("long_"), OPEN)


def tasks_of(record: Record) -> tuple[str, list[Task]]:
    """Document, and its questions, under our names (context, questions, answers) or L-Eval's (input, instructions,
    outputs). Raises TextError."""
    ours = "context" in record.fields or "input" not in record.fields
    names = ("context", "questions", "answers") if ours else ("input", "instructions", "outputs")
    questions, answers = record.texts(names[1]), record.fields.get(names[2])
    if not isinstance(answers, list) or len(answers) != len(questions):
        raise TextError(f"{record.where}: {names[2]} must be a list of {len(questions)}, one for each question")
    accepted = [tuple(map(str, a)) if isinstance(a, list) else (_loyal(str(a)),) for a in answers]
    if not all(a and all(x.strip() for x in a) for a in accepted):
        raise TextError(f"{record.where}: {names[2]} has an empty answer")
    return record.text(names[0]), [Task(q, a) for q, a in zip(questions, accepted, strict=True)]


def _loyal(answer: str) -> str:
    """Of L-Eval's sci_fi answers 'True [fact: False]' the part that the document says."""
    return answer.partition("[fact")[0].strip()
