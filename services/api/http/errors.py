"""Turn errors into answers: one table of status and code, and problem documents (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from services.api.http import problem_schema
from services.api.http.json_responses import ProblemJson
from shared import errors
from shared.http import problems
from shared.wording import validation

log = structlog.get_logger(__name__)

_MAX_PROBLEMS = 50  #: of an invalid request

#: The most specific class of an error counts.
TABLE: Mapping[type[errors.GoDockerError], tuple[int, str]] = {
    errors.InvalidInput: (422, "invalid_input"),
    errors.BodyTooLarge: (413, "body_too_large"),
    errors.BodyIncomplete: (408, "request_timeout"),
    errors.RangeNotSatisfiable: (416, "range_not_satisfiable"),
    errors.QuotaExceeded: (413, "quota_exceeded"),
    errors.NotAuthenticated: (401, "not_authenticated"),
    errors.TokenExpired: (401, "token_expired"),
    errors.NotAllowed: (403, "not_allowed"),
    errors.NotFound: (404, "not_found"),
    errors.TaskNotFound: (404, "task_not_found"),
    errors.Conflict: (409, "conflict"),
    errors.KeyReused: (409, "idempotency_key_reused"),
    errors.TooManyRequests: (429, "too_many_requests"),
    errors.InMaintenance: (503, "in_maintenance"),
    errors.StoreUnavailable: (503, "store_unavailable"),
    errors.BrokerUnavailable: (503, "broker_unavailable"),
    errors.NodeUnavailable: (503, "node_unavailable"),
    errors.DirectoryUnavailable: (503, "directory_unavailable"),
    errors.StorageUnavailable: (503, "storage_unavailable"),
    errors.FilesUnavailable: (503, "files_unavailable"),
    errors.SchedulerUnavailable: (503, "scheduler_unavailable"),
}


def problem(
    status: int, code: str, detail: str, *, fields: list[dict[str, str]] | None = None, retry_after: float | None = None
) -> ProblemJson:
    """Return a problem document as a response."""
    content = problems.document(status, code, detail)
    if fields is not None:
        content["errors"] = fields
    return ProblemJson(content, status_code=status, headers=problems.headers(status, retry_after=retry_after))


def answer(error: errors.GoDockerError) -> ProblemJson:
    """Return the response to an error of ours."""
    status, code = _row(error)
    fields = None
    if isinstance(error, errors.InvalidInput):
        fields = [{"path": field.path, "rule": field.rule} for field in error.fields]
    detail = str(error) or (type(error).__doc__ or "").strip()
    return problem(status, code, detail, fields=fields, retry_after=getattr(error, "retry_after", None))


def code_of(error: errors.GoDockerError) -> str:
    """Return the stable code of an error, for answers and metrics."""
    return _row(error)[1]


def _row(error: errors.GoDockerError) -> tuple[int, str]:
    for kind in type(error).__mro__:
        if kind in TABLE:
            return TABLE[kind]
    raise error


def install(app: FastAPI) -> None:
    """Turn every error of `app` into a problem document."""
    app.add_exception_handler(errors.GoDockerError, _on_ours)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_bug)


async def _on_ours(_: Request, error: Exception) -> ProblemJson:
    assert isinstance(error, errors.GoDockerError)
    if isinstance(error, errors.Unavailable):
        log.warning("request.unavailable", error=str(error))
    return answer(error)


async def _on_invalid(request: Request, error: Exception) -> ProblemJson:
    assert isinstance(error, RequestValidationError)
    details = error.errors()[:_MAX_PROBLEMS]
    in_body = [{**one, "loc": one["loc"][1:]} for one in details if one["loc"][:1] == ("body",)]
    elsewhere = [one for one in details if one["loc"][:1] != ("body",)]  # `query`, `path` or `header`
    problems = validation.problems(in_body, _body_type(request)) + validation.problems(elsewhere)
    fields = [{"path": field.path[:200] or "body", "rule": field.rule} for field in problems]
    detail = "; ".join(f"{field['path']}: {field['rule']}" for field in fields[:3])
    return problem(422, "invalid_input", detail, fields=fields)


def _body_type(request: Request) -> Any:
    """Return the type of the route's body; None if it takes none."""
    field = getattr(request.scope.get("route"), "body_field", None)
    return field.field_info.annotation if field is not None else None


async def _on_http(_: Request, error: Exception) -> ProblemJson:
    assert isinstance(error, HTTPException)
    code = HTTPStatus(error.status_code).name.lower()
    answer = problem(error.status_code, code, str(error.detail))
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


async def _on_bug(request: Request, error: Exception) -> ProblemJson:
    log.error("request.failed", method=request.method, route=request.scope.get("path"), exc_info=error)
    return problem(500, "internal_error", "an internal error occurred; it was logged")


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe a route's errors for the OpenAPI document."""
    return {status: _described(HTTPStatus(status).phrase) for status in statuses}


def _described(meaning: str) -> dict[str, Any]:
    # A reference, not the model: FastAPI would build a validator for each error of each route, slowly and for nothing.
    return {"description": meaning, "content": {ProblemJson.media_type: {"schema": {"$ref": problem_schema.PROBLEM}}}}


RESPONSES = responses(422, 503)  #: of every route
AUTHENTICATED: dict[int | str, dict[str, Any]] = {401: _described("No valid token")}  #: of a route that needs a token
