"""The OpenAPI document with errors described as they are sent: problem documents (RFC 9457)."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from services.api.wire.answers import Json, ProblemJson

_PROBLEM = "#/components/schemas/Problem"


def install(app: FastAPI) -> None:
    """Let `app` describe its errors. FastAPI gives all answers of a route one media type."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        return with_problems(made())

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's manual has it ("Extending OpenAPI")


def with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """`document` with the media type of problems on every error; a second time changes nothing."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for answer in operation["responses"].values():
                content = answer.get("content", {})
                if content.get(Json.media_type) == {"schema": {"$ref": _PROBLEM}}:
                    content[ProblemJson.media_type] = content.pop(Json.media_type)
    return document
