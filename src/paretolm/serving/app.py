"""The routes: OpenAI's completions, chat and models, with health and metrics."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .answers import Answer
from .asked import Asked
from .engine import Engine, Job
from .fields import read_json
from .guard import CLIENT, Guard, refused
from .limits import Limits
from .metrics import Metrics
from .models import Models
from .openapi import describe
from .page import routes as page
from .refusal import Refusal
from .writer import Event

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from ..recipes.session import Session

_POLL_S = 0.2  # how often a silent client is looked after


@dataclass(frozen=True)
class Served:
    """What is served under which name. keys: nobody is asked for one where there are none. hosts: Host headers that
    are let in; None lets in any. untouched: the same model without the recipe, served beside it."""

    session: Session
    name: str
    fingerprint: str
    limits: Limits
    keys: tuple[str, ...] = ()
    hosts: frozenset[str] | None = None
    untouched: Session | None = None


class App:
    """One model at work for many clients."""

    def __init__(self, served: Served) -> None:
        self.served, self.limits = served, served.limits
        self.hosted = Models(served.name, served.fingerprint, served.session, served.untouched, self.limits)
        self.metrics = Metrics(served.name, served.fingerprint)
        self.engine = Engine(self.hosted.write, self.limits, self.metrics)
        self._reading = ThreadPoolExecutor(1, "reader")
        self._began = int(time.time())

    def routes(self) -> list[Route]:
        return [
            Route("/v1/completions", self.completions, methods=["POST"]),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.model),
            Route("/health", self.health),
            Route("/metrics", self.show_metrics),
            Route("/openapi.json", self.description),
            *page(),
        ]

    def asgi(self) -> Starlette:
        routes = self.routes()
        guard = Middleware(
            Guard, self.served.keys, self.served.hosts, self.limits, self.metrics, [r.path for r in routes]
        )
        return Starlette(
            routes=routes,
            middleware=[guard],
            exception_handlers={Refusal: _refusal, HTTPException: _http, ClientDisconnect: _gone, Exception: _failed},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        work = asyncio.create_task(self.engine.run())
        try:
            yield
        finally:
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            self._reading.shutdown()

    # --- routes ---

    async def completions(self, request: Request) -> Response:
        return await self._answer(request, self.hosted.completion)

    async def chat(self, request: Request) -> Response:
        return await self._answer(request, self.hosted.chat)

    async def models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._model(name) for name in self.hosted.fingerprints]})

    async def model(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self.hosted.fingerprints:
            raise Refusal(f"there is no model {name[:80]!r} here", 404, param="model", code="model_not_found")
        return JSONResponse(self._model(name))

    async def health(self, _: Request) -> Response:
        going = self.engine.draining
        return JSONResponse({"status": "ending" if going else "ok"}, 503 if going else 200)

    async def show_metrics(self, _: Request) -> Response:
        return Response(self.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def description(self, _: Request) -> Response:
        return JSONResponse(describe(list(self.hosted.fingerprints), self.limits, bool(self.served.keys)))

    def _model(self, name: str) -> dict[str, Any]:
        facts = {"id": name, "object": "model", "created": self._began, "owned_by": "paretolm"}
        return {**facts, "max_model_len": self.limits.tokens, **self.hosted.about(name)}

    # --- work ---

    async def _answer(self, request: Request, read: Callable[[Mapping[str, Any]], Asked]) -> Response:
        body = await self._body(request)
        asked = await asyncio.get_running_loop().run_in_executor(self._reading, lambda: read(read_json(body)))
        job = self.engine.submit(asked, request.scope[CLIENT])
        answer = Answer(asked, self.hosted.fingerprints[asked.model])
        events = self._heard(request, job)
        try:
            first = await anext(events, None)  # what goes wrong before it has a status of its own
            if asked.stream:
                stream = self._stream(answer, job, first, events)
                return Events(stream, lambda: self.engine.leave(job))
            if first is not None:
                answer.hear(first)
            async for event in events:
                answer.hear(event)
        except BaseException:
            self.engine.leave(job)
            raise
        self._count(answer, job)
        return JSONResponse(answer.whole())

    async def _body(self, request: Request) -> bytes:
        """Raises Refusal for one that is too long, too slow, or no JSON by its own words."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal("the body must be sent as Content-Type: application/json", 415)
        most, parts, size = self.limits.body_bytes, [], 0
        try:
            async with asyncio.timeout(self.limits.patience):
                async for part in request.stream():
                    size += len(part)
                    if size > most:
                        raise Refusal(f"the body is longer than {most} bytes", 413)
                    parts.append(part)
        except TimeoutError:
            raise Refusal(f"the body did not arrive within {self.limits.patience:g} s", 408) from None
        return b"".join(parts)

    async def _heard(self, request: Request, job: Job) -> AsyncIterator[Event]:
        """What is written, as it comes. Raises Refusal where it goes wrong, takes too long or nobody is there."""
        waiting = True
        while True:
            left = job.arrived + self.limits.seconds - time.monotonic()
            if left <= 0:
                self.engine.leave(job)
                raise Refusal(
                    f"this took longer than {self.limits.seconds:g} s; ask for fewer tokens", 504, code="timeout"
                )
            if await request.is_disconnected():
                self.engine.leave(job)
                raise ClientDisconnect
            try:
                async with asyncio.timeout(min(left, _POLL_S)):
                    news = await job.news.get()
            except TimeoutError:
                continue
            if isinstance(news, Refusal):
                raise news
            if news is None:
                return
            if waiting:
                self.metrics.first.observe(time.monotonic() - job.arrived)
                waiting = False
            yield news

    async def _stream(
        self, answer: Answer, job: Job, first: Event | None, events: AsyncIterator[Event]
    ) -> AsyncIterator[str]:
        for opening in answer.openings():
            yield _data(opening)
        try:
            event = first
            while event is not None:
                answer.hear(event)
                yield _data(answer.chunk(event))
                event = await anext(events, None)
        except Refusal as refusal:
            yield _data(refusal.body)
            return
        except ClientDisconnect:
            return  # the answer has begun: there is nobody to tell
        if answer.asked.usage:
            yield _data(answer.usage_chunk())
        self._count(answer, job)
        yield "data: [DONE]\n\n"

    def _count(self, answer: Answer, job: Job) -> None:
        usage = answer.usage
        self.metrics.prompt_tokens.inc(usage["prompt_tokens"])
        self.metrics.new_tokens.inc(usage["completion_tokens"])
        self.metrics.whole.observe(time.monotonic() - job.arrived)


class Events(StreamingResponse):
    """Server-sent events. left: called when nobody reads any more, however that came."""

    def __init__(self, events: AsyncIterator[str], left: Callable[[], None]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._left()


def _data(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


async def _refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return refused(error)


async def _http(request: Request, error: Exception) -> Response:
    """No such path, or not this method."""
    assert isinstance(error, HTTPException)
    what = f"there is no {request.method} {request.url.path[:80]} here"
    answer = refused(Refusal(f"{what}; see /openapi.json", error.status_code))
    answer.headers.update(error.headers or {})  # which methods there are
    return answer


async def _failed(_: Request, error: Exception) -> Response:
    return refused(Refusal(f"the server failed at this request ({type(error).__name__})", 500))


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # to nobody
