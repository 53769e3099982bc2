"""The API in OpenAPI's words: requests by the tables that read them, answers by what they hold."""

from __future__ import annotations

from collections.abc import Sequence

from .fields import Json
from .limits import Limits
from .requests import as_schema, chat_fields, completion_fields

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_RATE = {"type": ["number", "null"], "minimum": 0}
_LOGPROB = {"type": "number", "maximum": 0}
_ENDS = {"enum": ["stop", "length"]}
_REASONS = {
    "400": "The request is wrong; the sentence says where.",
    "401": "The API key is missing, or none of this server's.",
    "404": "There is no such model, or path.",
    "405": "There is no such method here.",
    "408": "The body did not arrive in time.",
    "413": "The body is too long.",
    "415": "The body is not sent as application/json.",
    "421": "The Host header names another server.",
    "429": "Too many requests wait; Retry-After says when to come back.",
    "431": "The headers are too long.",
    "500": "The model failed at this request.",
    "503": "The server is about to end, or has too many connections.",
    "504": "This took too long.",
}
_EVERYWHERE = ("400", "405", "408", "413", "421", "431", "503")
_WORK = ("404", "415", "429", "500", "504")


def describe(names: Sequence[str], limits: Limits, keys: bool) -> Json:
    """Of a server of models of these names. keys: whether it asks for one."""
    schemas = {
        "Error": _whole({"error": _error()}),
        "Model": _model(names),
        "Completion": _answer("text_completion", names, {"text": _TEXT, "logprobs": _completion_logprobs()}),
        "ChatCompletion": _answer("chat.completion", names, {"message": _message(), "logprobs": _chat_logprobs()}),
    }
    schemes = {"key": {"type": "http", "scheme": "bearer"}} if keys else {}
    return {
        "openapi": "3.1.0",
        "info": {"title": "ParetoLM", "version": "1", "description": "A model under a recipe, for OpenAI's clients."},
        "paths": _paths(names, limits, keys),
        "components": {"schemas": schemas, "securitySchemes": schemes},
        **({"security": [{"key": []}]} if keys else {}),
    }


def _paths(names: Sequence[str], limits: Limits, keys: bool) -> Json:
    listed = _whole({"object": {"const": "list"}, "data": {"type": "array", "items": _named("Model")}})
    place = {"name": "name", "in": "path", "required": True, "schema": {"enum": list(names)}}
    models = _route("One model.", _json(_named("Model")), keys, ("404",))
    prompts = as_schema(completion_fields(names, limits), ("model", "prompt"))
    messages = as_schema(chat_fields(names, limits), ("model", "messages"))
    return {
        "/v1/completions": {"post": _write("Go on with a text.", prompts, "Completion", keys)},
        "/v1/chat/completions": {"post": _write("Answer in a conversation.", messages, "ChatCompletion", keys)},
        "/v1/models": {"get": _route("All models.", _json(listed), keys)},
        "/v1/models/{name}": {"get": {**models, "parameters": [place]}},
        "/health": {"get": _health()},
        "/metrics": {"get": _route("Counts, for Prometheus.", {"content": {"text/plain": {"schema": _TEXT}}}, keys)},
        "/openapi.json": {"get": _route("This.", _json({"type": "object"}), keys)},
    }


def _health() -> Json:
    """Needs no key; ends with 503 in words of its own, or those of a refused connection."""
    route = _route("Whether requests are taken.", _json(_whole({"status": {"const": "ok"}})), False)
    ending = {"anyOf": [_whole({"status": {"const": "ending"}}), _named("Error")]}
    route["responses"]["503"] |= _json(ending)
    return {**route, "security": []}


def _write(summary: str, body: Json, answer: str, keys: bool) -> Json:
    events = {"text/event-stream": {"schema": _TEXT}}
    whole = {"content": {**_json(_named(answer))["content"], **events}}
    route = _route(summary, whole, keys, _WORK)
    return {**route, "requestBody": {"required": True, **_json(body)}}


def _route(summary: str, answer: Json, keys: bool, more: Sequence[str] = ()) -> Json:
    codes = sorted({*_EVERYWHERE, *more, *(["401"] if keys else [])})
    refusals = {code: {"description": _REASONS[code], **_json(_named("Error"))} for code in codes}
    return {"summary": summary, "responses": {"200": {"description": summary, **answer}, **refusals}}


# --- answers ---


def _error() -> Json:
    maybe = {"type": ["string", "null"]}
    return _whole({"message": _TEXT, "type": _TEXT, "param": maybe, "code": maybe})


def _model(names: Sequence[str]) -> Json:
    about = {"recipe": _TEXT, "in_weights": _TEXT, "untouched": {"type": ["string", "null"]}}
    return _whole(
        {
            "id": {"enum": list(names)},
            "object": {"const": "model"},
            "created": _COUNT,
            "owned_by": _TEXT,
            "max_model_len": _COUNT,
            "system_fingerprint": _TEXT,
            "paretolm": _whole(about),
        }
    )


def _answer(kind: str, names: Sequence[str], choice: Json) -> Json:
    choices = {"type": "array", "items": _whole({"index": _COUNT, **choice, "finish_reason": _ENDS}), "minItems": 1}
    counts = dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), _COUNT)
    bytes_held = {"kv_bytes": _COUNT, "index_bytes": _COUNT, "dense_kv_bytes": {"type": ["integer", "null"]}}
    figures = bytes_held | {"tokens_per_second": _RATE, "seconds_to_first": _RATE}
    return _whole(
        {
            "id": _TEXT,
            "object": {"const": kind},
            "created": _COUNT,
            "model": {"enum": list(names)},
            "system_fingerprint": _TEXT,
            "choices": choices,
            "usage": _whole(counts),
            "paretolm": _or_null(_whole(figures)),
        }
    )


def _message() -> Json:
    return _whole({"role": {"const": "assistant"}, "content": _TEXT, "refusal": {"type": "null"}})


def _completion_logprobs() -> Json:
    top = {"anyOf": [{"type": "null"}, _list({"type": "object", "additionalProperties": _LOGPROB})]}
    places = {"token_logprobs": _list(_LOGPROB), "top_logprobs": top, "text_offset": _list(_COUNT)}
    return _or_null(_whole({"tokens": _list(_TEXT), **places}))


def _chat_logprobs() -> Json:
    token = {"token": _TEXT, "logprob": _LOGPROB, "bytes": _or_null(_list(_COUNT))}
    told = _whole({**token, "top_logprobs": _list(_whole(token))})
    return _or_null(_whole({"content": _list(told), "refusal": {"type": "null"}}))


def _whole(properties: Json) -> Json:
    """An object with all of these and nothing else."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _or_null(schema: Json) -> Json:
    return {"anyOf": [{"type": "null"}, schema]}


def _named(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Json) -> Json:
    return {"content": {"application/json": {"schema": schema}}}
