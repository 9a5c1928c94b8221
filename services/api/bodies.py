"""Take in the bodies of requests: bounded in size and time before anything parses them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api import queries
from services.api.errors import problem
from services.api.wire.answers import ProblemJson

BODY_TIMEOUT = 30.0  #: seconds in which a body must have arrived

_UPLOAD = re.compile(r"/api/1\.0/user/[^/]+/files/")


class BodyLimit:
    """Middleware that reads a request's body and refuses it when it is larger than `limit` bytes, or too slow."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS") or _is_upload(scope):
            await self._app(scope, receive, send)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not declared.isdigit() or int(declared) > self._limit:
            await self._too_large()(scope, receive, send)
            return
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                body = await _read(receive, self._limit)
        except TimeoutError:
            await problem(408, "request_timeout", "the body did not arrive in time")(scope, receive, send)
            return
        if body is None:
            await self._too_large()(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    def _too_large(self) -> ProblemJson:
        return problem(413, "body_too_large", f"a body may hold at most {self._limit} bytes")


def _is_upload(scope: Scope) -> bool:
    """Whether the body is a file, which its route takes in piece by piece, within the user's quota."""
    return scope["method"] == "PUT" and _UPLOAD.match(scope["path"]) is not None


async def _read(receive: Receive, limit: int) -> bytes | None:
    """The whole body; None once it is larger than `limit` bytes."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":  # the client went away
            return b"".join(chunks)
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


class _StrictRequest(Request):
    async def json(self) -> Any:
        # orjson refuses what the standard library lets pass: NaN, lone surrogates, nesting without end.
        return orjson.loads(await self.body())


class StrictRoute(APIRoute):
    """A route whose bodies are JSON, whatever the client calls them, and are parsed strictly, as are the names of parameters."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            queries.check(request)
            return await handler(_StrictRequest(_called_json(request.scope), request.receive))

        return strict


def _called_json(scope: Scope) -> Scope:
    """
    The request as if its body were declared as JSON. The original took every body for that; `curl -d` without a header calls it a
    form, and there are no forms here.
    """
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
    return {**scope, "headers": [*headers, (b"content-type", b"application/json")]}
