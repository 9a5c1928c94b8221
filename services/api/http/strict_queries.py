"""The class of all routes: strict about queries and bodies, and about the order of checks."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import orjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.types import Scope

from services.api.http import bodies, json_problems, queries, targets
from services.api.http.json_responses import Json
from shared import errors

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

_CHANGES = "__changes_something__"
_READS = frozenset({"GET", "HEAD"})
_JSON = (b"content-type", b"application/json")


def changes(endpoint: Endpoint) -> Endpoint:
    """Mark a GET that changes something, as GO-Docker's API has some. Other methods need no mark."""
    setattr(endpoint, _CHANGES, True)
    return endpoint


class StrictRoute(APIRoute):
    """A route that reads every body as JSON, and refuses unknown parameters if it changes something."""

    @property
    def changes_something(self) -> bool:
        """Return whether a request may change anything."""
        return not (self.methods or _READS) <= _READS or hasattr(self.endpoint, _CHANGES)

    def get_route_handler(self) -> Handler:
        handler, precheck = super().get_route_handler(), self._precheck_handler()
        known, changes_something = queries.declared(self.dependant), self.changes_something

        async def strict(request: Request) -> Response:
            queries.check_names(request)
            if changes_something:
                try:
                    queries.check(request, known)
                except errors.InvalidInput as problem:
                    raise await _first_error(problem, precheck(request)) from None
                if request.scope.get(targets.IS_HEAD):
                    # HEAD is safe (RFC 9110, 9.2.1), even where GET is not.
                    return await precheck(request)
            if bodies.awaits_continue(request.scope):
                await precheck(request)  # before the client is asked to send the body
            sent = _StrictRequest(_declared_as_json(request.scope), request.receive)
            if self.body_field is not None:
                await sent.parse()
            return await handler(sent)

        return strict

    def _precheck_handler(self) -> Handler:
        """Return a handler that only resolves the route's dependencies: it checks the caller and their rights."""
        route = copy.copy(self)
        route.dependant = dataclasses.replace(self.dependant, call=_nothing, body_params=[])
        route.body_field = None
        return APIRoute.get_route_handler(route)


async def _first_error(problem: errors.InvalidInput, precheck: Coroutine[Any, Any, Response]) -> errors.RequestError:
    """Return the error to report. A caller without a valid token learns nothing about the route's parameters."""
    try:
        await precheck
    except errors.NotAuthenticated as error:
        return error
    except (errors.RequestError, RequestValidationError):
        pass
    return problem


async def _nothing(**_: Any) -> Json:
    return Json(None)


class _StrictRequest(Request):
    async def parse(self) -> None:
        """Read the body that `json` returns. Raises `errors.InvalidInput`; raised in `json`, it would become a 400."""
        if body := await self.body():
            try:
                # orjson refuses NaN, lone surrogates and endless nesting, which the standard library accepts.
                self._json = orjson.loads(body)
            except orjson.JSONDecodeError as error:
                raise errors.InvalidInput.of("body", json_problems.sentence(body, error)) from None


def _declared_as_json(scope: Scope) -> Scope:
    """
    Return the scope with its body declared as JSON. GO-Docker read every body as JSON. `curl -d` declares a form by
    default, and no route takes forms.
    """
    if _JSON in scope["headers"] and sum(name == _JSON[0] for name, _ in scope["headers"]) == 1:
        return scope
    headers = [header for header in scope["headers"] if header[0] != _JSON[0]]
    return {**scope, "headers": [*headers, _JSON]}
