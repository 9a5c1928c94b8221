"""Complete FastAPI's OpenAPI document: the model of problems, and the order of content types."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from services.api.wire.answers import Problem

_SCHEMAS = "#/components/schemas/"
PROBLEM = f"{_SCHEMAS}{Problem.__name__}"
_FILE = "application/octet-stream"


def install(app: FastAPI) -> None:
    """Make `app` serve the completed document."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        return completed(made())

    app.openapi = openapi  # type: ignore[method-assign]  # as in FastAPI's manual, "Extending OpenAPI"


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """Return `document` with the model of problems, and files before lists. Idempotent."""
    _add_problem(document)
    for operations in document["paths"].values():
        for operation in operations.values():
            for answer in operation["responses"].values():
                _put_file_first(answer)
    return document


def _add_problem(document: dict[str, Any]) -> None:
    # All routes refer to it, but FastAPI adds only the models of successful answers.
    schema = Problem.model_json_schema(ref_template=f"{_SCHEMAS}{{model}}")
    schemas = document["components"]["schemas"]
    schemas |= {**schema.pop("$defs", {}), Problem.__name__: schema}
    document["components"]["schemas"] = dict(sorted(schemas.items()))


def _put_file_first(answer: dict[str, Any]) -> None:
    """Put the file type first: generated clients use the first type, and would fail on a file read as JSON."""
    content = answer.get("content", {})
    if _FILE in content:
        answer["content"] = {_FILE: content[_FILE], **content}
