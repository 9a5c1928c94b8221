"""JSON responses with the content types that clients expect."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import JSONResponse


class Json(JSONResponse):
    """A JSON response. Clients of GO-Docker compare its content type as a string."""

    media_type = "application/json; charset=UTF-8"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


class ProblemJson(Json):
    """A problem document (RFC 9457)."""

    media_type = "application/problem+json"
