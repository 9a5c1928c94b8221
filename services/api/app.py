"""The gateway as an ASGI application."""

from __future__ import annotations

from fastapi import FastAPI, Response
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp

from services.api.context import Context
from services.api.http import bodies, errors, problem_schema, request_ids, routers, targets
from services.api.routes import (
    app_tokens,
    archive,
    batches,
    creation,
    files,
    logs,
    maintenance,
    projects,
    prometheus,
    recipes,
    sessions,
    system,
    task_actions,
    task_lists,
    task_sharing,
    tasks,
    users,
)
from shared.http import serving
from shared.observe import exposition, request_metrics

_DESCRIPTION = """\
Send a task, a container image with a command, and GoDocker runs it on one of your group's hosts.

1. `POST /api/1.0/authenticate` with your user id and API key gives a token.
2. Press **Authorize** and paste it; programs send it as `Authorization: Bearer <token>`.
3. `POST /api/1.0/task` creates a task and answers with its number; `GET /api/1.0/task/{id}` shows its status, and why.

Errors are problem documents (RFC 9457) with a stable `code`.
"""

#: In this order: a path with a fixed word must precede the one with a parameter in its place.
ROUTERS = (
    sessions.router,
    creation.router,
    batches.router,
    task_lists.router,
    tasks.router,
    task_actions.router,
    task_sharing.router,
    archive.router,
    logs.router,
    files.router,
    users.router,
    projects.router,
    recipes.router,
    app_tokens.router,
    system.router,
    prometheus.router,
    maintenance.router,
    system.root_router,
)

_TAGS = [
    {"name": "session", "description": "Log in."},
    {"name": "tasks", "description": "Create, inspect, list, steer and share tasks."},
    {"name": "archive", "description": "Archive or delete finished tasks."},
    {"name": "files", "description": "Files of tasks, and the personal storage of users."},
    {"name": "users", "description": "Users, their keys, usage and bills; guests."},
    {"name": "projects", "description": "Projects: users who share quotas, volumes and usage."},
    {"name": "marketplace", "description": "Recipes: specifications of tasks to start from."},
    {"name": "application tokens", "description": "Tokens that let an application ask who its user is."},
    {"name": "system", "description": "Configuration, nodes, health, metrics and maintenance."},
]


def build(context: Context) -> ASGIApp:
    """Return the application for `context`."""
    app = document()
    app.state.context = context
    _expose_metrics(app, public=context.settings.metrics_public)
    limited = bodies.BodyLimit(app, limit=context.settings.max_body)
    return request_ids.RequestIds(targets.Targets(limited, app.routes))


def document() -> FastAPI:
    """Return the application with its routes but no context, as far as the OpenAPI document needs it."""
    # The documentation page brings its own scripts: hosts of a lab often reach no other network.
    app = FastAPIOffline(
        title="GoDocker",
        version=serving.VERSION,
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        strict_content_type=False,
        # Otherwise a reload of the page forgets the token.
        swagger_ui_parameters={"persistAuthorization": True},
        generate_unique_id_function=routers.operation_id,
        redoc_url=None,
    )
    errors.install(app)
    targets.install(app)
    for router in ROUTERS:
        app.router.routes.extend(router.routes)
    problem_schema.install(app)
    return app


def _expose_metrics(app: FastAPI, *, public: bool) -> None:
    request_metrics.install(app, "api")
    if public:
        # In a thread: with several workers it reads the files of each.
        @app.get("/metrics", tags=["system"], summary="Get metrics for Prometheus")
        def get_metrics() -> Response:
            return Response(exposition.text("api"), media_type=exposition.CONTENT_TYPE)
