"""The model of errors in the OpenAPI document, to which all routes refer: problem documents (RFC 9457)."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from services.api.wire.answers import Problem

_SCHEMAS = "#/components/schemas/"
PROBLEM = f"{_SCHEMAS}{Problem.__name__}"


def install(app: FastAPI) -> None:
    """Let the document of `app` have the model; FastAPI knows those of answers that are no errors."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        return with_problem(made())

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's manual has it ("Extending OpenAPI")


def with_problem(document: dict[str, Any]) -> dict[str, Any]:
    """`document` with the model of problems among its schemas; a second time changes nothing."""
    schema = Problem.model_json_schema(ref_template=f"{_SCHEMAS}{{model}}")
    schemas = document["components"]["schemas"]
    schemas |= {**schema.pop("$defs", {}), Problem.__name__: schema}
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document
