"""The files service as an ASGI application."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI

from services.files import errors
from services.files.parts import Parts
from services.files.routes import files
from shared.http import serving
from shared.observe import request_metrics


def build(parts: Parts, checks: Mapping[str, serving.Check]) -> FastAPI:
    """The application around `parts`; `checks` are what its health depends on."""
    # No documentation: nobody but a gateway has a grant.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.parts = parts
    errors.install(app)
    app.include_router(files.router)
    request_metrics.install(app, "files")
    app.router.routes.extend(serving.health_app("files", checks).routes)
    return app
