"""HTTP routes by which gateways ask the leading scheduler for explanations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared import errors
from shared.auth import service_tokens
from shared.http import problems

log = structlog.get_logger(__name__)

MAX_BODY = 1024 * 1024  #: bytes


class Explains(Protocol):
    """Explains pending tasks; implemented by `explainer.Explainer`."""

    async def explain(self, task_id: int) -> dict[str, Any] | None:
        """Explain a stored task; None if it is not pending, or no longer."""
        ...

    async def explain_unsent(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Explain why a task that is not stored would be pending."""
        ...


def routes(explainer: Explains, *, key: str) -> list[Route]:
    """Return the routes; they require a bearer token signed with `key`."""

    async def explain(request: Request) -> Response:
        answer = await explainer.explain(request.path_params["task_id"])
        if answer is None:
            raise errors.NotFound("the task is not pending")
        return _json(answer)

    async def explain_unsent(request: Request) -> Response:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_BODY:
                raise errors.BodyTooLarge()
        return _json(await explainer.explain_unsent(orjson.loads(body)))

    return [
        Route("/explain/{task_id:int}", _guarded(explain, key), methods=["GET"]),
        Route("/explain", _guarded(explain_unsent, key), methods=["POST"]),
    ]


def _guarded(handler: Callable[[Request], Awaitable[Response]], key: str) -> Callable[[Request], Awaitable[Response]]:
    async def guarded(request: Request) -> Response:
        try:
            service_tokens.check(request.headers.get("authorization", "").removeprefix("Bearer "), key=key)
            return await handler(request)
        except errors.NotAuthenticated as error:
            return _problem(401, "not_authenticated", error)
        except errors.NotFound as error:
            return _problem(404, "not_found", error)
        except errors.Unavailable as error:
            return _problem(503, "unavailable", error)
        except (errors.BodyTooLarge, orjson.JSONDecodeError, TypeError, KeyError, ValueError) as error:
            log.warning("explain.invalid_request", error=str(error))
            return _problem(422, "invalid_input", error)

    return guarded


def _json(answer: dict[str, Any]) -> Response:
    return Response(orjson.dumps(answer), media_type="application/json; charset=UTF-8")


def _problem(status: int, code: str, error: Exception) -> Response:
    body = problems.document(status, code, str(error))
    headers = problems.headers(status)
    return Response(orjson.dumps(body), status_code=status, media_type=problems.MEDIA_TYPE, headers=headers)
