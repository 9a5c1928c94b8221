"""Accept request targets as clients write them: with extra slashes, and HEAD wherever there is GET."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.routing import APIRouter
from starlette.datastructures import URL
from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Key in the scope of a HEAD request that is handled as a GET.
IS_HEAD = "godocker.is_head"

_SLASHES = re.compile(rb"(?:/|%2[Ff])+")


class Targets:
    """Middleware around an application with these routes."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        # These routes handle HEAD themselves: reading a file for nothing would take long.
        self._own_head = [
            route.path_regex for route in routes if isinstance(route, Route) and route.methods == {"HEAD"}
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"].startswith("//"):
            scope["path"] = "/" + scope["path"].lstrip("/")
            if raw := scope.get("raw_path"):
                scope["raw_path"] = b"/" + _SLASHES.sub(b"", raw, count=1)
        if scope["method"] == "HEAD" and not any(path.match(scope["path"]) for path in self._own_head):
            scope = {**scope, "method": "GET", IS_HEAD: True}
            send = _without_body(send)
        await self._app(scope, receive, send)


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head


def install(app: FastAPI) -> None:
    """
    Redirect a path with a slash too many or too few to the right one. The redirect is a path, not an address: an
    address would be made from the Host header, which anybody can set, and could send tokens to a server without TLS.
    """
    router = app.router
    router.redirect_slashes = False
    router.default = _SlashRedirect(router, router.default)


class _SlashRedirect:
    def __init__(self, router: APIRouter, not_found: ASGIApp) -> None:
        self._router = router
        self._not_found = not_found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        other = path.rstrip("/") if path.endswith("/") else f"{path}/"
        if scope["type"] == "http" and other and self._is_known({**scope, "path": other}):
            await _redirect(scope, other)(scope, receive, send)
        else:
            await self._not_found(scope, receive, send)

    def _is_known(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] is not Match.NONE for route in self._router.routes)


def _redirect(scope: Scope, path: str) -> RedirectResponse:
    # One slash: after two, the next part would be a host.
    target = URL("").replace(path="/" + path.lstrip("/"), query=scope["query_string"].decode("latin-1"))
    return RedirectResponse(str(target))
