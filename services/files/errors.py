"""Turn errors into answers of the files service: one table of status and code, and problem documents."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
import structlog
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from shared import errors
from shared.http import problems

log = structlog.get_logger(__name__)

#: The most specific class of an error counts.
TABLE: Mapping[type[errors.GoDockerError], tuple[int, str]] = {
    errors.InvalidInput: (422, "invalid_input"),
    errors.NotAuthenticated: (401, "not_authenticated"),
    errors.NotAllowed: (403, "not_allowed"),
    errors.NotFound: (404, "not_found"),
    errors.BodyIncomplete: (408, "request_timeout"),
    errors.Conflict: (409, "conflict"),
    errors.PreconditionFailed: (412, "precondition_failed"),
    errors.QuotaExceeded: (413, "quota_exceeded"),
    errors.RangeNotSatisfiable: (416, "range_not_satisfiable"),
    errors.StorageFull: (503, "storage_full"),
    errors.StorageUnavailable: (503, "storage_unavailable"),
    errors.StorageError: (500, "storage_error"),
}


def install(app: FastAPI) -> None:
    """Turn every error of `app` into a problem document."""
    app.add_exception_handler(errors.GoDockerError, _on_ours)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_bug)


def _problem(status: int, code: str, detail: str) -> Response:
    body = orjson.dumps(problems.document(status, code, detail))
    return Response(body, status, headers=problems.headers(status), media_type=problems.MEDIA_TYPE)


async def _on_ours(_: Request, error: Exception) -> Response:
    status, code = next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), (500, "internal_error"))
    if status >= 500:
        log.warning("request.failed", code=code, error=str(error))
    answer = _problem(status, code, str(error) or (type(error).__doc__ or "").strip())
    if isinstance(error, errors.RangeNotSatisfiable):
        answer.headers["Content-Range"] = f"bytes */{error.size}"
    return answer


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _problem(error.status_code, "not_found" if error.status_code == 404 else "refused", str(error.detail))


async def _on_bug(request: Request, error: Exception) -> Response:
    log.error("request.failed", method=request.method, route=request.scope.get("path"), exc_info=error)
    return _problem(500, "internal_error", "an internal error occurred; it was logged")
