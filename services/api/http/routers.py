"""Make the routers of the gateway."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.routing import APIRoute

from services.api.http import errors
from services.api.http.json_responses import Json
from services.api.http.strict_queries import StrictRoute

API = "/api/1.0"


def make(tag: str, *, prefix: str = API) -> APIRouter:
    """
    Return a router for routes below `prefix`, shown under `tag`. Add its routes to those of the application, do not
    include the router: each level of inclusion costs a match in every request.
    """
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        route_class=StrictRoute,
        default_response_class=Json,
        responses=errors.RESPONSES,
        generate_unique_id_function=operation_id,
    )


def operation_id(route: APIRoute) -> str:
    """Return the operation id, `createTask` for `create_task`; generated clients name their functions after it."""
    first, *others = route.name.split("_")
    return first + "".join(word.capitalize() for word in others)
