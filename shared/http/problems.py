"""Problem documents (RFC 9457), the form of every HTTP error of every service."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = 2.0  #: seconds, unless the error has its own


def document(status: int, code: str, detail: str) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }


def headers(status: int, *, retry_after: float | None = None) -> dict[str, str]:
    """Return the headers that belong to a status. `retry_after`: seconds."""
    found = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if status in (429, 503):
        found["Retry-After"] = str(math.ceil(retry_after or RETRY_AFTER))
    return found
