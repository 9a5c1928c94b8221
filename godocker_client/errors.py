"""Errors of the client, as one tree."""

from __future__ import annotations

from typing import Any


class ClientError(Exception):
    """Base of all errors of this package."""


class ServerUnreachable(ClientError):
    """The server does not answer."""


class TaskTimeout(ClientError):
    """The task was not over in time."""


class InvalidTask(ClientError):
    """The task cannot be sent as it is."""


class ApiError(ClientError):
    """The server refused a request. `code` is its stable name, `fields` are pairs of path and rule."""

    def __init__(
        self, status: int, code: str, detail: str, *, request_id: str | None, fields: list[dict[str, str]] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.fields = fields or []


class NotLoggedIn(ApiError):
    """The token is missing, wrong or expired."""


class NotAllowed(ApiError):
    """The user has no right to do this."""


class NotFound(ApiError):
    """There is no such thing, or the user may not see it."""


class Conflict(ApiError):
    """The state of the thing does not allow this now."""


class ServerError(ApiError):
    """The server could not answer at this moment."""


_CLASSES: dict[int, type[ApiError]] = {401: NotLoggedIn, 403: NotAllowed, 404: NotFound, 409: Conflict}


def of_answer(status: int, document: Any, *, request_id: str | None) -> ApiError:
    """Return the error that an answer with a problem document (RFC 9457) or any other body stands for."""
    problem = document if isinstance(document, dict) else {}
    detail = str(problem.get("detail") or problem.get("msg") or problem.get("title") or f"the server answered {status}")
    fields = problem.get("errors")
    kind = ServerError if status >= 500 else _CLASSES.get(status, ApiError)
    return kind(
        status,
        str(problem.get("code") or "unknown"),
        detail,
        request_id=request_id,
        fields=fields if isinstance(fields, list) else None,
    )
