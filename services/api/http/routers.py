"""Make the routers of the gateway, with what all its routes have in common."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.routing import APIRoute

from services.api.http import errors
from services.api.http.strict_queries import StrictRoute
from services.api.wire.answers import Json

API = "/api/1.0"


def make(tag: str, *, prefix: str = API) -> APIRouter:
    """
    A router of routes below `prefix`, shown under `tag`. Its routes are to be added to those of the application, not the router
    included: each level of inclusion would be matched anew in every request.
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
    """The name of an operation, `createTask` of `create_task`: generated clients call their functions so."""
    first, *others = route.name.split("_")
    return first + "".join(word.capitalize() for word in others)
