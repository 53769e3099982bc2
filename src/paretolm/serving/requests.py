"""What the two requests for text may hold. The server reads them by these tables, and tells them at /openapi.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .fields import Flag, Ignored, Json, Number, Table, Told, Unserved, Whole
from .limits import Limits

ROLES = ("system", "developer", "user", "assistant", "tool")
_MOST_LOGPROBS = 20
_LONGEST = 1 << 31  # tokens
_IGNORED = ("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls")
_UNSERVED: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0, 0.0),
    "presence_penalty": (0, 0.0),
    "logit_bias": ({},),
    "suffix": ("",),
    "best_of": (1,),
    "response_format": ({"type": "text"},),
    "functions": ([],),
    "function_call": ("none",),
    "modalities": (["text"],),
    "audio": (),
    "reasoning_effort": ("none",),
    "web_search_options": (),
}
STREAM_OPTIONS: Table = {
    "include_usage": Flag(),
    "continuous_usage_stats": Flag(),
    "include_obfuscation": Ignored(),
}
_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_TEXT = {"type": "string", "minLength": 1}
_PART = {
    "type": "object",
    "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
    "required": ["type", "text"],
}
_CONTENT = {"anyOf": [{"type": "string"}, {"type": "array", "items": _PART}]}
_CALLS = {"content": {"type": "null"}, "tool_calls": {"type": "array", "minItems": 1}}
_MESSAGE = {
    "type": "object",
    "properties": {"role": {"enum": list(ROLES)}},
    "required": ["role"],
    "anyOf": [
        {"properties": {"content": _CONTENT}, "required": ["content"]},
        {"properties": _CALLS, "required": ["tool_calls"]},
    ],
}


def completion_fields(names: Sequence[str], limits: Limits) -> Table:
    """Of /v1/completions, for models of these names."""
    many = {"type": "array", "items": {"anyOf": [_TEXT, _IDS]}, "minItems": 1, "maxItems": limits.texts}
    return _both(names, limits) | {
        "prompt": Told({"anyOf": [_TEXT, _IDS, many]}),
        "max_tokens": Whole(1, _LONGEST, 16),
        "logprobs": Whole(0, _MOST_LOGPROBS),
        "echo": Flag(),
    }


def chat_fields(names: Sequence[str], limits: Limits) -> Table:
    """Of /v1/chat/completions."""
    return _both(names, limits) | {
        "messages": Told({"type": "array", "items": _MESSAGE, "minItems": 1}),
        "max_tokens": Whole(1, _LONGEST),
        "max_completion_tokens": Whole(1, _LONGEST),
        "logprobs": Flag(),
        "top_logprobs": Whole(0, _MOST_LOGPROBS),
        "tools": Told({"type": ["array", "null"], "items": {"type": "object"}}),
        "tool_choice": Told({"enum": ["auto", "none", None]}),
    }


def _both(names: Sequence[str], limits: Limits) -> dict[str, Any]:
    stop = {"type": "string", "minLength": 1, "maxLength": limits.stop_length}
    stops = {"type": "array", "items": stop, "maxItems": limits.stops}
    return {
        "model": Told({"enum": list(names)}),
        "n": Whole(1, None, 1),
        "temperature": Number(0, 2, 1.0),
        "top_p": Number(0, 1, 1.0),
        "seed": Whole(-(1 << 63), (1 << 63) - 1),
        "stop": Told({"anyOf": [{"type": "null"}, stop, stops]}),
        "stream": Flag(),
        "stream_options": Told({"anyOf": [{"type": "null"}, as_schema(STREAM_OPTIONS)]}),
        **{name: Ignored() for name in _IGNORED},
        **{name: Unserved(values) for name, values in _UNSERVED.items()},
    }


def as_schema(table: Table, required: tuple[str, ...] = ()) -> Json:
    """Of an object with these fields and no others."""
    return {
        "type": "object",
        "properties": {name: kind.schema for name, kind in table.items()},
        "required": list(required),
        "additionalProperties": False,
    }
