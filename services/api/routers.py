"""Make the routers of the gateway, with what all its routes have in common."""

from __future__ import annotations

from fastapi import APIRouter

from services.api import errors
from services.api.bodies import StrictRoute
from services.api.wire.answers import Json

API = "/api/1.0"


def make(tag: str, *, prefix: str = API) -> APIRouter:
    """
    A router of routes below `prefix`, shown under `tag`. Its routes are to be added to those of the application, not the router
    included: each level of inclusion would be matched anew in every request.
    """
    return APIRouter(
        prefix=prefix, tags=[tag], route_class=StrictRoute, default_response_class=Json, responses=errors.RESPONSES
    )
