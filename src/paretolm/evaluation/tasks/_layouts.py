"""Columns of public sets as their publishers name them, turned into the fields our tasks read.

A layout is known by its columns, not by a set's name, so that a file exported from a hub, and another set of the
same layout, are read as well. A line that has our fields stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Fields = Mapping[str, Any]


def _lettered(fields: Fields) -> Fields:
    """ARC, OpenBookQA, CommonsenseQA: choices {text, label}, and the right one's label."""
    choices, key = fields["choices"], str(fields["answerKey"]).strip()
    labels = list(choices["label"])
    question = fields.get("question", fields.get("question_stem"))
    answer = labels.index(key) if key in labels else fields["answerKey"]
    return {"question": question, "choices": list(choices["text"]), "answer": answer}


def _goal(fields: Fields) -> Fields:
    """PIQA."""
    return {"question": fields["goal"], "choices": [fields["sol1"], fields["sol2"]], "answer": fields["label"]}


def _endings(fields: Fields) -> Fields:
    """HellaSwag: ctx_b is the sentence that breaks off."""
    context = f"{fields['ctx_a']} {str(fields['ctx_b']).capitalize()}"
    return {
        "activity": fields["activity_label"],
        "context": context,
        "choices": list(fields["endings"]),
        "answer": _number(fields["label"]),
    }


def _options(fields: Fields) -> Fields:
    """WinoGrande: the answer is '1' or '2'."""
    answer = _number(fields["answer"])
    return {
        "question": fields["sentence"],
        "choices": [fields["option1"], fields["option2"]],
        "answer": answer - 1 if isinstance(answer, int) else answer,
    }


def _pair(fields: Fields) -> Fields:
    """BLiMP."""
    return {"good": fields["sentence_good"], "bad": fields["sentence_bad"], "paradigm": fields["UID"]}


def _last_word(fields: Fields) -> Fields:
    """LAMBADA: the last word is what comes after the last space."""
    context, _, target = str(fields["text"]).rpartition(" ")
    return {"context": context, "target": target}


def _worked(fields: Fields) -> Fields:
    """GSM8K: the number stands after '#### '."""
    solution, _, number = str(fields["answer"]).partition("#### ")
    return {"solution": solution.rstrip("\n"), "answer": number.strip()}


def _spans(fields: Fields) -> Fields:
    """SQuAD: one question a line."""
    return {"questions": [fields["question"]], "answers": [list(fields["answers"]["text"])]}


_LAYOUTS: tuple[tuple[frozenset[str], Callable[[Fields], Fields]], ...] = (
    (frozenset({"question", "choices", "answerKey"}), _lettered),
    (frozenset({"question_stem", "choices", "answerKey"}), _lettered),
    (frozenset({"goal", "sol1", "sol2", "label"}), _goal),
    (frozenset({"activity_label", "ctx_a", "ctx_b", "endings", "label"}), _endings),
    (frozenset({"sentence", "option1", "option2", "answer"}), _options),
    (frozenset({"sentence_good", "sentence_bad", "UID"}), _pair),
    (frozenset({"context", "question", "answers"}), _spans),
)
_ONLY: tuple[tuple[frozenset[str], Callable[[Fields], Fields]], ...] = (
    (frozenset({"text"}), _last_word),
    (frozenset({"question", "answer"}), _worked),
)  # columns that other layouts have too: known only where there are no others


def ours(fields: Fields) -> Fields:
    """The fields with ours put beside them; as they are where no layout is known, or a column is not what it is in
    that layout (the task then says which field is wrong)."""
    for columns, turn in _LAYOUTS:
        if columns <= fields.keys():
            return _turned(fields, turn)
    for columns, turn in _ONLY:
        if columns == fields.keys() and ("####" in str(fields.get("answer", "####"))):
            return _turned(fields, turn)
    return fields


def _turned(fields: Fields, turn: Callable[[Fields], Fields]) -> Fields:
    try:
        return {**fields, **turn(fields)}
    except (KeyError, TypeError, AttributeError, ValueError):
        return fields


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value
