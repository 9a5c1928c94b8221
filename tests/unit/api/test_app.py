"""The application serves every router, under one path per operation."""

from __future__ import annotations

import importlib
import pkgutil

from fastapi import APIRouter

from services.api import app, routes


def test_the_routers_of_every_module_of_routes_are_served() -> None:
    modules = [
        importlib.import_module(f"{routes.__name__}.{found.name}") for found in pkgutil.iter_modules(routes.__path__)
    ]
    made = [router for module in modules for router in vars(module).values() if isinstance(router, APIRouter)]
    assert len(made) > 10
    assert [router.prefix for router in made if router not in app.ROUTERS] == []
