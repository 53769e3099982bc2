"""Prompt, target and choices of a document, by the templates of a task's YAML."""

from __future__ import annotations

import ast
import re
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from .._data import Record
from ._config import Config


def _replaced(text: str, pattern: str, repl: str, count: int = 0) -> str:
    return re.sub(pattern, repl, text, count=count)


_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
_ENVIRONMENT.filters["regex_replace"] = _replaced


class Document:
    """A record seen through a YAML. Every answer raises TextError where a template cannot be filled in."""

    def __init__(self, config: Config, record: Record) -> None:
        self.config, self.record = config, record

    def text(self) -> str | int:
        """A number says which of several contexts is the right one."""
        return self._scalar("doc_to_text", "")

    def target(self) -> str | int | list[Any]:
        """A text, the number of a choice, or several right ones."""
        given = self.config.get("doc_to_target", "")
        if isinstance(given, list):
            return given
        found = self._scalar("doc_to_target", "")
        if isinstance(found, str) and given not in self.record.fields and found[:1] == "[" and found[-1:] == "]":
            literal = _literal(found)
            return literal if isinstance(literal, list) else found
        return found

    def choices(self) -> list[str]:
        given = self.config.get("doc_to_choice")
        if isinstance(given, dict):
            given = list(given.values())
        elif isinstance(given, str):
            fields = self.record.fields
            given = fields[given] if given in fields else _literal(self._filled("doc_to_choice", given))
        if not isinstance(given, list) or len(given) < 2:
            self.config.fail(f"has no doc_to_choice that gives two or more choices for {self.record.where}")
        return [str(choice) for choice in given]

    def description(self) -> str:
        given = str(self.config.get("description", ""))
        return str(self.record.fields[given]) if given in self.record.fields else self._filled("description", given)

    def shot(self) -> str:
        """As a worked example: text, target and what parts it from the next."""
        text, target = self.text(), self.target()
        if isinstance(text, int):
            text = self.choices()[text]
        if isinstance(target, int) and self.config.get("doc_to_choice") is not None:
            target = self.choices()[target]
        if isinstance(target, list):
            target = target[0]
        between = self.config.get("target_delimiter", " ") if target != "" else ""
        return f"{text}{between}{target}" + (self.config.get("fewshot_delimiter", "\n\n") if target != "" else "")

    def _scalar(self, key: str, default: str) -> Any:
        given = self.config.get(key, default)
        if isinstance(given, str) and given in self.record.fields:
            return self.record.fields[given]
        if not isinstance(given, str):
            return given
        found = self._filled(key, given)
        return int(found) if found.isdigit() and self.config.get("doc_to_choice") is not None else found

    def _filled(self, key: str, template: str) -> str:
        try:
            return _ENVIRONMENT.from_string(template).render(**self.record.fields)
        except (jinja2.TemplateError, TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
            self.config.fail(f"has a {key} that cannot be filled in for {self.record.where}: {error}")


def _literal(text: str) -> Any:
    """A Python literal, or None."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def shots(config: Config) -> str:
    """Worked examples before every document: the first `num_fewshot` of their split, in order."""
    number = config.get("num_fewshot", 0)
    if not number:
        return ""
    how = config.get("fewshot_config", {})
    if not isinstance(how, dict) or set(how) - {"sampler", "split"} or how.get("sampler") != "first_n":
        config.fail(
            f"draws its num_fewshot: {number} examples at random, which is not supported: "
            "set num_fewshot: 0, or fewshot_config: {sampler: first_n}"
        )
    split = how.get("split") or config.get("fewshot_split")
    if split is None or split == (config.get("test_split") or config.get("validation_split")):
        config.fail("has no fewshot_split apart from what is scored")
    known = config.records(split)[:number]
    if len(known) < number:
        config.fail(f"has {len(known)} of {number} examples in the split {split}")
    return "".join(Document(config, record).shot() for record in known)
