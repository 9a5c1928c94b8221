"""Count and time the requests of a service by route, method and status."""

from __future__ import annotations

from typing import Any

from prometheus_fastapi_instrumentator.middleware import PrometheusInstrumentatorMiddleware
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import ASGIApp

from shared.observe import metrics

_EXCLUDED = ("/metrics", "/health")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def install(app: Starlette, subsystem: str) -> None:
    """Count the requests of `app` in the metrics of `subsystem`: `api` or `files`, once in a process."""
    instrumentations = list(filter(None, [metrics.requests(subsystem)]))

    def counted(inner: ASGIApp) -> ASGIApp:
        return _CountedRequests(
            inner,
            should_group_status_codes=False,
            excluded_handlers=_EXCLUDED,
            instrumentations=instrumentations,
        )

    app.add_middleware(counted)


class _CountedRequests(PrometheusInstrumentatorMiddleware):
    """The library's middleware, which otherwise matches each request against every route once more."""

    def __init__(self, app: ASGIApp, **options: Any) -> None:
        super().__init__(app, **options)
        self._plain: dict[tuple[str, str], tuple[str, bool]] = {}  # of routes without parameters, so of bounded size

    def _get_handler(self, request: Request) -> tuple[str, bool]:
        key = request.scope["method"], request.scope["path"]
        if (known := self._plain.get(key)) is not None:
            return known
        found = super()._get_handler(request)
        name, is_route = found
        if is_route and name == key[1] and key[0] in _METHODS:
            self._plain[key] = found
        return found
