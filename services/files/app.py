"""The files service as an ASGI application."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI

from services.files import errors
from services.files.context import Context
from services.files.routes import files, logs
from shared.http import serving
from shared.observe import request_metrics


def build(context: Context, checks: Mapping[str, serving.Check]) -> FastAPI:
    """The application around the parts of `context`. Its health depends on `checks`."""
    # No documentation: only gateways have grants.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.context = context
    errors.install(app)
    app.include_router(files.router)
    app.include_router(logs.router)
    request_metrics.install(app, "files")
    app.router.routes.extend(serving.health_app("files", checks).routes)
    return app
