"""JSON schema of a recipe file, from the index: for editors and forms; needs no torch."""

from __future__ import annotations

import ast
from typing import Any

from .index import methods
from .source import KnobInfo, MethodInfo

_TYPES: dict[str, dict[str, Any]] = {
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "str": {"type": "string"},
    "None": {"const": "none"},
    "Budget": {"type": "string", "pattern": r"^[0-9]*\.?[0-9]+(tok|%)$"},
    "ModelRef": {
        "anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "properties": {"model": {"type": "string"}, "recipe": {"type": "string"}},
                "required": ["model"],
                "additionalProperties": False,
            },
        ]
    },
}


def schema() -> dict[str, Any]:
    """What `Recipe.from_file` reads, methods of other packages left out."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "recipe",
        "type": "object",
        "properties": {"method": {"type": "array", "items": {"oneOf": [_method(m) for m in methods()]}}},
        "additionalProperties": False,
    }


def _method(info: MethodInfo) -> dict[str, Any]:
    return {
        "description": info.summary,
        "type": "object",
        "properties": {"name": {"const": info.name}, **{k.name: _knob(k) for k in info.knobs}},
        "required": ["name", *(k.name for k in info.knobs if k.default is None)],
        "additionalProperties": False,
    }


def _knob(info: KnobInfo) -> dict[str, Any]:
    kinds = [_kind(node) for node in _options(ast.parse(info.annotation, mode="eval").body)]
    if info.choices:
        kinds = [{"enum": list(info.choices)}]
    for kind in kinds:
        if kind.get("type") in ("integer", "number"):
            kind |= {k: v for k, v in (("minimum", info.low), ("maximum", info.high)) if v is not None}
    found = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    return {"description": info.help, **found}


def _options(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp):
        return [*_options(node.left), *_options(node.right)]
    return [node]


def _kind(node: ast.expr) -> dict[str, Any]:
    if isinstance(node, ast.Subscript):  # Literal
        listed = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return {"enum": [ast.literal_eval(n) for n in listed]}
    return dict(_TYPES[ast.unparse(node)])
