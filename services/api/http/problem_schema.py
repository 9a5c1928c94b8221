"""Complete the OpenAPI document that FastAPI makes: the model of errors, and an order that readers and generators need."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from services.api.wire.answers import Problem

_SCHEMAS = "#/components/schemas/"
PROBLEM = f"{_SCHEMAS}{Problem.__name__}"
_FILE = "application/octet-stream"


def install(app: FastAPI) -> None:
    """Let the document of `app` be complete."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        return completed(made())

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's manual has it ("Extending OpenAPI")


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """`document` with the model of problems, and files before lists; a second time changes nothing."""
    _add_problem(document)
    for operations in document["paths"].values():
        for operation in operations.values():
            for answer in operation["responses"].values():
                _put_file_first(answer)
    return document


def _add_problem(document: dict[str, Any]) -> None:
    # All routes refer to it; FastAPI knows those of answers that are no errors.
    schema = Problem.model_json_schema(ref_template=f"{_SCHEMAS}{{model}}")
    schemas = document["components"]["schemas"]
    schemas |= {**schema.pop("$defs", {}), Problem.__name__: schema}
    document["components"]["schemas"] = dict(sorted(schemas.items()))


def _put_file_first(answer: dict[str, Any]) -> None:
    """Generated clients take an answer for the first of its types: a file that is read as JSON would be an error."""
    content = answer.get("content", {})
    if _FILE in content:
        answer["content"] = {_FILE: content[_FILE], **content}
