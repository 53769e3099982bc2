"""Answers that are no text: what was wrong with a request, as OpenAI's clients read it."""

from __future__ import annotations

from typing import Any

from ..errors import CallError

_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class Refusal(CallError):
    """A request that is not served. status: of HTTP; param: the field at fault; code: for programs; retry_after:
    seconds until another try makes sense, None where the same request would fail again."""

    def __init__(
        self,
        message: str,
        status: int = 400,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int = 0,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.retry_after = status, param, code, retry_after

    @property
    def body(self) -> dict[str, Any]:
        kind = "server_error" if self.status >= 500 else _KINDS.get(self.status, "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """OpenAI's clients try again by themselves where the status allows it, unless told otherwise."""
        if self.retry_after:
            return {"Retry-After": str(self.retry_after)}
        return {"x-should-retry": "false"}
